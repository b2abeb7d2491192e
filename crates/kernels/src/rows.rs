//! Loops over rows of any length: whole vectors, then the values that do not fill one.

use crate::isa::{Isa, MAX_LANES};

/// The sum of a row's terms: `add` adds the terms of a vector to the sums, and `term` computes one
/// term, for the values past the last whole vector. Four sums hide the latency of additions.
#[inline(always)]
pub(crate) fn sum<I: Isa>(
    v: I,
    row: &[f32],
    add: impl Fn(I::F32, I::F32) -> I::F32,
    term: impl Fn(f32) -> f32,
) -> f32 {
    let (mut sums, blocks) = ([v.splat(0.0); 4], row.chunks_exact(4 * I::LANES));
    let (vectors, tail) = whole_vectors::<I>(blocks.remainder());
    for block in blocks {
        for n in 0..4 {
            sums[n] = add(sums[n], v.load(&block[n * I::LANES..]));
        }
    }
    for x in vectors {
        sums[0] = add(sums[0], v.load(x));
    }
    let total = v.add(v.add(sums[0], sums[1]), v.add(sums[2], sums[3]));
    v.sum(total) + tail.iter().map(|x| term(*x)).sum::<f32>()
}

/// The dot product of two rows of the same length.
#[inline(always)]
pub(crate) fn dot<I: Isa>(v: I, a: &[f32], b: &[f32]) -> f32 {
    let ((vectors, tail), (others, other_tail)) = (whole_vectors::<I>(a), whole_vectors::<I>(b));
    let mut sums = v.splat(0.0);
    for (a, b) in vectors.zip(others) {
        sums = v.mul_add(v.load(a), v.load(b), sums);
    }
    v.sum(sums) + tail.iter().zip(other_tail).map(|(a, b)| a * b).sum::<f32>()
}

/// The smallest and the largest of 0 and the values of a row.
#[inline(always)]
pub(crate) fn range<I: Isa>(v: I, row: &[f32]) -> [f32; 2] {
    let (vectors, tail) = whole_vectors::<I>(row);
    let (mut lowest, mut highest) = (v.splat(0.0), v.splat(0.0));
    for x in vectors {
        let x = v.load(x);
        (lowest, highest) = (v.min(lowest, x), v.max(highest, x));
    }
    let mut lanes = [[0.0; MAX_LANES]; 2];
    v.store(lowest, &mut lanes[0]);
    v.store(highest, &mut lanes[1]);
    let [low, high] = lanes.map(|lanes| lanes.into_iter().chain(tail.iter().copied()));
    [low.fold(0.0, f32::min), high.fold(0.0, f32::max)]
}

/// `x ← f(x, others)` for every element of `row`; the others are rows of the same length.
#[inline(always)]
pub(crate) fn map_with<I: Isa, const N: usize>(
    v: I,
    row: &mut [f32],
    others: [&[f32]; N],
    f: impl Fn(I::F32, [I::F32; N]) -> I::F32,
) {
    let whole = row.len() - row.len() % I::LANES;
    let (vectors, tail) = row.split_at_mut(whole);
    for (i, x) in vectors.chunks_exact_mut(I::LANES).enumerate() {
        let others = others.map(|other| v.load(&other[i * I::LANES..]));
        v.store(f(v.load(x), others), x);
    }
    if !tail.is_empty() {
        let others = others.map(|other| v.load_partial(&other[whole..][..tail.len()]));
        v.store_partial(f(v.load_partial(tail), others), tail);
    }
}

/// Writes vectors to the front of `to`, cut to its length.
#[inline(always)]
pub(crate) fn store<I: Isa, const N: usize>(v: I, row: [I::F32; N], to: &mut [f32]) {
    if to.len() >= N * I::LANES {
        for n in 0..N {
            v.store(row[n], &mut to[n * I::LANES..]);
        }
    } else {
        for (n, to) in to.chunks_mut(I::LANES).take(N).enumerate() {
            v.store_partial(row[n], to);
        }
    }
}

/// The whole vectors of a row, and the values after them.
#[inline(always)]
fn whole_vectors<I: Isa>(row: &[f32]) -> (std::slice::ChunksExact<'_, f32>, &[f32]) {
    let vectors = row.chunks_exact(I::LANES);
    let tail = vectors.remainder();
    (vectors, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Kernel, Level};

    /// Runs every function on the integers from 1 on, whose sums are exact in f32.
    struct Probe(usize);

    impl Kernel for Probe {
        type Output = ([f32; 4], Vec<f32>);

        #[inline(always)]
        fn run<I: Isa>(self, v: I) -> Self::Output {
            let row: Vec<f32> = (1..=self.0).map(|x| x as f32).collect();
            let negative: Vec<f32> = row.iter().map(|x| -x).collect();
            let mut doubled = row.clone();
            map_with(v, &mut doubled, [&row, &negative], |x, [a, b]| {
                v.sub(v.add(x, a), v.add(a, b))
            });
            let sum = sum(v, &row, |sum, x| v.add(sum, x), |x| x);
            let [lowest, highest] = [range(v, &negative)[0], range(v, &row)[1]];
            ([sum, dot(v, &row, &row), -lowest, highest], doubled)
        }
    }

    #[test]
    fn every_level_covers_whole_vectors_and_tails() {
        for level in Level::available() {
            for len in (0..40).chain([63, 64, 65]) {
                let (results, doubled) = level.run(Probe(len));
                let want = [len * (len + 1) / 2, len * (len + 1) * (2 * len + 1) / 6, len, len];
                assert_eq!(results, want.map(|x| x as f32), "{level:?}, {len}");
                let want: Vec<f32> = (1..=len).map(|x| 2.0 * x as f32).collect();
                assert_eq!(doubled, want, "{level:?}, {len}");
            }
        }
    }
}
