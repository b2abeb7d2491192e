//! Bidirectional attention over packed sequences, with online softmax (Milakov and Gimelshein
//! 2018; Dao et al. 2022): nothing of size length² exists.
//!
//! Scores are computed transposed, keys down and queries across the lanes of a vector. Maximum, sum
//! and rescaling of the softmax are then plain vertical operations, and the probabilities of a block
//! of keys already lie as the tile wants its second operand.

use crate::gemm::tile::{MR, NV, nr, tile};
use crate::grid::{Rect, grid};
use crate::isa::{Isa, Kernel, Level};
use crate::math::exp;
use crate::memory::Scratch;
use crate::rope::RopeTable;
use crate::threads::Threads;
use std::ops::Range;

/// Keys whose scores are held at once: with AVX2 they take 8 KiB of the level-1 cache.
const KEY_BLOCK: usize = 20 * MR;
/// Queries of one task. Keys and values are packed anew for each task, so it is long against that
/// work, and short enough that a text of 8192 tokens makes eight tasks a head. A multiple of every
/// level's lane count, so that cutting here changes no result.
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
    /// How tokens know where they stand.
    pub position: Position<'a>,
}

/// How positions enter the scores.
#[derive(Clone, Copy, Debug)]
pub enum Position<'a> {
    /// q and k are rotated by angles that grow with the position. The table holds at least as many
    /// positions as the longest sequence has tokens.
    Rope(&'a RopeTable),
    /// `−slope · |i − j|` is added to the score of query i and key j, with a slope for each head
    /// (symmetric ALiBi). It is generated in the register tile and stands nowhere else.
    Alibi(&'a [f32]),
}

/// `out = softmax(q kᵀ / √head_dim + bias) v` for every sequence and head, with q and k rotated or
/// the bias of [`Position::Alibi`].
///
/// `qkv` is `[tokens, 3 * hidden]` (all of q, then k, then v), `out` is `[tokens, hidden]`.
///
/// # Panics
///
/// If the shapes do not agree, or the sequences do not lie end to end.
pub fn attention(threads: &Threads, level: Level, qkv: &[f32], heads: &Heads<'_>, out: &mut [f32]) {
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
        assert_eq!(sequence.start, start, "sequences must lie end to end");
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
        level.run(Head { qkv, heads, sequence, out, scratch });
    });
}

/// One head of one band of queries. `out` covers the band's rows and the head's columns.
struct Head<'a> {
    qkv: &'a [f32],
    heads: &'a Heads<'a>,
    sequence: Range<usize>,
    out: Rect<'a>,
    scratch: &'a mut [Scratch; 3],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, v: I) {
        let (len, dim) = (self.sequence.len(), self.heads.head_dim);
        let [keys, values, rest] = self.scratch;
        let keys = keys.take(len.next_multiple_of(MR) * dim);
        let values = values.take(dim.next_multiple_of(MR) * len);
        let source = Source {
            qkv: self.qkv,
            heads: self.heads,
            sequence: self.sequence,
            col: self.out.cols().start,
        };
        source.pack_keys(keys);
        source.pack_values(values);
        let (queries, rest) = rest
            .take((2 * dim.next_multiple_of(MR) + KEY_BLOCK) * nr::<I>())
            .split_at_mut(dim * nr::<I>());
        let (scores, context) = rest.split_at_mut(KEY_BLOCK * nr::<I>());
        for first in self.out.rows().step_by(nr::<I>()) {
            let last = (first + nr::<I>()).min(self.out.rows().end);
            source.pack_queries(first..last, nr::<I>(), queries);
            let bias = source.slope().map(|slope| Bias {
                slope: v.splat(-slope),
                queries: lanes_from(v, first - source.sequence.start),
            });
            let sums = attend(v, queries, keys, values, bias, scores, context);
            let mut totals = [0.0; 2 * crate::isa::MAX_LANES];
            v.store(sums[0], &mut totals);
            v.store(sums[1], &mut totals[I::LANES..]);
            for (j, row) in (first..last).enumerate() {
                let scale = 1.0 / totals[j];
                for (c, to) in self.out.row_mut(row).iter_mut().enumerate() {
                    *to = context[c * nr::<I>() + j] * scale;
                }
            }
        }
    }
}

