//! q, k and v of one head, rotated and packed as the tile reads them.

use super::{Heads, Position};
use crate::gemm::tile::{MR, Operand};
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

    /// Packs the vector of a token, rotated where positions rotate and times `scale`, to every
    /// `stride`-th place of `to`.
    #[inline(always)]
    fn place<W: Operand>(
        &self,
        which: usize,
        token: usize,
        scale: f32,
        to: &mut [W],
        stride: usize,
    ) {
        let from = self.of(which, token);
        let half = from.len() / 2;
        let (low, high) = from.split_at(half);
        match self.heads.position {
            Position::Alibi(_) => W::pack(|j| from[j] * scale, from.len(), to, stride),
            Position::Rope(table) => {
                let (cos, sin) = table.at(token - self.sequence.start);
                let rotated = |j: usize| {
                    if j < half {
                        (low[j] * cos[j] - high[j] * sin[j]) * scale
                    } else {
                        let j = j - half;
                        (high[j] * cos[j] + low[j] * sin[j]) * scale
                    }
                };
                W::pack(rotated, from.len(), to, stride);
            }
        }
    }

    /// `[len / MR, steps of head_dim, MR]`; keys past the end are zero.
    #[inline(always)]
    pub(super) fn pack_keys<W: Operand>(&self, keys: &mut [W]) {
        let tile = MR * W::steps(self.heads.head_dim);
        if let Some(last) = keys.chunks_exact_mut(tile).last() {
            last.fill(W::default());
        }
        for (i, token) in self.sequence.clone().enumerate() {
            self.place(1, token, 1.0, &mut keys[i / MR * tile + i % MR..], MR);
        }
    }

    /// `[head_dim / MR, steps of len, MR]`; columns past the head are zero.
    #[inline(always)]
    pub(super) fn pack_values<W: Operand>(&self, values: &mut [W]) {
        let dim = self.heads.head_dim;
        let steps = W::steps(self.sequence.len());
        for step in 0..steps {
            let first = self.sequence.start + step * W::DEPTH;
            let end = self.sequence.end;
            let row = |i: usize| if first + i < end { self.of(2, first + i) } else { &[] };
            let rows = [row(0), row(W::DEPTH - 1)];
            for group in 0..dim.div_ceil(MR) {
                let to = &mut values[(group * steps + step) * MR..][..MR];
                for (m, to) in to.iter_mut().enumerate() {
                    let at = |row: &[f32]| row.get(group * MR + m).copied().unwrap_or(0.0);
                    *to = W::join([at(rows[0]), at(rows[1])]);
                }
            }
        }
    }

    /// `[steps of head_dim, nr]`, scaled by 1/√head_dim; queries past the end are zero.
    #[inline(always)]
    pub(super) fn pack_queries<W: Operand>(
        &self,
        tokens: Range<usize>,
        nr: usize,
        queries: &mut [W],
    ) {
        if tokens.len() < nr {
            queries.fill(W::default());
        }
        let scale = 1.0 / (self.heads.head_dim as f32).sqrt();
        for (j, token) in tokens.enumerate() {
            self.place(0, token, scale, &mut queries[j..], nr);
        }
    }
}
