//! The forms in which the factors of a product are stored and multiplied.

use crate::isa::{BLOCK, Isa, Product, pair_of};
use crate::math::{exp2, exp2_for_bf16};
use crate::memory::ScratchElement;
use crate::rows::largest_magnitude;
use bytemuck::Pod;

/// The form of both factors. Columns are those of a panel of weights, rows those of x.
pub(crate) trait Element: 'static {
    /// One step of the depth of a column.
    type Column: Pod + Send + Sync;
    /// One step of the depth of a row.
    type Row: ScratchElement + Send + Sync;
    /// A vector of either, in registers.
    type Factor<I: Isa>: Copy;
    /// A vector of sums.
    type Sum<I: Isa>: Copy;
    /// Values in one step of the depth.
    const DEPTH: usize;
    /// Whether matrix hardware multiplies it.
    const USES_MATRIX: bool;

    /// Divides a column of weights by its scale, if it has one.
    fn scale_column(_weights: &mut [f32]) -> ColumnScale {
        ColumnScale::default()
    }
    /// One step of a column of weights, already divided by the column's scale; missing weights are
    /// 0.
    fn column(weights: &[f32]) -> Self::Column;
    /// The divisor of the values of `row` when they are packed.
    fn scale<I: Isa>(_: I, _row: &[f32]) -> f32 {
        1.0
    }
    /// Packs a block of a row, `BLOCK * DEPTH` values.
    fn pack<I: Isa>(isa: I, values: &[f32], scale: f32, to: &mut [Self::Row]);

    /// Loads a step of a vector of columns.
    fn load<I: Isa>(isa: I, columns: &[Self::Column]) -> Self::Factor<I>;
    /// Broadcasts a step of a row to all lanes.
    fn splat<I: Isa>(isa: I, row: Self::Row) -> Self::Factor<I>;
    /// The empty sum.
    fn zero<I: Isa>(isa: I) -> Self::Sum<I>;
    /// `sum + row · columns` of one step.
    fn multiply<I: Isa>(
        isa: I,
        row: Self::Factor<I>,
        columns: Self::Factor<I>,
        sum: Self::Sum<I>,
    ) -> Self::Sum<I>;
    /// The product of a strip and a panel in matrix hardware, if [`Element::USES_MATRIX`].
    fn multiply_matrix<I: Isa>(
        _: I,
        _rows: &[Self::Row],
        _panel: &[Self::Column],
        _to: &mut Product,
    ) {
    }
    /// Loads a vector of sums from such a product.
    fn load_sum<I: Isa>(isa: I, sums: &[u32]) -> Self::Sum<I>;
    /// A sum as f32 values. Sums of integers get their offset and scales.
    fn value<I: Isa>(isa: I, sum: Self::Sum<I>, scales: Scales<'_>) -> I::F32;

    /// Steps of a depth, in whole blocks.
    fn steps(depth: usize) -> usize {
        depth.div_ceil(Self::DEPTH).next_multiple_of(BLOCK)
    }
}

/// Scale and offset of a column of integers.
#[derive(Clone, Copy, Default)]
pub(crate) struct ColumnScale {
    /// The divisor of its weights.
    pub(crate) scale: f32,
    /// Added to its sums: minus the offset of the rows' bytes times the sum of its weights.
    pub(crate) offset: u32,
}

impl ColumnScale {
    /// Those of a column of integers from -128 to 127.
    pub(crate) fn of_integers(weights: &[f32], scale: f32) -> Self {
        let sum: i32 = weights.iter().map(|weight| *weight as i32).sum();
        Self { scale, offset: (-BYTE_OFFSET * sum).cast_unsigned() }
    }
}

/// Scales and offsets of sums of integers; empty where sums are floats.
#[derive(Clone, Copy)]
pub(crate) struct Scales<'a> {
    /// Scale of the row.
    pub(crate) row: f32,
    /// Scales of a vector of columns.
    pub(crate) columns: &'a [f32],
    /// Added to the sums of a vector of columns beforehand.
    pub(crate) offsets: &'a [u32],
}

impl Scales<'_> {
    /// For sums of floats.
    pub(crate) const NONE: Scales<'static> = Scales { row: 1.0, columns: &[], offsets: &[] };
}