/// Where a head's q, k and v come from.
struct Source<'a> {
    qkv: &'a [f32],
    heads: &'a Heads<'a>,
    sequence: Range<usize>,
    /// First column of the head.
    col: usize,
}

impl Source<'_> {
    /// The head's slope, if positions are a bias of the scores.
    fn slope(&self) -> Option<f32> {
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

    /// Writes the vector of a token, rotated where positions rotate and times `scale`, to every
    /// `stride`-th place of `to`.
    #[inline(always)]
    fn place(&self, which: usize, token: usize, scale: f32, to: &mut [f32], stride: usize) {
        let from = self.of(which, token);
        let Position::Rope(table) = self.heads.position else {
            to.iter_mut().step_by(stride).zip(from).for_each(|(to, x)| *to = x * scale);
            return;
        };
        let (low, high) = from.split_at(self.heads.head_dim / 2);
        let (cos, sin) = table.at(token - self.sequence.start);
        let half = low.len() * stride;
        for (j, (((x, y), cos), sin)) in low.iter().zip(high).zip(cos).zip(sin).enumerate() {
            to[j * stride] = (x * cos - y * sin) * scale;
            to[half + j * stride] = (y * cos + x * sin) * scale;
        }
    }

    /// `[len / MR, head_dim, MR]`; keys past the end are zero.
    #[inline(always)]
    fn pack_keys(&self, keys: &mut [f32]) {
        let tile = MR * self.heads.head_dim;
        for (i, token) in self.sequence.clone().enumerate() {
            self.place(1, token, 1.0, &mut keys[i / MR * tile + i % MR..], MR);
        }
        for i in self.sequence.len()..self.sequence.len().next_multiple_of(MR) {
            keys[i / MR * tile + i % MR..].iter_mut().step_by(MR).for_each(|x| *x = 0.0);
        }
    }

    /// `[head_dim / MR, len, MR]`; columns past the head are zero.
    #[inline(always)]
    fn pack_values(&self, values: &mut [f32]) {
        let len = self.sequence.len();
        for (i, token) in self.sequence.clone().enumerate() {
            for (group, from) in self.of(2, token).chunks(MR).enumerate() {
                let to = &mut values[(group * len + i) * MR..][..MR];
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(0.0);
            }
        }
    }

    /// `[head_dim, nr]`, scaled by 1/√head_dim; queries past the end are zero.
    #[inline(always)]
    fn pack_queries(&self, tokens: Range<usize>, nr: usize, queries: &mut [f32]) {
        if tokens.len() < nr {
            queries.fill(0.0);
        }
        let scale = 1.0 / (self.heads.head_dim as f32).sqrt();
        for (j, token) in tokens.enumerate() {
            self.place(0, token, scale, &mut queries[j..], nr);
        }
    }
}

/// `−slope · |i − j|` for a vector row of queries.
#[derive(Clone, Copy)]
struct Bias<I: Isa> {
    /// −slope in every lane.
    slope: I::F32,
    /// Position of each query in its sequence.
    queries: [I::F32; NV],
}

impl<I: Isa> Bias<I> {
    /// Adds the bias of the key at `position` to its scores.
    #[inline(always)]
    fn add(&self, v: I, position: usize, scores: [I::F32; NV]) -> [I::F32; NV] {
        let key = v.splat(position as f32);
        let [a, b] = scores;
        let add = |query, score| {
            let distance = v.max(v.sub(query, key), v.sub(key, query));
            v.mul_add(self.slope, distance, score)
        };
        [add(self.queries[0], a), add(self.queries[1], b)]
    }
}

/// `first`, `first + 1`, … in the lanes of a vector row.
#[inline(always)]
fn lanes_from<I: Isa>(v: I, first: usize) -> [I::F32; NV] {
    let lanes: [f32; 2 * crate::isa::MAX_LANES] = std::array::from_fn(|i| (first + i) as f32);
    [v.load(&lanes), v.load(&lanes[I::LANES..])]
}

