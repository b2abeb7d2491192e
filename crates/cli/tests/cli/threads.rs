//! The number of worker threads where the system restricts the program to a part of the machine.
//! Control groups need privileges that most users lack; a test that cannot create one is skipped.

#![expect(clippy::print_stdout, reason = "the reason why a test is skipped")]

use crate::{PROGRAM, Run, Sandbox, tiny_v3};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The number of threads that the program reports when it is started by `wrapper`.
fn threads(sandbox: &Sandbox, wrapper: &[&str]) -> u64 {
    let model = tiny_v3();
    let program = [PROGRAM, "bench", "--read-batches", "--model", model.to_str().expect("UTF-8")];
    let words = [wrapper, &program].concat();
    let header = Run::of(sandbox.command(words[0], &words[1..]), b"").jsonl();
    header[0]["device"]["threads"].as_u64().expect("a number")
}

/// Whether this machine has more than one CPU.
fn can_be_split(sandbox: &Sandbox) -> bool {
    let whole = threads(sandbox, &[]);
    if whole < 2 {
        println!("skipped: one CPU cannot be split");
    }
    whole > 1
}

#[test]
fn a_mask_of_cpus_bounds_the_threads() {
    let sandbox = Sandbox::new();
    if !Path::new("/usr/bin/taskset").exists() {
        println!("skipped: taskset is not installed");
    } else if can_be_split(&sandbox) {
        assert_eq!(threads(&sandbox, &["/usr/bin/taskset", "--cpu-list", "0"]), 1);
    }
}

/// A control group of this test, removed on drop.
struct Group(PathBuf);

impl Group {
    /// Creates a group below `parent` with `limits`: names of files and their content.
    fn new(parent: &str, limits: &[(&str, &str)]) -> std::io::Result<Self> {
        let group = Self(Path::new(parent).join(format!("kokeshi-test-{}", std::process::id())));
        fs::create_dir(&group.0)?;
        for (name, value) in limits {
            // A missing file means that the controller is missing; it must not be created.
            let mut file = fs::OpenOptions::new().write(true).open(group.0.join(name))?;
            file.write_all(value.as_bytes())?;
        }
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that remains is empty and restricts nothing.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs the program in a group whose quota is one and a half CPUs.
fn with_quota(parent: &str, limits: &[(&str, &str)]) {
    let sandbox = Sandbox::new();
    if !can_be_split(&sandbox) {
        return;
    }
    match Group::new(parent, limits) {
        Err(error) => println!("skipped: cannot create a control group below {parent}: {error}"),
        Ok(group) => {
            let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
            assert_eq!(threads(&sandbox, &["/bin/sh", "-c", &enter, "sh"]), 1);
        }
    }
}

#[test]
fn a_quota_of_a_control_group_of_version_1_bounds_the_threads() {
    let limits = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")];
    with_quota("/sys/fs/cgroup/cpu", &limits);
}

#[test]
fn a_quota_of_a_control_group_of_version_2_bounds_the_threads() {
    with_quota("/sys/fs/cgroup", &[("cpu.max", "150000 100000")]);
}
