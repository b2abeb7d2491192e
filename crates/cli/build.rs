//! Lets the linker fold functions of the same machine code into one, which saves 0.5 MB of 22: generic
//! functions are compiled once for each type. Only where the linker is the one that comes with the
//! compiler, as others may not know the option.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") && has_own_linker() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// Whether programs are linked by the compiler's `rust-lld`, its default for this target since 1.90.
fn has_own_linker() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if env::var_os("RUSTC_LINKER").is_some() || flags.contains("link") {
        return false;
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc).args(["--print", "sysroot"]).output();
    let sysroot = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let lld = "lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld";
    sysroot.is_ok_and(|sysroot| Path::new(&sysroot).join(lld).exists())
}
