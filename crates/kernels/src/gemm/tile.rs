//! The inner loop of every matrix product: a strip of packed rows meets a panel of packed columns.
//!
//! Both are in blocks of [`BLOCK`] steps of the depth: a strip is `[blocks, rows, BLOCK]`, a panel
//! `[blocks, BLOCK, nr]`. Where a level has matrix hardware, a strip has as many rows as that
//! multiplies at once; elsewhere, as many as fit the registers.

use super::element::Element;
use super::strips::{LOW_MR, MR, SHORT_MR, TALL_MR};
use crate::isa::{BLOCK, Isa, MATRIX, MAX_LANES, Product};
use crate::memory::CACHE_LINE;

/// Vectors in a row of the register tile.
pub(crate) const NV: usize = 2;

/// Columns of a panel.
pub(crate) const fn nr<I: Isa>() -> usize {
    NV * I::LANES
}

/// The buffer to which matrix hardware writes a product.
#[repr(align(64))]
pub(crate) struct Sums(Product);

impl Sums {
    pub(crate) fn new() -> Self {
        Self([0; MATRIX * MATRIX])
    }
}

/// The operation on the sums of a tile while they are in registers.
///
/// A trait instead of a closure, because its method can be `#[inline(always)]`. A closure that the
/// compiler leaves as a call lacks the features of the level, and passes all registers through
/// memory for every row.
pub(crate) trait Epilogue<I: Isa, E: Element> {
    /// Consumes the sums of row `m` of the strip.
    fn row(&mut self, v: I, m: usize, sums: [E::Sum<I>; NV]);
}

/// Multiplies a strip of `height` rows by a panel, and passes every row's sums to `epilogue`.
///
/// Each sum runs over the depth in order, so it does not depend on the row's index in the strip.
/// Meanwhile the columns `ahead` are prefetched, evenly over the depth.
#[inline(always)]
pub(crate) fn multiply<I: Isa, E: Element>(
    v: I,
    height: usize,
    rows: &[E::Row],
    panel: &[E::Column],
    ahead: &[E::Column],
    sums: &mut Sums,
    epilogue: &mut impl Epilogue<I, E>,
) {
    if I::HAS_MATRIX && E::USES_MATRIX {
        E::multiply_matrix(v, rows, panel, &mut sums.0);
        for (m, sums) in sums.0.chunks_exact(nr::<I>()).enumerate() {
            epilogue.row(v, m, [E::load_sum(v, sums), E::load_sum(v, &sums[I::LANES..])]);
        }
    } else if I::LANES < MAX_LANES {
        match height {
            MR => finish(v, tile::<I, E, MR>(v, rows, panel, ahead), epilogue),
            _ => finish(v, tile::<I, E, LOW_MR>(v, rows, panel, ahead), epilogue),
        }
    } else {
        match height {
            SHORT_MR => finish(v, tile::<I, E, SHORT_MR>(v, rows, panel, ahead), epilogue),
            _ => finish(v, tile::<I, E, TALL_MR>(v, rows, panel, ahead), epilogue),
        }
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the sums of an iterator go through memory")]
fn finish<I: Isa, E: Element, const MR: usize>(
    v: I,
    sums: [[E::Sum<I>; NV]; MR],
    epilogue: &mut impl Epilogue<I, E>,
) {
    for m in 0..MR {
        epilogue.row(v, m, sums[m]);
    }
}

/// The product of a strip of `MR` rows in registers.
#[inline(always)]
fn tile<I: Isa, E: Element, const MR: usize>(
    v: I,
    rows: &[E::Row],
    panel: &[E::Column],
    ahead: &[E::Column],
) -> [[E::Sum<I>; NV]; MR] {
    let mut sums = [[E::zero(v); NV]; MR];
    let (rows, _) = rows.as_chunks::<BLOCK>();
    let (rows, _) = rows.as_chunks::<MR>();
    let blocks = rows.iter().zip(panel.chunks_exact(BLOCK * nr::<I>()));
    let mut ahead = ahead.chunks(ahead.len().div_ceil(blocks.len().max(1)).max(1));
    for (rows, panel) in blocks {
        for line in ahead.next().unwrap_or_default().chunks(CACHE_LINE / size_of::<E::Column>()) {
            v.prefetch(line);
        }
        for step in 0..BLOCK {
            let columns = E::load(v, &panel[step * nr::<I>()..][..nr::<I>()]);
            for (sums, row) in sums.iter_mut().zip(rows) {
                let row = E::splat(v, row[step]);
                sums[0] = E::multiply(v, row, columns[0], sums[0]);
                sums[1] = E::multiply(v, row, columns[1], sums[1]);
            }
        }
    }
    sums
}
