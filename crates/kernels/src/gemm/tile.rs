//! The register tile: the inner loop of every matrix product.

use crate::isa::{Isa, pair_of};
use crate::math::{exp, exp_for_bf16};
use crate::memory::Lent;

/// Rows of the tile.
pub(crate) const MR: usize = 6;
/// Vectors in a row of the tile. 6 × 2 accumulators, 2 vectors of B and 1 broadcast of A fill 15 of
/// the 16 registers of AVX2, and 12 independent sums hide the latency of a fused multiply-add.
pub(crate) const NV: usize = 2;

/// Columns of the tile, and of a packed panel.
pub(crate) const fn nr<I: Isa>() -> usize {
    NV * I::LANES
}

/// How weights are stored in a panel, and with what they are multiplied.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// What the rows of x are packed to.
    type Row: Row;
    /// Elements of the depth in one step of the tile.
    const DEPTH: usize;

    /// Adds one step of the depth to a tile: `a` holds `MR` rows, `b` holds `nr` columns.
    fn step<I: Isa>(isa: I, a: &[Self::Row], b: &[Self], sums: &mut [[I::F32; NV]; MR]);

    /// Steps that a depth takes.
    fn steps(depth: usize) -> usize {
        depth.div_ceil(Self::DEPTH)
    }
}

/// An element of a packed row of x.
pub(crate) trait Row: Copy + Default + Send + Sync {
    /// Packs `len` numbers to every `stride`-th place of `to`.
    fn pack(x: impl Fn(usize) -> f32, len: usize, to: &mut [Self], stride: usize);
}

impl Row for f32 {
    #[inline(always)]
    fn pack(x: impl Fn(usize) -> f32, len: usize, to: &mut [f32], stride: usize) {
        to.iter_mut().step_by(stride).zip(0..len).for_each(|(to, i)| *to = x(i));
    }
}

impl Row for u32 {
    #[inline(always)]
    fn pack(x: impl Fn(usize) -> f32, len: usize, to: &mut [u32], stride: usize) {
        let mut places = to.iter_mut().step_by(stride);
        for (i, to) in (0..len / 2).zip(places.by_ref()) {
            *to = pair_of(x(2 * i), x(2 * i + 1));
        }
        if let (true, Some(to)) = (len % 2 == 1, places.next()) {
            *to = pair_of(x(len - 1), 0.0);
        }
    }
}

/// An element that may stand on both sides of a product: neither side is packed beforehand.
pub(crate) trait Operand: Element<Row = Self> + Row + Lent {
    /// One element of [`Element::DEPTH`] numbers.
    fn join(numbers: [f32; 2]) -> Self;
    /// `e^x` for x ≤ 0, as exact as the elements are.
    fn exp<I: Isa>(isa: I, x: I::F32) -> I::F32;
    /// Writes a vector of elements, each of [`Element::DEPTH`] numbers.
    fn store<I: Isa>(isa: I, numbers: [I::F32; 2], to: &mut [Self]);
}

impl Operand for f32 {
    #[inline(always)]
    fn join([x, _]: [f32; 2]) -> f32 {
        x
    }
    #[inline(always)]
    fn exp<I: Isa>(v: I, x: I::F32) -> I::F32 {
        exp(v, x)
    }
    #[inline(always)]
    fn store<I: Isa>(v: I, [x, _]: [I::F32; 2], to: &mut [f32]) {
        v.store(x, to);
    }
}

impl Operand for u32 {
    #[inline(always)]
    fn join([low, high]: [f32; 2]) -> u32 {
        pair_of(low, high)
    }
    #[inline(always)]
    fn exp<I: Isa>(v: I, x: I::F32) -> I::F32 {
        exp_for_bf16(v, x)
    }
    #[inline(always)]
    fn store<I: Isa>(v: I, [low, high]: [I::F32; 2], to: &mut [u32]) {
        v.store_pairs(low, high, to);
    }
}

/// `sums += a ⊗ b`, where `b` is a row of the panel and `a` one number for each row of x.
#[inline(always)]
fn multiply<I: Isa>(v: I, a: &[f32], b: [I::F32; NV], sums: &mut [[I::F32; NV]; MR]) {
    for (row, &a) in sums.iter_mut().zip(a) {
        let a = v.splat(a);
        row[0] = v.mul_add(a, b[0], row[0]);
        row[1] = v.mul_add(a, b[1], row[1]);
    }
}

impl Element for f32 {
    type Row = f32;
    const DEPTH: usize = 1;

    #[inline(always)]
    fn step<I: Isa>(v: I, a: &[f32], b: &[f32], sums: &mut [[I::F32; NV]; MR]) {
        multiply(v, a, [v.load(b), v.load(&b[I::LANES..])], sums);
    }
}

/// A bf16 bit pattern, widened and multiplied in f32.
impl Element for u16 {
    type Row = f32;
    const DEPTH: usize = 1;

    #[inline(always)]
    fn step<I: Isa>(v: I, a: &[f32], b: &[u16], sums: &mut [[I::F32; NV]; MR]) {
        multiply(v, a, [v.load_bf16(b), v.load_bf16(&b[I::LANES..])], sums);
    }
}

/// Two bf16 bit patterns that follow each other in the depth, multiplied as such.
impl Element for u32 {
    type Row = u32;
    const DEPTH: usize = 2;

    #[inline(always)]
    fn step<I: Isa>(v: I, a: &[u32], b: &[u32], sums: &mut [[I::F32; NV]; MR]) {
        let b = [v.load_pairs(b), v.load_pairs(&b[I::LANES..])];
        for (row, &a) in sums.iter_mut().zip(a) {
            let a = v.splat_pair(a);
            row[0] = v.dot_bf16(a, b[0], row[0]);
            row[1] = v.dot_bf16(a, b[1], row[1]);
        }
    }
}

/// `A · B` for one tile: `a` is packed `[steps, MR]`, `b` is packed `[steps, nr]`.
///
/// Each lane is summed over the depth in order, so an element of the product does not depend on
/// its place in the tile.
#[inline(always)]
pub(crate) fn tile<I: Isa, W: Element>(v: I, a: &[W::Row], b: &[W]) -> [[I::F32; NV]; MR] {
    let mut sums = [[v.splat(0.0); NV]; MR];
    for (a, b) in a.chunks_exact(MR).zip(b.chunks_exact(nr::<I>())) {
        W::step(v, a, b, &mut sums);
    }
    sums
}
