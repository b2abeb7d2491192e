//! Softmax over blocks of keys, for one panel of queries.

use crate::gemm::element::{Element, Operand, RowScale, Scales};
use crate::gemm::strips::{Strips, WHOLE_STRIPS};
use crate::gemm::tile::{Epilogue, NV, Sums, multiply, nr};
use crate::isa::{Isa, MAX_LANES};
use crate::math::exp2;

/// Keys of a block whose scores are kept at once: with AVX-512 they occupy 12 KiB of the level-1
/// cache.
pub(super) const KEY_BLOCK: usize = WHOLE_STRIPS;

/// The strips of `keys` keys, those of a block or the last ones.
#[inline(always)]
pub(super) fn key_strips<I: Isa, E: Operand>(keys: usize) -> Strips {
    Strips::new::<E>(I::LANES, I::HAS_MATRIX, keys)
}

/// Rows of the strips of `len` keys: every block has its own.
#[inline(always)]
pub(super) fn packed_keys<I: Isa, E: Operand>(len: usize) -> usize {
    len - len % KEY_BLOCK + key_strips::<I, E>(len % KEY_BLOCK).padded()
}

/// Operands of one panel of queries.
pub(super) struct Packed<'a, T> {
    /// A panel, with head_dim as its depth.
    pub(super) queries: &'a [T],
    /// Strips of keys, block by block, with head_dim as their depth.
    pub(super) keys: &'a [T],
    /// Strips of columns of v, with the keys as their depth.
    pub(super) values: &'a [T],
    /// Number of keys.
    pub(super) len: usize,
    /// Strips of columns of v.
    pub(super) value_strips: Strips,
}

/// `−slope · |i − j|` for a panel of queries, times log₂ e like all scores.
#[derive(Clone, Copy)]
pub(super) struct Bias<I: Isa> {
    /// −slope · log₂ e in every lane.
    slope: I::F32,
    /// Position of each query in its sequence.
    queries: [I::F32; NV],
}

impl<I: Isa> Bias<I> {
    /// For the queries from `first` on.
    #[inline(always)]
    pub(super) fn new(v: I, slope: f32, first: usize) -> Self {
        let lanes: [f32; 2 * MAX_LANES] = std::array::from_fn(|i| (first + i) as f32);
        let slope = v.splat(-slope * std::f32::consts::LOG2_E);
        Self { slope, queries: [v.load(&lanes), v.load(&lanes[I::LANES..])] }
    }

    /// Adds the bias of the key at `position` to its scores.
    #[inline(always)]
    fn add(&self, v: I, position: usize, scores: [I::F32; NV]) -> [I::F32; NV] {
        let key = v.splat(position as f32);
        let mut biased = scores;
        for n in 0..NV {
            let distance = v.max(v.sub(self.queries[n], key), v.sub(key, self.queries[n]));
            biased[n] = v.mul_add(self.slope, distance, scores[n]);
        }
        biased
    }
}

/// Writes the unnormalized context, `[head_dim, nr]`, and returns the sums of the softmax. `scores`
/// and `probabilities` have room for a block of keys.
#[inline(always)]
pub(super) fn attend<I: Isa, E: Operand>(
    v: I,
    packed: &Packed<'_, E::Step>,
    bias: Option<Bias<I>>,
    sums: &mut Sums,
    scores: &mut [f32],
    probabilities: &mut [E::Step],
    context: &mut [f32],
) -> [I::F32; NV] {
    context.fill(0.0);
    let mut maxima = [v.splat(f32::MIN); NV];
    let mut totals = [v.splat(0.0); NV];
    for start in (0..packed.len).step_by(KEY_BLOCK) {
        let keys = KEY_BLOCK.min(packed.len - start);
        let scores = &mut scores[..keys * nr::<I>()];
        let block_maxima = score::<I, E>(v, packed, start, bias, sums, scores);
        let new_maxima = [v.max(maxima[0], block_maxima[0]), v.max(maxima[1], block_maxima[1])];
        let decay =
            [exp2(v, v.sub(maxima[0], new_maxima[0])), exp2(v, v.sub(maxima[1], new_maxima[1]))];
        maxima = new_maxima;
        totals = [v.mul(totals[0], decay[0]), v.mul(totals[1], decay[1])];
        let probabilities = &mut probabilities[..E::steps(keys) * nr::<I>()];
        exponentiate::<I, E>(v, scores, maxima, &mut totals, probabilities);
        accumulate::<I, E>(v, packed, start, probabilities, decay, sums, context);
    }
    totals
}

