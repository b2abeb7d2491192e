//! q, k and v of one head, rotated and packed as the tile reads them.

use super::{Heads, Position};
use crate::gemm::element::{Operand, pack_row};
use crate::gemm::tile::nr;
use crate::isa::{BLOCK, Isa, MAX_LANES};
use std::ops::Range;

/// Where a head's q, k and v come from.
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
    fn of(&self, which: usize, token: usize) -> &[f32] {
        let hidden = self.heads.heads * self.heads.head_dim;
        &self.qkv[(3 * token + which) * hidden + self.col..][..self.heads.head_dim]
    }

    /// Writes the vector of a token to `to`, rotated where positions rotate and times `scale`.
    #[inline(always)]
    fn rotate(&self, which: usize, token: usize, scale: f32, to: &mut [f32]) {
        let from = self.of(which, token);
        let Position::Rope(table) = self.heads.position else {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x * scale);
            return;
        };
        let (cos, sin) = table.at(token - self.sequence.start);
        let half = from.len() / 2;
        let ((low, high), (to_low, to_high)) = (from.split_at(half), to.split_at_mut(half));
        let pairs = low.iter().zip(high).zip(cos.iter().zip(sin));
        for ((to_low, to_high), ((low, high), (cos, sin))) in
            to_low.iter_mut().zip(to_high).zip(pairs)
        {
            *to_low = (low * cos - high * sin) * scale;
            *to_high = (high * cos + low * sin) * scale;
        }
    }

    /// Strips of keys; those past the end are left as they are. `rotated` holds a head's vector.
    #[inline(always)]
    pub(super) fn pack_keys<I: Isa, E: Operand>(
        &self,
        v: I,
        strip: usize,
        rotated: &mut [f32],
        keys: &mut [E::Step],
    ) {
        let steps = E::steps(self.heads.head_dim);
        for (i, token) in self.sequence.clone().enumerate() {
            self.rotate(1, token, 1.0, rotated);
            let to = &mut keys[i / strip * strip * steps + i % strip * BLOCK..];
            pack_row::<I, E>(v, rotated, 1.0, to, strip * BLOCK);
        }
    }

    /// Strips of columns of v, with the keys as their depth, zero past the last one.
    #[inline(always)]
    pub(super) fn pack_values<I: Isa, E: Operand>(
        &self,
        v: I,
        strip: usize,
        values: &mut [E::Step],
    ) {
        let (dim, steps) = (self.heads.head_dim, E::steps(self.sequence.len()));
        let row = |token| if token < self.sequence.end { self.of(2, token) } else { &[] };
        let mut block = [[E::Step::default(); MAX_LANES]; BLOCK];
        for first_step in (0..steps).step_by(BLOCK) {
            for start in (0..dim).step_by(I::LANES) {
                let end = (start + I::LANES).min(dim);
                for (step, lanes) in block.iter_mut().enumerate() {
                    let first = self.sequence.start + (first_step + step) * E::DEPTH;
                    let part = |token| row(token).get(start..end).unwrap_or_default();
                    let low = v.load_partial(part(first));
                    let high = v.load_partial(part(first + E::DEPTH - 1));
                    E::store(v, [low, high], lanes);
                }
                for column in start..end {
                    let at = column / strip * strip * steps
                        + first_step * strip
                        + column % strip * BLOCK;
                    let to = &mut values[at..][..BLOCK];
                    for (to, lanes) in to.iter_mut().zip(&block) {
                        *to = lanes[column - start];
                    }
                }
            }
        }
    }

    /// A panel of queries, scaled by log₂ e / √head_dim, so that the softmax takes powers of two; those past the end are left as they are.
    #[inline(always)]
    pub(super) fn pack_queries<I: Isa, E: Operand>(
        &self,
        v: I,
        tokens: Range<usize>,
        rotated: &mut [f32],
        queries: &mut [E::Step],
    ) {
        let scale = std::f32::consts::LOG2_E / (self.heads.head_dim as f32).sqrt();
        let mut block = [E::Step::default(); BLOCK];
        for (j, token) in tokens.enumerate() {
            self.rotate(0, token, scale, rotated);
            let blocks = queries.chunks_exact_mut(BLOCK * nr::<I>());
            for (numbers, to) in rotated.chunks(BLOCK * E::DEPTH).zip(blocks) {
                pack_row::<I, E>(v, numbers, 1.0, &mut block, BLOCK);
                to[j..].iter_mut().step_by(nr::<I>()).zip(block).for_each(|(to, x)| *to = x);
            }
        }
    }
}
