//! The inner loop of every matrix product: a strip of packed rows meets a panel of packed columns.
//!
//! Both are in blocks of [`BLOCK`] steps of the depth: a strip is `[blocks, rows, BLOCK]`, a panel
//! `[blocks, BLOCK, nr]`. Where a level has matrix hardware, a strip has as many rows as that
//! multiplies at once; elsewhere, as many as fit the registers.

use super::element::Element;
use crate::isa::{BLOCK, Isa, MATRIX, MAX_LANES, Product};
use crate::memory::CACHE_LINE;

/// Vectors in a row of the register tile.
pub(crate) const NV: usize = 2;
/// Rows of the tile in 16 registers: 6 × 2 sums, 2 vectors of B and 1 broadcast of A fill 15 of
/// them, and 12 independent sums hide the latency of a fused multiply-add.
const MR: usize = 6;
/// The same in the 32 registers of AVX-512: 24 sums, so that 14 loads and broadcasts serve 24
/// multiplications.
const TALL_MR: usize = 12;
/// The same for numbers of rows that fill tall tiles badly, such as 16 or 64: 10 loads serve 16.
const SHORT_MR: usize = 8;
/// A number of rows that is whole strips at every level, and whole blocks of every element.
pub(crate) const WHOLE_STRIPS: usize = 96;

/// Columns of a panel.
pub(crate) const fn nr<I: Isa>() -> usize {
    NV * I::LANES
}

/// Rows of a strip if there are `rows` in all, at a level with vectors of `lanes` lanes, with or
/// without matrix hardware.
pub(crate) const fn strip_rows<E: Element>(lanes: usize, has_matrix: bool, rows: usize) -> usize {
    if has_matrix && E::USES_MATRIX {
        MATRIX
    } else if lanes < MAX_LANES {
        MR
    } else if 17 * rows.next_multiple_of(SHORT_MR) < 16 * rows.next_multiple_of(TALL_MR) {
        // A sixteenth less work outweighs reading the panels more often.
        SHORT_MR
    } else {
        TALL_MR
    }
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

/// Multiplies a strip of rows by a panel, and passes every row's sums to `epilogue`.
///
/// Each sum runs over the depth in order, so it does not depend on the row's index in the strip.
/// Meanwhile the columns `ahead` are prefetched, evenly over the depth.
#[inline(always)]
pub(crate) fn multiply<I: Isa, E: Element>(
    v: I,
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
        finish(v, tile::<I, E, MR>(v, rows, panel, ahead), epilogue);
    } else if rows.len() * nr::<I>() == panel.len() * SHORT_MR {
        finish(v, tile::<I, E, SHORT_MR>(v, rows, panel, ahead), epilogue);
    } else {
        finish(v, tile::<I, E, TALL_MR>(v, rows, panel, ahead), epilogue);
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
    let blocks = rows.chunks_exact(MR * BLOCK).zip(panel.chunks_exact(BLOCK * nr::<I>()));
    let mut ahead = ahead.chunks(ahead.len().div_ceil(blocks.len().max(1)).max(1));
    for (rows, panel) in blocks {
        for line in ahead.next().unwrap_or_default().chunks(CACHE_LINE / size_of::<E::Column>()) {
            v.prefetch(line);
        }
        for (step, columns) in panel.chunks_exact(nr::<I>()).enumerate() {
            let columns = [E::load(v, columns), E::load(v, &columns[I::LANES..])];
            for (m, sums) in sums.iter_mut().enumerate() {
                let row = E::splat(v, rows[m * BLOCK + step]);
                sums[0] = E::multiply(v, row, columns[0], sums[0]);
                sums[1] = E::multiply(v, row, columns[1], sums[1]);
            }
        }
    }
    sums
}
