//! Bidirectional attention over packed sequences, with online softmax (Milakov and Gimelshein
//! 2018; Dao et al. 2022): nothing of size length² exists.
//!
//! Scores are computed transposed: keys in rows, queries across the lanes of a vector. Maximum, sum
//! and rescaling of the softmax are then plain vertical operations, and the probabilities of a
//! block of keys already have the layout of the tile's second operand.

mod pack;
mod softmax;

use crate::gemm::element::{Float, Operand, Pairs};
use crate::gemm::strips::Strips;
use crate::gemm::tile::{Sums, nr};
use crate::grid::{Rect, grid};
use crate::isa::{Isa, Kernel, Level};
use crate::memory::Scratch;
use crate::precision::Precision;
use crate::rope::RopeTable;
use crate::threads::Threads;
use pack::{Source, unpack_context};
use softmax::{Bias, KEY_BLOCK, Packed, attend, packed_keys};
use std::marker::PhantomData;
use std::ops::Range;

/// Queries per task. Keys and values are packed again for each task: enough queries to outweigh
/// that work, and few enough that a text of 8192 tokens is eight tasks per head. A multiple of
/// every level's lane count, so that cutting here changes no result.
const QUERY_BAND: usize = 1024;

/// The sequences of a batch and the shape of their heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Token range of each sequence, end to end from 0.
    pub sequences: &'a [Range<usize>],
    /// Number of heads.
    pub heads: usize,
    /// Width of a head; `hidden = heads * head_dim`.
    pub head_dim: usize,
    /// How positions enter the scores.
    pub position: Position<'a>,
}

/// How positions enter the scores.
#[derive(Clone, Copy, Debug)]
pub enum Position<'a> {
    /// q and k are rotated by angles that grow with the position. The table must have at least as
    /// many positions as the longest sequence has tokens.
    Rope(&'a RopeTable),
    /// `−slope · |i − j|` is added to the score of query i and key j, with one slope per head,
    /// `[heads]` (symmetric ALiBi). The bias is generated in the register tile and never stored.
    Alibi(&'a [f32]),
}

/// `out = softmax(q kᵀ / √head_dim + bias) v` for every sequence and head, with q and k rotated or
/// the bias of [`Position::Alibi`].
///
/// `qkv` is `[tokens, 3 * hidden]` (all of q, then k, then v), `out` is `[tokens, hidden]`.
///
/// # Panics
///
/// If the shapes do not agree, the sequences are not end to end, or `precision` is not one of
/// [`Precision::ON_CPU`].
pub fn attention(
    threads: &Threads,
    level: Level,
    precision: Precision,
    qkv: &[f32],
    heads: &Heads<'_>,
    out: &mut [f32],
) {
    assert!(Precision::ON_CPU.contains(&precision), "a CPU does not compute in {precision}");
    let hidden = heads.heads * heads.head_dim;
    let tokens = heads.sequences.last().map_or(0, |last| last.end);
    assert_eq!(qkv.len(), tokens * 3 * hidden);
    assert_eq!(out.len(), tokens * hidden);
    if let Position::Alibi(slopes) = heads.position {
        assert_eq!(slopes.len(), heads.heads);
    }
    let mut bands = Vec::new();
    let mut start = 0;
    for sequence in heads.sequences {
        assert_eq!(sequence.start, start, "sequences must be end to end");
        if let Position::Rope(table) = heads.position {
            assert!(sequence.len() <= table.positions(), "the rope table is too short");
        }
        start = sequence.end;
        let starts = sequence.clone().step_by(QUERY_BAND);
        bands
            .extend(starts.map(|start| (sequence.clone(), (start + QUERY_BAND).min(sequence.end))));
    }
    let row_ends: Vec<usize> = bands.iter().map(|(_, end)| *end).collect();
    let col_ends: Vec<usize> = (1..=heads.heads).map(|i| i * heads.head_dim).collect();
    let rects = grid(out, hidden, &row_ends, &col_ends);
    let tasks: Vec<_> = rects.into_iter().enumerate().collect();
    threads.run(tasks, |(i, out), scratch| {
        let sequence = bands[i / heads.heads].0.clone();
        let source = Source { qkv, heads, sequence, col: out.cols().start };
        match precision {
            Precision::Bf16 => level.run(Head::<Pairs>::new(source, out, scratch)),
            Precision::Int8 if level.has_bf16_dot() => {
                level.run(Head::<Pairs>::new(source, out, scratch));
            }
            Precision::F32 | Precision::F16 | Precision::Int8 => {
                level.run(Head::<Float>::new(source, out, scratch));
            }
        };
    });
}

/// One head of one band of queries. `out` covers the band's rows and the head's columns; the
/// operands of products are packed as `E`.
struct Head<'a, E> {
    source: Source<'a>,
    out: Rect<'a>,
    scratch: &'a mut [Scratch; 4],
    operand: PhantomData<E>,
}

impl<'a, E> Head<'a, E> {
    fn new(source: Source<'a>, out: Rect<'a>, scratch: &'a mut [Scratch; 4]) -> Self {
        Self { source, out, scratch, operand: PhantomData }
    }
}

impl<E: Operand> Kernel for Head<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { source, mut out, scratch, .. } = self;
        let (dim, len, nr) = (source.heads.head_dim, source.sequence.len(), nr::<I>());
        let value_strips = Strips::new::<E>(I::LANES, I::HAS_MATRIX, dim);
        let rows = value_strips.padded();
        let (steps, key_steps) = (E::steps(dim), E::steps(len));
        let [keys, values, operands, floats] = scratch;
        let keys = keys.take(packed_keys::<I, E>(len) * steps);
        let values = values.take(rows * key_steps);
        let operands = operands.take((steps + E::steps(KEY_BLOCK)) * nr);
        let (queries, probabilities) = operands.split_at_mut(steps * nr);
        let floats = floats.take((KEY_BLOCK + rows) * nr + I::LANES * steps * E::DEPTH);
        let (scores, floats) = floats.split_at_mut(KEY_BLOCK * nr);
        let (context, rotated) = floats.split_at_mut(rows * nr);
        let mut sums = Sums::new();
        source.pack_keys::<I, E>(v, rotated, keys);
        source.pack_values::<I, E>(v, value_strips, values);
        for first in out.rows().step_by(nr) {
            let last = (first + nr).min(out.rows().end);
            source.pack_queries::<I, E>(v, first..last, rotated, queries);
            let packed = Packed { queries, keys, values, len, value_strips };
            let bias = source.slope().map(|s| Bias::new(v, s, first - source.sequence.start));
            let totals =
                attend::<I, E>(v, &packed, bias, &mut sums, scores, probabilities, context);
            let one = v.splat(1.0);
            let scales = [v.div(one, totals[0]), v.div(one, totals[1])];
            unpack_context(v, context, scales, first..last, &mut out);
        }
    }
}

#[cfg(test)]
mod tests;
