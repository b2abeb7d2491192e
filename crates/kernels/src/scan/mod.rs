//! Dot products of one query with every row of a block: the inner loop of an exact search.
//!
//! Rows are end to end, each padded with zeros to a multiple of 64 bytes, so no kernel has a tail.
//! A row's result does not depend on the other rows.

mod bits;
mod bytes;
mod floats;
#[cfg(test)]
mod tests;

pub use bits::{BITS_ROW, hamming};
pub use bytes::{BYTES_ROW, dot_u8};
pub use floats::{F16_ROW, F32_ROW, dot_f16, dot_f32};

/// Rows that are multiplied in one pass over the query: enough independent sums to hide the latency
/// of a multiply-add, few enough to stay in the registers of every instruction set.
const ROWS: usize = 4;

/// Checks the shapes that all kernels of this module share.
fn check(query: usize, rows: usize, results: usize, multiple: usize) {
    assert!(
        query > 0 && query.is_multiple_of(multiple),
        "a row is a multiple of {multiple} values"
    );
    assert_eq!(rows, results * query, "as many whole rows as results");
}