/// Unnormalised context of one vector row of queries, `[head_dim, nr]`, and the softmax's sums.
#[inline(always)]
fn attend<I: Isa>(
    v: I,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    bias: Option<Bias<I>>,
    scores: &mut [f32],
    context: &mut [f32],
) -> [I::F32; NV] {
    let dim = queries.len() / nr::<I>();
    let len = values.len() / dim.next_multiple_of(MR);
    context.fill(0.0);
    let mut peaks = [v.splat(f32::MIN); NV];
    let mut sums = [v.splat(0.0); NV];
    for start in (0..len).step_by(KEY_BLOCK) {
        let end = (start + KEY_BLOCK).min(len);
        let keys = &keys[start * dim..end.next_multiple_of(MR) * dim];
        let scores = &mut scores[..(end - start) * nr::<I>()];
        let block_peaks = score(v, keys, start, queries, bias, scores);
        let new_peaks = [v.max(peaks[0], block_peaks[0]), v.max(peaks[1], block_peaks[1])];
        let decay = [exp(v, v.sub(peaks[0], new_peaks[0])), exp(v, v.sub(peaks[1], new_peaks[1]))];
        peaks = new_peaks;
        sums = [v.mul(sums[0], decay[0]), v.mul(sums[1], decay[1])];
        for row in scores.chunks_exact_mut(nr::<I>()) {
            for n in 0..NV {
                let at = &mut row[n * I::LANES..];
                let p = exp(v, v.sub(v.load(at), peaks[n]));
                sums[n] = v.add(sums[n], p);
                v.store(p, at);
            }
        }
        for (group, rows) in context.chunks_exact_mut(MR * nr::<I>()).enumerate() {
            let values = &values[(group * len + start) * MR..(group * len + end) * MR];
            accumulate(v, values, scores, decay, rows);
        }
    }
    sums
}

/// Scores of a block of keys, `[keys, nr]`, and the largest of each query. `first` is the position
/// of the first key.
#[inline(always)]
fn score<I: Isa>(
    v: I,
    keys: &[f32],
    first: usize,
    queries: &[f32],
    bias: Option<Bias<I>>,
    scores: &mut [f32],
) -> [I::F32; NV] {
    let dim = queries.len() / nr::<I>();
    let mut peaks = [v.splat(f32::MIN); NV];
    let tiles = keys.chunks_exact(MR * dim).zip(scores.chunks_mut(MR * nr::<I>()));
    for (i, (keys, scores)) in tiles.enumerate() {
        let products = tile(v, keys, queries);
        let rows = products.into_iter().zip(scores.chunks_exact_mut(nr::<I>()));
        for (position, (product, to)) in (first + i * MR..).zip(rows) {
            let product = bias.map_or(product, |bias| bias.add(v, position, product));
            for (n, x) in product.into_iter().enumerate() {
                peaks[n] = v.max(peaks[n], x);
                v.store(x, &mut to[n * I::LANES..]);
            }
        }
    }
    peaks
}

