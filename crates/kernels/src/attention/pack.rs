//! q, k and v of one head, rotated and packed as the tile reads them.

use super::softmax::{KEY_BLOCK, key_strips};
use super::{Heads, Position};
use crate::gemm::element::{Operand, RowScale, pack_row};
use crate::gemm::strips::Strips;
use crate::gemm::tile::{NV, nr};
use crate::grid::Rect;
use crate::isa::{BLOCK, Isa, MAX_LANES};
use crate::transpose::{Square, transpose};
use std::ops::Range;

/// The source of a head's q, k and v.
pub(super) struct Source<'a> {
    pub(super) qkv: &'a [f32],
    pub(super) heads: &'a Heads<'a>,
    pub(super) sequence: Range<usize>,
    /// First column of the head.
    pub(super) col: usize,
}

impl Source<'_> {
    /// The head's slope, if positions are a bias of the scores.
    pub(super) fn slope(&self) -> Option<f32> {
        match self.heads.position {
            Position::Rope(_) => None,
            Position::Alibi(slopes) => Some(slopes[self.col / self.heads.head_dim]),
        }
    }

    /// The head's q (0), k (1) or v (2) of a token.
    #[inline(always)]
    fn vector(&self, which: usize, token: usize) -> &[f32] {
        let hidden = self.heads.heads * self.heads.head_dim;
        &self.qkv[(3 * token + which) * hidden + self.col..][..self.heads.head_dim]
    }

    /// Writes the vector of a token to `to`, rotated where positions rotate and times `scale`.
    #[inline(always)]
    fn rotate<I: Isa>(&self, v: I, which: usize, token: usize, scale: f32, to: &mut [f32]) {
        let (from, scale) = (self.vector(which, token), v.splat(scale));
        let Position::Rope(table) = self.heads.position else {
            for (to, x) in to.chunks_mut(I::LANES).zip(from.chunks(I::LANES)) {
                v.store_partial(v.mul(v.load_partial(x), scale), to);
            }
            return;
        };
        let (cos, sin) = table.at(token - self.sequence.start);
        let half = from.len() / 2;
        let ((low, high), (to_low, to_high)) = (from.split_at(half), to.split_at_mut(half));
        for start in (0..half).step_by(I::LANES) {
            let part = start..(start + I::LANES).min(half);
            let load = |from: &[f32]| v.load_partial(&from[part.clone()]);
            let (low, high, cos, sin) = (load(low), load(high), load(cos), load(sin));
            let [first, second] = [
                v.sub(v.mul(low, cos), v.mul(high, sin)),
                v.add(v.mul(high, cos), v.mul(low, sin)),
            ];
            v.store_partial(v.mul(first, scale), &mut to_low[part.clone()]);
            v.store_partial(v.mul(second, scale), &mut to_high[part.clone()]);
        }
    }

    /// Packs strips of keys; the rest of the last strip is left as it is. `rotated` has room for
    /// one vector of the head.
    #[inline(always)]
    pub(super) fn pack_keys<I: Isa, E: Operand>(
        &self,
        v: I,
        rotated: &mut [f32],
        keys: &mut [E::Step],
    ) {
        let steps = E::steps(self.heads.head_dim);
        let rotated = &mut rotated[..self.heads.head_dim];
        for start in (0..self.sequence.len()).step_by(KEY_BLOCK) {
            let count = KEY_BLOCK.min(self.sequence.len() - start);
            let strips = key_strips::<I, E>(count);
            let block = &mut keys[start * steps..];
            for key in 0..count {
                self.rotate(v, 1, self.sequence.start + start + key, 1.0, rotated);
                let (at, stride) = strips.location(key, steps);
                pack_row::<I, E>(v, rotated, RowScale::NONE, &mut block[at..], stride);
            }
        }
    }

    /// Packs strips of columns of v, with the keys as their depth, zero past the last one.
    #[inline(always)]
    pub(super) fn pack_values<I: Isa, E: Operand>(
        &self,
        v: I,
        strips: Strips,
        values: &mut [E::Step],
    ) {
        /// Maximum number of keys in a block, whichever the element.
        const KEYS: usize = 2 * BLOCK;
        let (dim, steps) = (self.heads.head_dim, E::steps(self.sequence.len()));
        let mut columns = [[0.0; KEYS]; MAX_LANES];
        for first_step in (0..steps).step_by(BLOCK) {
            for start in (0..dim).step_by(I::LANES) {
                let end = (start + I::LANES).min(dim);
                for key in (0..BLOCK * E::DEPTH).step_by(I::LANES) {
                    let first = self.sequence.start + first_step * E::DEPTH + key;
                    let square = transpose(v, self.values(v, first, start..end));
                    for (column, x) in columns[..I::LANES].iter_mut().zip(square) {
                        v.store(x, &mut column[key..]);
                    }
                }
                for (column, elements) in (start..end).zip(&columns) {
                    let (at, stride) = strips.location(column, steps);
                    let to = &mut values[at + first_step / BLOCK * stride..][..BLOCK];
                    E::pack(v, &elements[..BLOCK * E::DEPTH], RowScale::NONE, to);
                }
            }
        }
    }

    /// Loads columns of v of the keys from `first` on, zero past the last one.
    #[inline(always)]
    fn values<I: Isa>(&self, v: I, first: usize, columns: Range<usize>) -> Square<I> {
        let mut square = [v.splat(0.0); MAX_LANES];
        for (token, row) in (first..self.sequence.end).zip(&mut square[..I::LANES]) {
            *row = v.load_partial(&self.vector(2, token)[columns.clone()]);
        }
        square
    }

    /// Packs a panel of queries, scaled by log₂ e / √head_dim, so that the softmax uses powers of
    /// two; columns past the last query are left as they are. `rotated` has room for as many
    /// queries as a vector has lanes, each as long as the panel is deep.
    #[inline(always)]
    pub(super) fn pack_queries<I: Isa, E: Operand>(
        &self,
        v: I,
        tokens: Range<usize>,
        rotated: &mut [f32],
        queries: &mut [E::Step],
    ) {
        let (dim, nr) = (self.heads.head_dim, nr::<I>());
        let scale = std::f32::consts::LOG2_E / (dim as f32).sqrt();
        let depth = queries.len() / nr * E::DEPTH;
        for start in tokens.clone().step_by(I::LANES) {
            for (token, to) in (start..tokens.end).zip(rotated.chunks_exact_mut(depth)) {
                let (to, padding) = to.split_at_mut(dim);
                self.rotate(v, 0, token, scale, to);
                padding.fill(0.0);
            }
            let panel = &mut queries[start - tokens.start..];
            for (from, steps) in
                (0..depth).step_by(I::LANES).zip(panel.chunks_mut(I::LANES / E::DEPTH * nr))
            {
                let mut square = [v.splat(0.0); MAX_LANES];
                for (row, values) in square.iter_mut().zip(rotated.chunks_exact(depth)) {
                    *row = v.load(&values[from..]);
                }
                let square = transpose(v, square);
                let values = square[..I::LANES].chunks_exact(E::DEPTH);
                for (values, to) in values.zip(steps.chunks_mut(nr)) {
                    E::store(v, [values[0], values[E::DEPTH - 1]], to);
                }
            }
        }
    }
}

/// Transposes the context of `queries`, `[head_dim, nr]`, multiplies it by the scale of each query
/// and writes it to rows of `out`.
#[inline(always)]
pub(super) fn unpack_context<I: Isa>(
    v: I,
    context: &[f32],
    scales: [I::F32; NV],
    queries: Range<usize>,
    out: &mut Rect<'_>,
) {
    let dim = out.cols().len();
    for (n, first) in queries.clone().step_by(I::LANES).enumerate() {
        for start in (0..dim).step_by(I::LANES) {
            let end = (start + I::LANES).min(dim);
            let mut square = [v.splat(0.0); MAX_LANES];
            for (row, column) in square[..I::LANES].iter_mut().zip(start..end) {
                let x = v.load(&context[column * nr::<I>() + n * I::LANES..]);
                *row = v.mul(x, scales[n]);
            }
            for (query, x) in (first..queries.end).zip(&transpose(v, square)[..I::LANES]) {
                v.store_partial(*x, &mut out.row_mut(query)[start..end]);
            }
        }
    }
}
