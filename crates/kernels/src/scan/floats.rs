//! Rows of f32 and f16 against a query in f32.

use super::{ROWS, check};
use crate::isa::{Isa, Kernel, Level};

/// The length of an f32 row is a multiple of this, in values.
pub const F32_ROW: usize = 16;
/// The length of an f16 row is a multiple of this, in values.
pub const F16_ROW: usize = 32;

/// Writes the dot product of `query` with each row of `rows` (`[scores.len(), query.len()]`) to
/// `scores`.
///
/// # Panics
///
/// If a row is not a multiple of [`F32_ROW`] values, or `rows` and `scores` differ in shape.
pub fn dot_f32(level: Level, query: &[f32], rows: &[f32], scores: &mut [f32]) {
    check(query.len(), rows.len(), scores.len(), F32_ROW);
    level.run(Dot { query, rows, scores });
}

/// As [`dot_f32`], with rows in IEEE half precision.
///
/// # Panics
///
/// If a row is not a multiple of [`F16_ROW`] values, or `rows` and `scores` differ in shape.
pub fn dot_f16(level: Level, query: &[f32], rows: &[u16], scores: &mut [f32]) {
    check(query.len(), rows.len(), scores.len(), F16_ROW);
    level.run(Dot { query, rows, scores });
}

/// The type of a row's values.
trait Value: Copy {
    /// The first `LANES` values as f32.
    fn load<I: Isa>(v: I, src: &[Self]) -> I::F32;
}

impl Value for f32 {
    #[inline(always)]
    fn load<I: Isa>(v: I, src: &[f32]) -> I::F32 {
        v.load(src)
    }
}

impl Value for u16 {
    #[inline(always)]
    fn load<I: Isa>(v: I, src: &[u16]) -> I::F32 {
        v.load_f16(src)
    }
}

struct Dot<'a, T> {
    query: &'a [f32],
    rows: &'a [T],
    scores: &'a mut [f32],
}

impl<T: Value> Kernel for Dot<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let width = self.query.len();
        let mut rows = self.rows.chunks_exact(ROWS * width);
        let mut scores = self.scores.chunks_exact_mut(ROWS);
        for (rows, scores) in (&mut rows).zip(&mut scores) {
            scores.copy_from_slice(&dots::<I, T, ROWS>(v, self.query, rows));
        }
        let last = rows.remainder().chunks_exact(width);
        for (row, score) in last.zip(scores.into_remainder()) {
            [*score] = dots::<I, T, 1>(v, self.query, row);
        }
    }
}

/// The dot products of `N` rows.
#[inline(always)]
fn dots<I: Isa, T: Value, const N: usize>(v: I, query: &[f32], rows: &[T]) -> [f32; N] {
    let width = query.len();
    let rows: [&[T]; N] = std::array::from_fn(|n| &rows[n * width..][..width]);
    let mut sums = [v.splat(0.0); N];
    for at in (0..width).step_by(I::LANES) {
        let q = v.load(&query[at..]);
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = v.mul_add(q, T::load(v, &row[at..]), *sum);
        }
    }
    sums.map(|sum| v.sum(sum))
}