/// Packs a row into blocks that start `stride` steps apart, the first at the front of `to`. Steps
/// past the row are zero up to the end of their block.
#[inline(always)]
pub(crate) fn pack_row<I: Isa, E: Element>(
    v: I,
    row: &[f32],
    scale: f32,
    to: &mut [E::Row],
    stride: usize,
) {
    /// Maximum number of values in a block: four per step.
    const MAX_VALUES: usize = 4 * BLOCK;
    let len = BLOCK * E::DEPTH;
    for (values, to) in row.chunks(len).zip(to.chunks_mut(stride)) {
        if values.len() == len {
            E::pack(v, values, scale, &mut to[..BLOCK]);
        } else {
            let mut padded = [0.0; MAX_VALUES];
            padded[..values.len()].copy_from_slice(values);
            E::pack(v, &padded[..len], scale, &mut to[..BLOCK]);
        }
    }
}

/// Both factors f32.
pub(crate) struct Float;
/// Weights are bf16, which is widened and multiplied in f32.
pub(crate) struct Widened;
/// Both factors bf16: a step is a pair of consecutive values of the depth.
pub(crate) struct Pairs;
/// Both factors of eight bits, four in a step: weights signed, rows offset by 128 and unsigned.
pub(crate) struct Quads;

/// The functions that all elements with f32 sums share.
macro_rules! float_sums {
    () => {
        type Sum<I: Isa> = I::F32;

        #[inline(always)]
        fn zero<I: Isa>(v: I) -> I::F32 {
            v.splat(0.0)
        }
        #[inline(always)]
        fn load_sum<I: Isa>(v: I, sums: &[u32]) -> I::F32 {
            v.bits_to_f32(v.load_words(sums))
        }
        #[inline(always)]
        fn value<I: Isa>(_: I, sum: I::F32, _: Scales<'_>) -> I::F32 {
            sum
        }
    };
}

/// The functions that all elements with rows of f32 share.
macro_rules! float_rows {
    () => {
        type Row = f32;
        type Factor<I: Isa> = I::F32;
        const DEPTH: usize = 1;
        const USES_MATRIX: bool = false;

        #[inline(always)]
        fn pack<I: Isa>(_: I, values: &[f32], _: f32, to: &mut [f32]) {
            to.copy_from_slice(values);
        }
        #[inline(always)]
        fn splat<I: Isa>(v: I, row: f32) -> I::F32 {
            v.splat(row)
        }
        #[inline(always)]
        fn multiply<I: Isa>(v: I, row: I::F32, columns: I::F32, sum: I::F32) -> I::F32 {
            v.mul_add(row, columns, sum)
        }
    };
}

impl Element for Float {
    type Column = f32;
    float_sums!();
    float_rows!();

    fn column(weights: &[f32]) -> f32 {
        weights[0]
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[f32]) -> I::F32 {
        v.load(columns)
    }
}

impl Element for Widened {
    type Column = u16;
    float_sums!();
    float_rows!();

    fn column(weights: &[f32]) -> u16 {
        pair_of(weights[0], 0.0) as u16
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[u16]) -> I::F32 {
        v.load_bf16(columns)
    }
}

impl Element for Pairs {
    type Column = u32;
    type Row = u32;
    type Factor<I: Isa> = I::Words;
    const DEPTH: usize = 2;
    const USES_MATRIX: bool = true;
    float_sums!();

    fn column(weights: &[f32]) -> u32 {
        pair_of(weights[0], weights.get(1).copied().unwrap_or(0.0))
    }
    #[inline(always)]
    fn pack<I: Isa>(v: I, values: &[f32], _: f32, to: &mut [u32]) {
        for (x, to) in values.chunks_exact(2 * I::LANES).zip(to.chunks_exact_mut(I::LANES)) {
            v.store_bf16(v.load(x), v.load(&x[I::LANES..]), to);
        }
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[u32]) -> I::Words {
        v.load_words(columns)
    }
    #[inline(always)]
    fn splat<I: Isa>(v: I, row: u32) -> I::Words {
        v.splat_word(row)
    }
    #[inline(always)]
    fn multiply<I: Isa>(v: I, row: I::Words, columns: I::Words, sum: I::F32) -> I::F32 {
        v.dot_bf16(row, columns, sum)
    }
    #[inline(always)]
    fn multiply_matrix<I: Isa>(v: I, rows: &[u32], panel: &[u32], to: &mut Product) {
        v.matrix_bf16(rows, panel, to);
    }
}