/// `rows = rows · decay + values · probabilities` for one group of `MR` columns of v.
#[inline(always)]
fn accumulate<I: Isa>(
    v: I,
    values: &[f32],
    probabilities: &[f32],
    decay: [I::F32; NV],
    rows: &mut [f32],
) {
    let products = tile(v, values, probabilities);
    for (product, row) in products.into_iter().zip(rows.chunks_exact_mut(nr::<I>())) {
        for (n, x) in product.into_iter().enumerate() {
            let at = &mut row[n * I::LANES..];
            v.store(v.mul_add(v.load(at), decay[n], x), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn definition(qkv: &[f32], heads: &Heads<'_>, out: &mut [f64]) {
        let (dim, hidden) = (heads.head_dim, heads.heads * heads.head_dim);
        let rotated = |which: usize, sequence: &Range<usize>, token: usize, head: usize| {
            let x = &qkv[(3 * token + which) * hidden + head * dim..][..dim];
            let f = |i: usize| f64::from(x[i]);
            let Position::Rope(table) = heads.position else { return (0..dim).map(f).collect() };
            let (cos, sin) = table.at(token - sequence.start);
            (0..dim)
                .map(|i| {
                    let j = i % (dim / 2);
                    let (cos, sin) = (f64::from(cos[j]), f64::from(sin[j]));
                    if i < dim / 2 {
                        f(i) * cos - f(i + dim / 2) * sin
                    } else {
                        f(i) * cos + f(j) * sin
                    }
                })
                .collect::<Vec<f64>>()
        };
        for sequence in heads.sequences {
            for head in 0..heads.heads {
                let keys: Vec<_> =
                    sequence.clone().map(|t| rotated(1, sequence, t, head)).collect();
                for query in sequence.clone() {
                    let q = rotated(0, sequence, query, head);
                    let bias = |key: usize| match heads.position {
                        Position::Rope(_) => 0.0,
                        Position::Alibi(slopes) => {
                            -f64::from(slopes[head]) * query.abs_diff(key) as f64
                        }
                    };
                    let product = |k: &Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                    let scores: Vec<f64> = sequence
                        .clone()
                        .zip(&keys)
                        .map(|(key, k)| product(k) / (dim as f64).sqrt() + bias(key))
                        .collect();
                    let peak = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| (s - peak).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for c in 0..dim {
                        let value =
                            |t: usize| f64::from(qkv[(3 * t + 2) * hidden + head * dim + c]);
                        let sum: f64 =
                            sequence.clone().zip(&weights).map(|(t, w)| w * value(t)).sum();
                        out[query * hidden + head * dim + c] = sum / total;
                    }
                }
            }
        }
    }

    fn sequences(lens: &[usize]) -> Vec<Range<usize>> {
        let ends = lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end - len..*end)
        });
        ends.collect()
    }

    #[test]
    fn every_level_follows_the_definition_on_ragged_batches() {
        let threads = Threads::new(2).expect("threads start");
        let mut random = Random::new(11);
        for (head_count, head_dim) in [(1, 2), (3, 16), (2, 64), (2, 10), (1, 96)] {
            let lens = [1, 2, 5, 6, 7, 15, 16, 17, 119, 120, 121, 300];
            let sequences = sequences(&lens);
            let tokens: usize = lens.iter().sum();
            let hidden = head_count * head_dim;
            // Scores of up to about ±60, so that the running maximum and the decay matter.
            let qkv: Vec<f32> =
                random.normal(tokens * 3 * hidden).iter().map(|x| x * 2.5).collect();
            let rope = RopeTable::new(300, head_dim, 20000.0);
            let slopes: Vec<f32> = (1..=head_count).map(|h| 2_f32.powi(-(h as i32))).collect();
            let positions = [Position::Rope(&rope), Position::Alibi(&slopes)];
            let cases = positions.iter().flat_map(|p| Level::available().map(move |l| (*p, l)));
            for (position, level) in cases {
                let heads = Heads { sequences: &sequences, heads: head_count, head_dim, position };
                let mut want = vec![0.0; tokens * hidden];
                definition(&qkv, &heads, &mut want);
                let mut got = vec![f32::NAN; tokens * hidden];
                attention(&threads, level, &qkv, &heads, &mut got);
                let worst = got.iter().zip(&want).map(|(g, w)| (f64::from(*g) - w).abs());
                let worst = worst.fold(0.0, |worst, e| if e.is_nan() { e } else { e.max(worst) });
                println!("{level:?}, {head_count} heads of {head_dim}: {worst:.1e}");
                // Scores near 60 carry 60 · 2⁻²³ ≈ 7e-6 of rounding into each weight, values reach 10.
                assert!(worst < 5e-5, "{level:?}, {head_count} heads of {head_dim}: {worst:e}");
            }
        }
    }

    #[test]
    fn sequences_alone_in_a_batch_and_in_bands_give_the_same_bits() {
        let mut random = Random::new(12);
        let (head_count, head_dim, hidden) = (2, 16, 32);
        let rope = RopeTable::new(2100, head_dim, 20000.0);
        let sequences = sequences(&[3, 2100, 40]);
        let qkv = random.normal(2143 * 3 * hidden);
        let positions = [Position::Rope(&rope), Position::Alibi(&[0.5, 0.01])];
        let cases = positions.iter().flat_map(|p| Level::available().map(move |l| (*p, l)));
        for (position, level) in cases {
            let run = |count: usize, sequences: &[Range<usize>], qkv: &[f32]| {
                let threads = Threads::new(count).expect("threads start");
                let heads = Heads { sequences, heads: head_count, head_dim, position };
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attention(&threads, level, qkv, &heads, &mut out);
                out
            };
            let batch = run(3, &sequences, &qkv);
            assert_eq!(run(1, &sequences, &qkv), batch, "{level:?}");
            for sequence in &sequences {
                let alone = &qkv[sequence.start * 3 * hidden..sequence.end * 3 * hidden];
                let alone = run(2, std::slice::from_ref(&(0..sequence.len())), alone);
                let together = &batch[sequence.start * hidden..sequence.end * hidden];
                assert_eq!(alone, together, "{level:?}");
            }
        }
    }
}
