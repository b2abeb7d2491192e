//! How the rows of an operand are cut into strips, one per register tile.

use super::element::Element;
use crate::isa::{BLOCK, MATRIX, MAX_LANES};
use std::ops::Range;

/// Rows of the tile in 16 registers: 6 × 2 sums, 2 vectors of B and 1 broadcast of A fill 15 of
/// them, and 12 independent sums hide the latency of a fused multiply-add.
pub(crate) const MR: usize = 6;
/// The same for the rows that are left over: any even number of rows from 4 on is whole strips of
/// six and of four.
pub(crate) const LOW_MR: usize = 4;
/// The tile in the 32 registers of AVX-512: 24 sums, so that 14 loads and broadcasts serve 24
/// multiplications.
pub(crate) const TALL_MR: usize = 12;
/// The same for numbers of rows that fill tall tiles badly, such as 16 or 64: 10 loads serve 16.
pub(crate) const SHORT_MR: usize = 8;
/// A number of rows that is whole strips at every level, and whole blocks of every element.
pub(crate) const WHOLE_STRIPS: usize = 96;

/// Strips of one height and, from some row on, of a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strips {
    rows: usize,
    height: usize,
    /// First row of the lower strips.
    low_from: usize,
    low_height: usize,
}

impl Strips {
    /// Strips of `rows` rows at a level with vectors of `lanes` lanes, with or without matrix
    /// hardware.
    pub(crate) const fn new<E: Element>(lanes: usize, has_matrix: bool, rows: usize) -> Self {
        if has_matrix && E::USES_MATRIX {
            Self::even(rows, MATRIX)
        } else if lanes < MAX_LANES {
            Self::mixed(rows)
        } else if 17 * rows.next_multiple_of(SHORT_MR) < 16 * rows.next_multiple_of(TALL_MR) {
            // A sixteenth less work outweighs reading the panels more often.
            Self::even(rows, SHORT_MR)
        } else {
            Self::even(rows, TALL_MR)
        }
    }

    const fn even(rows: usize, height: usize) -> Self {
        let low_from = rows.next_multiple_of(height);
        Self { rows, height, low_from, low_height: height }
    }

    const fn mixed(rows: usize) -> Self {
        let padded = if rows < LOW_MR && rows > 0 { LOW_MR } else { rows.next_multiple_of(2) };
        // Two strips of four leave a multiple of six where two rows are too many, one where four.
        let low_from = padded - (MR - padded % MR) % MR / 2 * LOW_MR;
        Self { rows, height: MR, low_from, low_height: LOW_MR }
    }

    /// Number of rows, with those that fill the last strip.
    pub(crate) const fn padded(self) -> usize {
        let low = self.rows.saturating_sub(self.low_from);
        self.low_from + low.next_multiple_of(self.low_height)
    }

    /// The rows of the strip that has `row`, which may be past the last one.
    #[inline(always)]
    pub(crate) fn at(self, row: usize) -> Range<usize> {
        let (from, height) = match row < self.low_from {
            true => (0, self.height),
            false => (self.low_from, self.low_height),
        };
        let first = from + (row - from) / height * height;
        first..first + height
    }

    /// The strips of `rows`, which start and end with strips or at the end.
    #[inline(always)]
    pub(crate) fn within(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + Clone {
        let first = (!rows.is_empty()).then(|| self.at(rows.start));
        std::iter::successors(first, move |strip| {
            (strip.end < rows.end).then(|| self.at(strip.end))
        })
    }

    /// Where the first block of a row is, in a buffer whose rows have `steps` steps, and the
    /// distance from block to block.
    #[inline(always)]
    pub(crate) fn location(self, row: usize, steps: usize) -> (usize, usize) {
        let strip = self.at(row);
        (strip.start * steps + (row - strip.start) * BLOCK, strip.len() * BLOCK)
    }

    /// Ends of bands of equal numbers of whole strips, as far as possible: of at least one strip, and
    /// at most about `rows` rows each.
    pub(crate) fn bands(self, rows: usize) -> Vec<usize> {
        let count = self.rows.div_ceil(rows.max(self.height)).max(1);
        let step = self.rows.div_ceil(count).next_multiple_of(self.height).max(self.height);
        let whole = (step..self.rows).step_by(step).take_while(|&end| end <= self.low_from);
        whole.chain((self.rows > 0).then_some(self.rows)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::element::{Float, Pairs};
    use super::*;
    use crate::isa::Level;

    fn all(rows: usize) -> impl Iterator<Item = Strips> {
        Level::ALL.into_iter().flat_map(move |level| {
            let (lanes, matrix) = (level.lanes(), level.has_matrix());
            [Strips::new::<Float>(lanes, matrix, rows), Strips::new::<Pairs>(lanes, matrix, rows)]
        })
    }

    #[test]
    fn strips_cover_the_rows_once_and_a_band_ends_with_a_strip() {
        for rows in 0..400 {
            for strips in all(rows) {
                let mut end = 0;
                for strip in strips.within(0..rows) {
                    assert_eq!(strip.start, end, "{strips:?}");
                    strip.clone().for_each(|row| assert_eq!(strips.at(row), strip, "{strips:?}"));
                    end = strip.end;
                }
                assert_eq!(end, strips.padded(), "{strips:?}");
                assert!((rows..rows + MATRIX).contains(&end), "{strips:?}");
                for band in [0, 1, 50, 96, 1000] {
                    let ends = strips.bands(band);
                    assert!(ends.is_sorted() && ends.last().is_none_or(|&last| last == rows));
                    let starts_strip = |&end: &usize| end == rows || strips.at(end).start == end;
                    assert!(ends.iter().all(starts_strip), "{strips:?}, {ends:?}");
                }
            }
        }
    }

    #[test]
    fn sixteen_registers_waste_no_more_than_one_row_from_four_on() {
        for rows in 4..400 {
            let strips = Strips::mixed(rows);
            assert_eq!(strips.padded(), rows.next_multiple_of(2), "{strips:?}");
        }
    }

    #[test]
    fn a_block_of_keys_is_whole_strips_of_every_height() {
        for strips in all(WHOLE_STRIPS) {
            assert_eq!(strips.padded(), WHOLE_STRIPS, "{strips:?}");
        }
    }
}