/// Scores of a block of keys, `[keys, nr]`, and the largest of each query. The block starts at key
/// `start`, a whole number of strips.
#[inline(always)]
fn score<I: Isa, E: Operand>(
    v: I,
    packed: &Packed<'_, E::Step>,
    start: usize,
    bias: Option<Bias<I>>,
    sums: &mut Sums,
    scores: &mut [f32],
) -> [I::F32; NV] {
    let nr = nr::<I>();
    let steps = packed.queries.len() / nr;
    let mut maxima = [v.splat(f32::MIN); NV];
    let (block, keys) = (&packed.keys[start * steps..], scores.len() / nr);
    for strip in key_strips::<I, E>(keys).within(0..keys) {
        let (height, first) = (strip.len(), start + strip.start);
        let scores = &mut scores[strip.start * nr..strip.end.min(keys) * nr];
        let strip = &block[strip.start * steps..strip.end * steps];
        let mut epilogue = Scores { bias, first, scores, maxima };
        multiply::<I, E>(v, height, strip, packed.queries, &[], sums, &mut epilogue);
        maxima = epilogue.maxima;
    }
    maxima
}

/// A sum of floats.
#[inline(always)]
fn float<I: Isa, E: Element>(v: I, sum: E::Sum<I>) -> I::F32 {
    E::value(v, sum, RowScale::NONE, Scales::none(v))
}

/// Writes the scores of a strip of keys and keeps the largest.
struct Scores<'a, I: Isa> {
    bias: Option<Bias<I>>,
    /// Position of the strip's first key.
    first: usize,
    /// Scores of the strip; it ends with the last key.
    scores: &'a mut [f32],
    maxima: [I::F32; NV],
}

impl<I: Isa, E: Operand> Epilogue<I, E> for Scores<'_, I> {
    #[inline(always)]
    fn row(&mut self, v: I, m: usize, sums: [E::Sum<I>; NV]) {
        let Some(to) = self.scores.get_mut(m * nr::<I>()..(m + 1) * nr::<I>()) else { return };
        let mut scores = [float::<I, E>(v, sums[0]), float::<I, E>(v, sums[1])];
        if let Some(bias) = &self.bias {
            scores = bias.add(v, self.first + m, scores);
        }
        for n in 0..NV {
            self.maxima[n] = v.max(self.maxima[n], scores[n]);
            v.store(scores[n], &mut to[n * I::LANES..]);
        }
    }
}

/// `2^(score − maximum)` of a block, added to `totals` and packed as a panel, with the keys as its
/// depth; zero past the last key.
#[inline(always)]
fn exponentiate<I: Isa, E: Operand>(
    v: I,
    scores: &[f32],
    maxima: [I::F32; NV],
    totals: &mut [I::F32; NV],
    probabilities: &mut [E::Step],
) {
    let nr = nr::<I>();
    let steps = scores.chunks_exact(E::DEPTH * nr);
    let (rest, whole) = (steps.remainder(), steps.len());
    let (full, empty) = probabilities.split_at_mut(whole * nr);
    for (rows, to) in steps.zip(full.chunks_exact_mut(nr)) {
        for n in 0..NV {
            let first = E::exp2(v, v.sub(v.load(&rows[n * I::LANES..]), maxima[n]));
            totals[n] = v.add(totals[n], first);
            let mut second = first;
            if E::DEPTH > 1 {
                second = E::exp2(v, v.sub(v.load(&rows[nr + n * I::LANES..]), maxima[n]));
                totals[n] = v.add(totals[n], second);
            }
            E::store(v, [first, second], &mut to[n * I::LANES..]);
        }
    }
    empty.fill(E::Step::default());
    if !rest.is_empty() {
        for n in 0..NV {
            let last = E::exp2(v, v.sub(v.load(&rest[n * I::LANES..]), maxima[n]));
            totals[n] = v.add(totals[n], last);
            E::store(v, [last, v.splat(0.0)], &mut empty[n * I::LANES..]);
        }
    }
}

/// `context ← context · decay + values · probabilities` for a block of keys from `start` on.
#[inline(always)]
fn accumulate<I: Isa, E: Operand>(
    v: I,
    packed: &Packed<'_, E::Step>,
    start: usize,
    probabilities: &[E::Step],
    decay: [I::F32; NV],
    sums: &mut Sums,
    context: &mut [f32],
) {
    let nr = nr::<I>();
    let (steps, key_steps) = (probabilities.len() / nr, E::steps(packed.len));
    for strip in packed.value_strips.within(0..context.len() / nr) {
        let height = strip.len();
        let context = &mut context[strip.start * nr..strip.end * nr];
        let values = &packed.values[strip.start * key_steps + start / E::DEPTH * height..];
        let mut epilogue = Context { context, decay };
        let values = &values[..height * steps];
        multiply::<I, E>(v, height, values, probabilities, &[], sums, &mut epilogue);
    }
}

/// Rescales rows of the context and adds to them.
struct Context<'a, I: Isa> {
    context: &'a mut [f32],
    decay: [I::F32; NV],
}

impl<I: Isa, E: Operand> Epilogue<I, E> for Context<'_, I> {
    #[inline(always)]
    fn row(&mut self, v: I, m: usize, sums: [E::Sum<I>; NV]) {
        let decay = self.decay;
        for n in 0..NV {
            let x = float::<I, E>(v, sums[n]);
            let context = &mut self.context[m * nr::<I>() + n * I::LANES..];
            v.store(v.mul_add(v.load(context), decay[n], x), context);
        }
    }
}
