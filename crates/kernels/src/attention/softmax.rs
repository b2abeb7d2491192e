//! Softmax over blocks of keys, for one vector row of queries.

use crate::gemm::tile::{MR, NV, Operand, nr, tile};
use crate::isa::{Isa, MAX_LANES};
use crate::math::exp;

/// Keys whose scores are held at once: with AVX2 they take 8 KiB of the level-1 cache.
pub(super) const KEY_BLOCK: usize = 20 * MR;

/// Operands of one vector row of queries.
pub(super) struct Packed<'a, W> {
    /// `[steps of head_dim, nr]`
    pub(super) queries: &'a [W],
    /// `[len / MR, steps of head_dim, MR]`
    pub(super) keys: &'a [W],
    /// `[head_dim / MR, steps of len, MR]`
    pub(super) values: &'a [W],
    /// Number of keys.
    pub(super) len: usize,
}

/// `−slope · |i − j|` for a vector row of queries.
#[derive(Clone, Copy)]
pub(super) struct Bias<I: Isa> {
    /// −slope in every lane.
    slope: I::F32,
    /// Position of each query in its sequence.
    queries: [I::F32; NV],
}

impl<I: Isa> Bias<I> {
    /// For queries at `first` and after it.
    #[inline(always)]
    pub(super) fn new(v: I, slope: f32, first: usize) -> Self {
        let lanes: [f32; 2 * MAX_LANES] = std::array::from_fn(|i| (first + i) as f32);
        Self { slope: v.splat(-slope), queries: [v.load(&lanes), v.load(&lanes[I::LANES..])] }
    }

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

/// Writes the unnormalised context, `[head_dim, nr]`, and returns the sums of the softmax. `scores`
/// and `probabilities` hold a block of keys.
#[inline(always)]
pub(super) fn attend<I: Isa, W: Operand>(
    v: I,
    packed: &Packed<'_, W>,
    bias: Option<Bias<I>>,
    scores: &mut [f32],
    probabilities: &mut [W],
    context: &mut [f32],
) -> [I::F32; NV] {
    let (len, key_steps) = (packed.len, W::steps(packed.len));
    context.fill(0.0);
    let mut peaks = [v.splat(f32::MIN); NV];
    let mut sums = [v.splat(0.0); NV];
    for start in (0..len).step_by(KEY_BLOCK) {
        let end = (start + KEY_BLOCK).min(len);
        let scores = &mut scores[..(end - start) * nr::<I>()];
        let block_peaks = score(v, packed, start, bias, scores);
        let new_peaks = [v.max(peaks[0], block_peaks[0]), v.max(peaks[1], block_peaks[1])];
        let decay = [0, 1].map(|n| exp(v, v.sub(peaks[n], new_peaks[n])));
        peaks = new_peaks;
        sums = [v.mul(sums[0], decay[0]), v.mul(sums[1], decay[1])];
        let steps = start / W::DEPTH..start / W::DEPTH + W::steps(end - start);
        let probabilities = &mut probabilities[..steps.len() * nr::<I>()];
        exponentiate(v, scores, peaks, &mut sums, probabilities);
        for (group, rows) in context.chunks_exact_mut(MR * nr::<I>()).enumerate() {
            let at = group * key_steps;
            let values = &packed.values[(at + steps.start) * MR..(at + steps.end) * MR];
            accumulate(v, values, probabilities, decay, rows);
        }
    }
    sums
}

/// Scores of a block of keys, `[keys, nr]`, and the largest of each query. The block starts at key
/// `start`, a multiple of `MR`.
#[inline(always)]
fn score<I: Isa, W: Operand>(
    v: I,
    packed: &Packed<'_, W>,
    start: usize,
    bias: Option<Bias<I>>,
    scores: &mut [f32],
) -> [I::F32; NV] {
    let width = packed.queries.len() / nr::<I>();
    let mut peaks = [v.splat(f32::MIN); NV];
    let keys = packed.keys[start * width..].chunks_exact(MR * width);
    for (i, (keys, scores)) in keys.zip(scores.chunks_mut(MR * nr::<I>())).enumerate() {
        let products = tile(v, keys, packed.queries);
        let rows = products.into_iter().zip(scores.chunks_exact_mut(nr::<I>()));
        for (position, (product, to)) in (start + i * MR..).zip(rows) {
            let product = bias.map_or(product, |bias| bias.add(v, position, product));
            for (n, x) in product.into_iter().enumerate() {
                peaks[n] = v.max(peaks[n], x);
                v.store(x, &mut to[n * I::LANES..]);
            }
        }
    }
    peaks
}

/// `e^(score − peak)` of a block, added to `sums` and packed along the keys.
#[inline(always)]
fn exponentiate<I: Isa, W: Operand>(
    v: I,
    scores: &[f32],
    peaks: [I::F32; NV],
    sums: &mut [I::F32; NV],
    probabilities: &mut [W],
) {
    let steps = scores.chunks(W::DEPTH * nr::<I>()).zip(probabilities.chunks_exact_mut(nr::<I>()));
    for (rows, to) in steps {
        for n in 0..NV {
            let mut p = [v.splat(0.0); 2];
            for (p, row) in p.iter_mut().zip(rows.chunks_exact(nr::<I>())) {
                *p = W::exp(v, v.sub(v.load(&row[n * I::LANES..]), peaks[n]));
                sums[n] = v.add(sums[n], *p);
            }
            W::store(v, p, &mut to[n * I::LANES..]);
        }
    }
}

/// `rows = rows · decay + values · probabilities` for one group of `MR` columns of v.
#[inline(always)]
fn accumulate<I: Isa, W: Operand>(
    v: I,
    values: &[W],
    probabilities: &[W],
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
