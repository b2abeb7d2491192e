//! The register tile: the inner loop of every matrix product.

use crate::isa::Isa;

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
    /// Writes a row of x to every `MR`-th place of `to`.
    fn pack(x: &[f32], to: &mut [Self]);
}

impl Row for f32 {
    #[inline(always)]
    fn pack(x: &[f32], to: &mut [f32]) {
        to.iter_mut().step_by(MR).zip(x).for_each(|(to, &x)| *to = x);
    }
}

impl Row for u32 {
    #[inline(always)]
    fn pack(x: &[f32], to: &mut [u32]) {
        for (to, pair) in to.iter_mut().step_by(MR).zip(x.chunks(2)) {
            *to = pair_of(pair[0], if let [_, x] = pair { *x } else { 0.0 });
        }
    }
}

/// Two numbers as bf16, the first in the lower half.
#[inline(always)]
pub(crate) fn pair_of(low: f32, high: f32) -> u32 {
    bf16(low) | bf16(high) << 16
}

/// The nearest bf16, ties to even.
#[inline(always)]
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_the_nearest_and_ties_to_even() {
        let cases = [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
        ];
        for (x, bits) in cases {
            assert_eq!(pair_of(x, 0.0), bits, "{x}");
            assert_eq!(pair_of(0.0, x), bits << 16, "{x}");
        }
    }
}
