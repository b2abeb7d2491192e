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

/// A stored number that multiplies in `f32`.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// The first `LANES` elements of `src`, widened.
    fn load<I: Isa>(isa: I, src: &[Self]) -> I::F32;
}

impl Element for f32 {
    #[inline(always)]
    fn load<I: Isa>(isa: I, src: &[f32]) -> I::F32 {
        isa.load(src)
    }
}

/// A bf16 bit pattern.
impl Element for u16 {
    #[inline(always)]
    fn load<I: Isa>(isa: I, src: &[u16]) -> I::F32 {
        isa.load_bf16(src)
    }
}

/// `A · B` for one tile: `a` is packed `[depth, MR]`, `b` is packed `[depth, nr]`.
///
/// Each lane is summed over the depth in order, so an element of the product does not depend on
/// its place in the tile.
#[inline(always)]
pub(crate) fn tile<I: Isa, W: Element>(v: I, a: &[f32], b: &[W]) -> [[I::F32; NV]; MR] {
    let mut sums = [[v.splat(0.0); NV]; MR];
    for (a, b) in a.chunks_exact(MR).zip(b.chunks_exact(nr::<I>())) {
        let b = [W::load(v, b), W::load(v, &b[I::LANES..])];
        for (row, &a) in sums.iter_mut().zip(a) {
            let a = v.splat(a);
            row[0] = v.mul_add(a, b[0], row[0]);
            row[1] = v.mul_add(a, b[1], row[1]);
        }
    }
    sums
}
