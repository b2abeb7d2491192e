//! Rows of bytes against a query of signed bytes: int8 vectors, in integers and so exact.

use super::{ROWS, check};
use crate::isa::{Isa, Kernel, Level, MAX_LANES};

/// The length of a row of bytes is a multiple of this, in words of four bytes.
pub const BYTES_ROW: usize = 16;

/// Writes the dot product of `query` with each row of `rows` (`[sums.len(), query.len()]`) to
/// `sums`. Every word holds four bytes in little-endian order: unsigned ones in rows, signed ones
/// in the query.
///
/// Rows are unsigned because the dot product of VNNI has one unsigned operand; a signed value x is
/// stored as x + 128, which adds 128 times the sum of the query to every result.
///
/// # Panics
///
/// If a row is not a multiple of [`BYTES_ROW`] words, or `rows` and `sums` differ in shape.
pub fn dot_u8(level: Level, query: &[u32], rows: &[u32], sums: &mut [i32]) {
    check(query.len(), rows.len(), sums.len(), BYTES_ROW);
    level.run(Dot { query, rows, results: sums });
}

struct Dot<'a> {
    query: &'a [u32],
    rows: &'a [u32],
    results: &'a mut [i32],
}

impl Kernel for Dot<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let width = self.query.len();
        let mut rows = self.rows.chunks_exact(ROWS * width);
        let mut results = self.results.chunks_exact_mut(ROWS);
        for (rows, results) in (&mut rows).zip(&mut results) {
            results.copy_from_slice(&dots::<I, ROWS>(v, self.query, rows));
        }
        let last = rows.remainder().chunks_exact(width);
        for (row, result) in last.zip(results.into_remainder()) {
            [*result] = dots::<I, 1>(v, self.query, row);
        }
    }
}

/// The dot products of `N` rows.
#[inline(always)]
fn dots<I: Isa, const N: usize>(v: I, query: &[u32], rows: &[u32]) -> [i32; N] {
    let width = query.len();
    let rows: [&[u32]; N] = std::array::from_fn(|n| &rows[n * width..][..width]);
    let mut sums = [v.splat_word(0); N];
    for at in (0..width).step_by(I::LANES) {
        let q = v.load_words(&query[at..]);
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = v.dot_u8i8(v.load_words(&row[at..]), q, *sum);
        }
    }
    sums.map(|sum| {
        let mut lanes = [0; MAX_LANES];
        v.store_words(sum, &mut lanes);
        lanes.into_iter().map(u32::cast_signed).sum()
    })
}
