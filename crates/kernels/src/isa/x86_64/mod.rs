//! The instruction sets of x86-64.
#![expect(unsafe_code, reason = "intrinsics; a token proves that the CPU has the features")]

use std::arch::asm;

mod amx;
mod avx2;
mod avx512;

pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;

/// Runs one intrinsic that the token in scope proves available.
macro_rules! proven {
    ($e:expr) => {
        // SAFETY: the method has a token, so `detect` found the features; pointers come from slices
        // that the expression's arguments cut to the vector's length.
        unsafe { $e }
    };
}
use proven;

/// The upper half of a pair.
const HIGH: i32 = 0xffff_0000_u32.cast_signed();

/// A chain of additions of registers, each of which waits for the one before: one cycle each on
/// every CPU (additions of constants can be free, which these are not).
pub(super) fn spin(cycles: u64) {
    // SAFETY: it changes registers alone, and ends after `cycles / 100` rounds.
    unsafe {
        asm!(
            "2:",
            ".rept 100",
            "add {sum}, {one}",
            ".endr",
            "dec {rounds}",
            "jnz 2b",
            sum = inout(reg) 0_u64 => _,
            one = in(reg) 1_u64,
            rounds = inout(reg) cycles.div_ceil(100).max(1) => _,
            options(nostack, nomem),
        );
    }
}
