//! The forms in which the factors of a product are stored and multiplied.

use super::tile::NV;
use crate::isa::{BLOCK, Isa, Product, pair_of};
use crate::math::{exp2, exp2_for_bf16};
use crate::memory::ScratchElement;
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

    /// Packs a column of weights, and returns its scale if it has one. With `scale`, the weights are
    /// integers from -128 to 127 that have it already.
    fn pack_column<I: Isa>(
        isa: I,
        weights: &[f32],
        scale: Option<f32>,
        to: &mut [Self::Column],
    ) -> ColumnScale;
    /// Where a step has column `col` of a panel whose vectors have `lanes` lanes.
    fn slot(col: usize, _lanes: usize) -> usize {
        col
    }
    /// How the values of `row` are rounded to integers when they are packed.
    fn scale<I: Isa>(_: I, _row: &[f32]) -> RowScale {
        RowScale::NONE
    }
    /// Packs a block of a row, `BLOCK * DEPTH` values.
    fn pack<I: Isa>(isa: I, values: &[f32], scale: RowScale, to: &mut [Self::Row]);

    /// Loads a step of a panel.
    fn load<I: Isa>(isa: I, columns: &[Self::Column]) -> [Self::Factor<I>; NV];
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
    /// Loads a vector of sums from such a product, or from where [`Element::store_sum`] wrote it.
    fn load_sum<I: Isa>(isa: I, sums: &[u32]) -> Self::Sum<I>;
    /// Writes a vector of sums to the front of `to`.
    fn store_sum<I: Isa>(isa: I, sum: Self::Sum<I>, to: &mut [u32]);
    /// `a + b`
    fn add<I: Isa>(isa: I, a: Self::Sum<I>, b: Self::Sum<I>) -> Self::Sum<I>;
    /// A sum as f32 values. Sums of integers get the offset and scales of their row and columns.
    fn value<I: Isa>(isa: I, sum: Self::Sum<I>, row: RowScale, columns: Scales<I>) -> I::F32;

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
    /// The sum of its weights.
    pub(crate) sum: u32,
}

/// How a row is rounded to unsigned integers: `x / scale + zero`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowScale {
    pub(crate) scale: f32,
    pub(crate) zero: u32,
}

impl RowScale {
    /// For rows that are not rounded to integers.
    pub(crate) const NONE: RowScale = RowScale { scale: 1.0, zero: 0 };
}

/// Scales and offsets of a vector of columns of integers; unused where sums are floats.
#[derive(Clone, Copy)]
pub(crate) struct Scales<I: Isa> {
    pub(crate) scales: I::F32,
    /// Added to the sums, times the row's zero where rows have different ones.
    pub(crate) offsets: I::Words,
}

impl<I: Isa> Scales<I> {
    /// For sums of floats.
    #[inline(always)]
    pub(crate) fn none(v: I) -> Self {
        Self { scales: v.splat(1.0), offsets: v.splat_word(0) }
    }
}

/// Packs a row into blocks that start `stride` steps apart, the first at the front of `to`. Steps
/// past the row are zero up to the end of their block.
#[inline(always)]
pub(crate) fn pack_row<I: Isa, E: Element>(
    v: I,
    row: &[f32],
    scale: RowScale,
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
        fn store_sum<I: Isa>(v: I, sum: I::F32, to: &mut [u32]) {
            v.store_words(v.f32_to_bits(sum), to);
        }
        #[inline(always)]
        fn add<I: Isa>(v: I, a: I::F32, b: I::F32) -> I::F32 {
            v.add(a, b)
        }
        #[inline(always)]
        fn value<I: Isa>(_: I, sum: I::F32, _: RowScale, _: Scales<I>) -> I::F32 {
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
        fn pack<I: Isa>(_: I, values: &[f32], _: RowScale, to: &mut [f32]) {
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

    #[inline(always)]
    fn pack_column<I: Isa>(_: I, weights: &[f32], _: Option<f32>, to: &mut [f32]) -> ColumnScale {
        to[..weights.len()].copy_from_slice(weights);
        ColumnScale::default()
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[f32]) -> [I::F32; NV] {
        [v.load(columns), v.load(&columns[I::LANES..])]
    }
}

impl Element for Widened {
    type Column = u16;
    float_sums!();
    float_rows!();

    #[inline(always)]
    fn pack_column<I: Isa>(_: I, weights: &[f32], _: Option<f32>, to: &mut [u16]) -> ColumnScale {
        for (to, weight) in to.iter_mut().zip(weights) {
            *to = pair_of(*weight, 0.0) as u16;
        }
        ColumnScale::default()
    }
    /// The columns of both vectors alternate, so that one load and two operations widen them.
    fn slot(col: usize, lanes: usize) -> usize {
        col % lanes * NV + col / lanes
    }
    #[inline(always)]
    fn load<I: Isa>(v: I, columns: &[u16]) -> [I::F32; NV] {
        v.load_bf16_pairs(columns)
    }
}

impl Element for Pairs {
    type Column = u32;
    type Row = u32;
    type Factor<I: Isa> = I::Words;
    const DEPTH: usize = 2;
    const USES_MATRIX: bool = true;
    float_sums!();

    #[inline(always)]
    fn pack_column<I: Isa>(_: I, weights: &[f32], _: Option<f32>, to: &mut [u32]) -> ColumnScale {
        for (to, weights) in to.iter_mut().zip(weights.chunks(2)) {
            *to = pair_of(weights[0], weights.get(1).copied().unwrap_or(0.0));
        }
        ColumnScale::default()
    }
    #[inline(always)]
    fn pack<I: Isa>(v: I, values: &[f32], _: RowScale, to: &mut [u32]) {
        for (x, to) in values.chunks_exact(2 * I::LANES).zip(to.chunks_exact_mut(I::LANES)) {
            v.store_bf16(v.load(x), v.load(&x[I::LANES..]), to);
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
    fn multiply<I: Isa>(v: I, row: I::Words, columns: I::Words, sum: I::F32) -> I::F32 {
        v.dot_bf16(row, columns, sum)
    }
    #[inline(always)]
    fn multiply_matrix<I: Isa>(v: I, rows: &[u32], panel: &[u32], to: &mut Product) {
        v.matrix_bf16(rows, panel, to);
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
