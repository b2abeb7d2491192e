//! Products of bytes: four in a step of the depth, with exact integer sums.

use super::element::{ColumnScale, Element, RowScale, Scales, pack_row};
use super::tile::NV;
use crate::isa::{BLOCK, Isa, Product};
use crate::rows::range;

/// Both factors of eight bits, four in a step: weights signed, rows unsigned. Where a level has no
/// dot products of bytes, rows have seven bits.
pub(crate) struct Quads;

/// Largest magnitude of a weight as a signed byte; −128 is not used, so that the range is symmetric.
const LARGEST_BYTE: f32 = 127.0;
/// The zero of rows of eight bits: it is in the middle, so that columns need no product with it.
pub(crate) const ROW_ZERO: u32 = 128;
/// Difference of the largest and the smallest value of a row of seven bits, one less than they
/// have: both are rounded, and their sum can be one more.
const SEVEN_BIT_RANGE: f32 = 126.0;

/// The divisor for values up to `largest` that become integers up to `limit`. Where it would be so
/// small that its inverse is infinite, as in a row of zeros, all values become 0.
fn divisor(largest: f32, limit: f32) -> f32 {
    let scale = largest / limit;
    if scale > f32::MIN_POSITIVE { scale } else { 1.0 }
}

impl Element for Quads {
    type Column = u32;
    type Row = u32;
    type Factor<I: Isa> = I::Words;
    type Sum<I: Isa> = I::Words;
    const DEPTH: usize = 4;
    const USES_MATRIX: bool = true;

    #[inline(always)]
    fn pack_column<I: Isa>(
        v: I,
        weights: &[f32],
        scale: Option<f32>,
        to: &mut [u32],
    ) -> ColumnScale {
        let rounded = || {
            let [lowest, highest] = range(v, weights);
            divisor(highest.max(-lowest), LARGEST_BYTE)
        };
        let divisor = scale.map_or_else(rounded, |_| 1.0);
        let row = RowScale { scale: divisor, zero: ROW_ZERO };
        pack_row::<I, Self>(v, weights, row, to, BLOCK);
        let mut sum = 0_u32;
        for word in to {
            // Flipping the highest bit of a byte takes its offset of 128 away.
            *word ^= 0x8080_8080;
            let bytes = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
            sum = sum.wrapping_add(bytes.into_iter().sum::<i32>().cast_unsigned());
        }
        ColumnScale { scale: scale.unwrap_or(divisor), sum }
    }
    /// Seven bits reach from the smallest value to the largest, and so lose little against eight
    /// bits around zero where most values have one sign, as after GELU.
    #[inline(always)]
    fn scale<I: Isa>(v: I, row: &[f32]) -> RowScale {
        let [lowest, highest] = range(v, row);
        if !I::PREFERS_U7 {
            let scale = divisor(highest.max(-lowest), LARGEST_BYTE);
            return RowScale { scale, zero: ROW_ZERO };
        }
        let scale = divisor(highest * 0.5 - lowest * 0.5, SEVEN_BIT_RANGE * 0.5);
        // The product is that of the lowest value when it is packed, so their sum is 0.
        RowScale { scale, zero: (-lowest * (1.0 / scale)).round_ties_even() as u32 }
    }
    #[inline(always)]
    fn pack<I: Isa>(v: I, values: &[f32], RowScale { scale, zero }: RowScale, to: &mut [u32]) {
        let (factor, zero) = (v.splat(1.0 / scale), v.splat_word(zero));
        for (x, to) in values.chunks_exact(4 * I::LANES).zip(to.chunks_exact_mut(I::LANES)) {
            let integers =
                |n: usize| v.add_words(v.to_ints(v.mul(v.load(&x[n * I::LANES..]), factor)), zero);
            v.store_bytes([integers(0), integers(1), integers(2), integers(3)], to);
        }
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[u32]) -> [I::Words; NV] {
        [v.load_words(columns), v.load_words(&columns[I::LANES..])]
    }
    #[inline(always)]
    fn splat<I: Isa>(v: I, row: u32) -> I::Words {
        v.splat_word(row)
    }
    #[inline(always)]
    fn zero<I: Isa>(v: I) -> I::Words {
        v.splat_word(0)
    }
    #[inline(always)]
    fn multiply<I: Isa>(v: I, row: I::Words, columns: I::Words, sum: I::Words) -> I::Words {
        if I::PREFERS_U7 { v.dot_u7i8(row, columns, sum) } else { v.dot_u8i8(row, columns, sum) }
    }
    #[inline(always)]
    fn multiply_matrix<I: Isa>(v: I, rows: &[u32], panel: &[u32], to: &mut Product) {
        v.matrix_u8i8(rows, panel, to);
    }
    #[inline(always)]
    fn load_sum<I: Isa>(v: I, sums: &[u32]) -> I::Words {
        v.load_words(sums)
    }
    #[inline(always)]
    fn store_sum<I: Isa>(v: I, sum: I::Words, to: &mut [u32]) {
        v.store_words(sum, to);
    }
    #[inline(always)]
    fn add<I: Isa>(v: I, a: I::Words, b: I::Words) -> I::Words {
        v.add_words(a, b)
    }
    #[inline(always)]
    fn value<I: Isa>(v: I, sum: I::Words, row: RowScale, columns: Scales<I>) -> I::F32 {
        let mut offsets = columns.offsets;
        if I::PREFERS_U7 {
            offsets = v.mul_words(offsets, v.splat_word(row.zero));
        }
        let scale = v.mul(columns.scales, v.splat(row.scale));
        v.mul(v.ints_to_f32(v.add_words(sum, offsets)), scale)
    }
}
