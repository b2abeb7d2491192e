//! The sizes of the kernels, read from their header at compile time: there is no second copy to
//! keep in step.

const HEADER: &[u8] = include_bytes!("../kernels/constants.cuh");

/// The value of `NAME = EXPRESSION` in the header.
const fn constant(name: &[u8]) -> usize {
    let mut at = 0;
    while at < HEADER.len() {
        if HEADER[at] == b' ' && has(at + 1, name) && has(at + 1 + name.len(), b" = ") {
            return sum(at + 1 + name.len() + 3).0;
        }
        at += 1;
    }
    panic!("the header of the kernels lacks a constant")
}

/// Whether the header has `text` at `at`.
const fn has(at: usize, text: &[u8]) -> bool {
    let mut i = 0;
    while i < text.len() {
        if at + i >= HEADER.len() || HEADER[at + i] != text[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The value of the sum that starts at `at`, and where it ends.
const fn sum(at: usize) -> (usize, usize) {
    let (mut value, mut at) = product(at);
    while has(at, b" + ") {
        let (next, end) = product(at + 3);
        (value, at) = (value + next, end);
    }
    (value, at)
}

/// The value of the product or quotient that starts at `at`, and where it ends.
const fn product(at: usize) -> (usize, usize) {
    let (mut value, mut at) = factor(at);
    while has(at, b" * ") || has(at, b" / ") {
        let (next, end) = factor(at + 3);
        value = if HEADER[at + 1] == b'*' { value * next } else { value / next };
        at = end;
    }
    (value, at)
}

/// The value of the number, name or sum in parentheses that starts at `at`, and where it ends.
const fn factor(at: usize) -> (usize, usize) {
    if HEADER[at] == b'(' {
        let (value, end) = sum(at + 1);
        assert!(HEADER[end] == b')', "a closing parenthesis");
        return (value, end + 1);
    }
    let mut end = at;
    while HEADER[end].is_ascii_alphanumeric() || HEADER[end] == b'_' {
        end += 1;
    }
    let word = HEADER.split_at(end).0.split_at(at).1;
    let value = if word[0].is_ascii_digit() { number(word) } else { constant(word) };
    (value, end)
}

const fn number(digits: &[u8]) -> usize {
    let (mut number, mut i) = (0, 0);
    while i < digits.len() {
        assert!(digits[i].is_ascii_digit(), "a decimal number");
        number = 10 * number + (digits[i] - b'0') as usize;
        i += 1;
    }
    number
}

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* pub(crate) const $name: usize = constant(stringify!($name).as_bytes());)*
    };
}

constants! {
    /// Elements that a thread loads and stores at once.
    OCTET
    /// Threads of a warp.
    WARP
    /// Octets of a row that each thread of the narrow LayerNorm kernel keeps.
    NARROW_OCTETS
    /// The same for the wide kernel.
    WIDE_OCTETS
    /// The largest rank for which an operation computes the tail of the next layer as well.
    GROUP
    /// Rows of a block of `gelu_rows`.
    ACTIVATED_ROWS
    /// Threads of a block of `gelu_rows`.
    ACTIVATED_THREADS
    /// Warps of a block of `attend_plain`.
    PLAIN_WARPS
    /// Keys of a block of `attend_plain`.
    PLAIN_KEYS
    /// Queries of a block of `attend_plain`.
    PLAIN_QUERIES
    /// Times [`WARP`]: the widest head of `attend_plain`.
    PLAIN_PARTS
    /// Queries of a block of `attend_mma`.
    MMA_QUERIES
    /// Keys of a stage of `attend_mma`.
    MMA_KEYS
    /// Warps of a block of `attend_mma`.
    MMA_WARPS
    /// Stages of keys and values of `attend_mma`.
    MMA_STAGES
    /// Elements between two rows of `attend_mma` in shared memory.
    MMA_PADDING
    /// Width of a head of `attend_hopper`.
    HOPPER_DIM
    /// Keys of a stage of `attend_hopper`.
    HOPPER_KEYS
    /// Queries of a block of `attend_hopper`.
    HOPPER_QUERIES
    /// Stages of keys and values of `attend_hopper`.
    HOPPER_STAGES
    /// Threads of a block of `attend_hopper`.
    HOPPER_THREADS
    /// Rows that one bulk copy of `attend_hopper` brings.
    BOX_ROWS
}

/// The widest row of the narrow LayerNorm kernel.
pub(crate) const NARROW_ROW: usize = NARROW_OCTETS * WARP * OCTET;
/// The widest row of any LayerNorm kernel.
pub(crate) const WIDE_ROW: usize = WIDE_OCTETS * WARP * OCTET;
/// Threads of a block of the other kernels, which adapt to the size of their block.
pub(crate) const THREADS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_values_of_their_expressions() {
        assert_eq!((OCTET, WARP, WIDE_ROW), (8, 32, 2048));
        assert_eq!((PLAIN_QUERIES, MMA_STAGES, MMA_PADDING), (32, 2, 8));
        assert_eq!((HOPPER_QUERIES, HOPPER_THREADS), (192, 512));
        assert_eq!(constant(b"MMA_FRAGMENTS"), 2);
    }

    #[test]
    fn no_kernel_has_a_constant_elsewhere() {
        for (file, source) in [
            ("activation.cuh", include_str!("../kernels/activation.cuh")),
            ("attention_hopper.cuh", include_str!("../kernels/attention_hopper.cuh")),
            ("attention_mma.cuh", include_str!("../kernels/attention_mma.cuh")),
            ("attention_plain.cuh", include_str!("../kernels/attention_plain.cuh")),
            ("embed.cuh", include_str!("../kernels/embed.cuh")),
            ("norm.cuh", include_str!("../kernels/norm.cuh")),
            ("number.cuh", include_str!("../kernels/number.cuh")),
            ("pool.cuh", include_str!("../kernels/pool.cuh")),
            ("rotate.cuh", include_str!("../kernels/rotate.cuh")),
            ("tail.cuh", include_str!("../kernels/tail.cuh")),
        ] {
            // Indented constants are inside a function and derived from those of the header.
            assert!(!source.contains("\nconstexpr int"), "{file}");
        }
    }
}
