//! The instruction sets of x86-64.
#![expect(unsafe_code, reason = "intrinsics; a token proves that the CPU has the features")]

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