/// Largest magnitude of a value as a signed byte; −128 is not used, so that the range is symmetric.
const LARGEST_BYTE: f32 = 127.0;
/// The offset of a row's bytes, which makes them unsigned.
const BYTE_OFFSET: i32 = 128;

impl Element for Quads {
    type Column = u32;
    type Row = u32;
    type Factor<I: Isa> = I::Words;
    type Sum<I: Isa> = I::Words;
    const DEPTH: usize = 4;
    const USES_MATRIX: bool = true;

    fn scale_column(weights: &mut [f32]) -> ColumnScale {
        let largest = weights.iter().fold(0.0, |largest: f32, w| largest.max(w.abs()));
        let scale = if largest > 0.0 { largest / LARGEST_BYTE } else { 1.0 };
        for weight in &mut *weights {
            *weight = (*weight * (1.0 / scale)).round_ties_even();
        }
        ColumnScale::of_integers(weights, scale)
    }
    fn column(weights: &[f32]) -> u32 {
        let byte = |i| weights.get(i).map_or(0, |w: &f32| w.round_ties_even() as i8);
        u32::from_le_bytes([0, 1, 2, 3].map(byte).map(i8::cast_unsigned))
    }
    #[inline(always)]
    fn scale<I: Isa>(v: I, row: &[f32]) -> f32 {
        let largest = largest_magnitude(v, row);
        // A row of zeros must not be divided by zero.
        if largest > 0.0 { largest / LARGEST_BYTE } else { 1.0 }
    }
    #[inline(always)]
    fn pack<I: Isa>(v: I, values: &[f32], scale: f32, to: &mut [u32]) {
        let (factor, offset) = (v.splat(1.0 / scale), v.splat_word(BYTE_OFFSET.cast_unsigned()));
        let mut words = [0; 4 * BLOCK];
        for (x, to) in values.chunks_exact(I::LANES).zip(words.chunks_exact_mut(I::LANES)) {
            let bytes = v.add_words(v.to_ints(v.mul(v.load(x), factor)), offset);
            v.store_words(bytes, to);
        }
        for (to, bytes) in to.iter_mut().zip(words.chunks_exact(4)) {
            *to = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24;
        }
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[u32]) -> I::Words {
        v.load_words(columns)
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
        v.dot_u8i8(row, columns, sum)
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
    fn value<I: Isa>(v: I, sum: I::Words, scales: Scales<'_>) -> I::F32 {
        let sum = v.add_words(sum, v.load_words(scales.offsets));
        v.mul(v.ints_to_f32(sum), v.mul(v.load(scales.columns), v.splat(scales.row)))
    }
}

/// An element whose columns and rows have the same type.
pub(crate) trait Symmetric {
    /// One step of the depth on either side.
    type Step: ScratchElement + Send + Sync;
}

impl Symmetric for Float {
    type Step = f32;
}

impl Symmetric for Pairs {
    type Step = u32;
}

/// An element whose columns need not be weights, as in attention.
pub(crate) trait Operand:
    Symmetric + Element<Row = <Self as Symmetric>::Step, Column = <Self as Symmetric>::Step>
{
    /// `2^x` for x ≤ 0, as exact as the elements need.
    fn exp2<I: Isa>(isa: I, x: I::F32) -> I::F32;
    /// Writes a vector of elements, each of [`Element::DEPTH`] values.
    fn store<I: Isa>(isa: I, values: [I::F32; 2], to: &mut [Self::Step]);
}

impl Operand for Float {
    #[inline(always)]
    fn exp2<I: Isa>(v: I, x: I::F32) -> I::F32 {
        exp2(v, x)
    }
    #[inline(always)]
    fn store<I: Isa>(v: I, [x, _]: [I::F32; 2], to: &mut [f32]) {
        v.store(x, to);
    }
}

impl Operand for Pairs {
    #[inline(always)]
    fn exp2<I: Isa>(v: I, x: I::F32) -> I::F32 {
        exp2_for_bf16(v, x)
    }
    #[inline(always)]
    fn store<I: Isa>(v: I, [low, high]: [I::F32; 2], to: &mut [u32]) {
        v.store_pairs(low, high, to);
    }
}
