//! Rows of bits against a query of bits: the signs of vectors.

use super::check;
use crate::isa::{Isa, Kernel, Level};

/// The length of a row of bits is a multiple of this, in words of 64 bits.
pub const BITS_ROW: usize = 8;

/// Writes the number of bits in which `query` differs from each row of `rows`
/// (`[distances.len(), query.len()]`) to `distances`.
///
/// # Panics
///
/// If a row is not a multiple of [`BITS_ROW`] words, or `rows` and `distances` differ in shape.
pub fn hamming(level: Level, query: &[u64], rows: &[u64], distances: &mut [u32]) {
    check(query.len(), rows.len(), distances.len(), BITS_ROW);
    level.run(Hamming { query, rows, distances });
}

struct Hamming<'a> {
    query: &'a [u64],
    rows: &'a [u64],
    distances: &'a mut [u32],
}

impl Kernel for Hamming<'_> {
    type Output = ();

    /// The compiler counts bits with the best instruction of each level.
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let rows = self.rows.chunks_exact(self.query.len());
        for (row, distance) in rows.zip(self.distances) {
            let words =
                self.query.as_chunks::<BITS_ROW>().0.iter().zip(row.as_chunks::<BITS_ROW>().0);
            let differing = words.map(|(query, row)| {
                let words = query.iter().zip(row);
                words.map(|(query, row)| (query ^ row).count_ones()).sum::<u32>()
            });
            *distance = differing.sum();
        }
    }
}
