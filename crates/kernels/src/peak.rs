//! Measured peak rates of this machine, for benchmarks to compare with.

use crate::isa::{BLOCK, Isa, Kernel, Level, MATRIX};
use crate::memory::Aligned;
use crate::precision::Precision;
use crate::threads::Threads;
use std::hint::black_box;
use std::time::Instant;

/// Independent sums held in registers, enough to hide the latency of every instruction here: the
/// measured peak was lower with 12, and with 24 some sums spilled to memory.
const SUMS: usize = 16;
/// Blocks of the depth of a product in matrix hardware: both factors take half of a level-1 cache.
const BLOCKS: usize = 8;

/// Multiply-adds without memory: what a tile would reach if loads were free.
struct Multiply {
    precision: Precision,
    rounds: usize,
}

impl Multiply {
    /// Multiplications and additions of one run.
    fn count(&self, level: Level) -> usize {
        let products = match self.precision {
            Precision::F32 | Precision::F16 => 1,
            Precision::Bf16 => 2,
            Precision::Int8 => 4,
        };
        let uses_matrix = level.has_matrix() && self.precision != Precision::F32;
        let words =
            if uses_matrix { MATRIX * MATRIX * BLOCKS * BLOCK } else { SUMS * level.lanes() };
        2 * self.rounds * words * products
    }
}

impl Kernel for Multiply {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        if I::HAS_MATRIX && self.precision != Precision::F32 {
            return self.run_in_matrix(v);
        }
        // Unknown to the compiler, which would turn a product with 1 into a sum.
        let (a, b) = (v.splat(black_box(1.0)), v.splat(black_box(1e-9)));
        let word = v.splat_word(black_box(0x3f80_3f80));
        match self.precision {
            Precision::F32 | Precision::F16 => {
                self.repeat(v.splat(0.0), |sum| v.mul_add(a, b, sum));
            }
            Precision::Bf16 => self.repeat(v.splat(0.0), |sum| v.dot_bf16(word, word, sum)),
            Precision::Int8 => self.repeat(v.splat_word(0), |sum| v.dot_u8i8(word, word, sum)),
        }
    }
}

impl Multiply {
    /// Applies `add` to every sum, `rounds` times.
    #[inline(always)]
    fn repeat<T: Copy>(self, zero: T, add: impl Fn(T) -> T) {
        let mut sums = [zero; SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = add(*sum);
            }
            black_box(());
        }
        // By value: sums whose address escapes would stay in memory, not in registers.
        for sum in sums {
            black_box(sum);
        }
    }

    #[inline(always)]
    fn run_in_matrix<I: Isa>(self, v: I) {
        let factor = vec![black_box(0); BLOCKS * MATRIX * BLOCK];
        let mut sums = [0; MATRIX * MATRIX];
        for _ in 0..self.rounds {
            match self.precision {
                Precision::Int8 => v.matrix_u8i8(&factor, &factor, &mut sums),
                Precision::F32 | Precision::F16 | Precision::Bf16 => {
                    v.matrix_bf16(&factor, &factor, &mut sums);
                }
            }
            black_box(&mut sums);
        }
    }
}

/// Multiplications and additions per second of all threads together.
///
/// Levels without dot products of bf16 and of eight bits multiply in f32: their rate is that of f32
/// at every precision.
///
/// # Panics
///
/// If `precision` is not one of [`Precision::ON_CPU`].
pub fn operations(threads: &Threads, level: Level, precision: Precision) -> f64 {
    // About a millisecond: short enough that some of the runs are undisturbed.
    const ROUNDS: usize = 40_000;
    const MATRIX_ROUNDS: usize = 400;
    const RUNS: usize = 300;
    assert!(Precision::ON_CPU.contains(&precision), "a CPU does not compute in {precision}");
    let precision = if level.has_bf16_dot() { precision } else { Precision::F32 };
    let uses_matrix = level.has_matrix() && precision != Precision::F32;
    let work = || Multiply { precision, rounds: if uses_matrix { MATRIX_ROUNDS } else { ROUNDS } };
    let count = threads.count() * work().count(level);
    let once = || {
        let start = Instant::now();
        threads.run((0..threads.count()).collect::<Vec<usize>>(), |_, _| {
            level.run(work());
        });
        count as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| once()).fold(0.0, f64::max)
}

/// The sum of values.
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, v: I) -> f32 {
        let mut sums = [v.splat(0.0); SUMS];
        for block in self.0.chunks_exact(SUMS * I::LANES) {
            for (sum, x) in sums.iter_mut().zip(block.chunks_exact(I::LANES)) {
                *sum = v.add(*sum, v.load(x));
            }
        }
        sums.into_iter().map(|sum| v.sum(sum)).sum()
    }
}

/// Bytes per second that all threads together read from memory.
pub fn bandwidth(threads: &Threads, level: Level) -> f64 {
    // 256 MiB: more than the caches of most machines.
    const LEN: usize = 64 << 20;
    const RUNS: usize = 8;
    let mut data = Aligned::zeroed(LEN);
    data.fill(1.0);
    let once = || {
        let start = Instant::now();
        let parts = data.chunks(LEN / threads.count().max(1)).collect();
        threads.run(parts, |part, _| {
            black_box(level.run(Sum(part)));
        });
        size_of_val(&data[..]) as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| once()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_positive_and_finite_at_every_level() {
        let threads = Threads::new(1).expect("threads start");
        for level in Level::available() {
            for precision in Precision::ON_CPU {
                let peak = operations(&threads, level, precision);
                assert!(peak.is_finite() && peak > 1e6, "{level:?}, {precision:?}: {peak}");
            }
        }
        assert!(bandwidth(&threads, Level::best()) > 1e6);
    }

    #[test]
    fn sums_read_every_value_of_whole_blocks() {
        let data = vec![1.0; SUMS * 16 * 5];
        for level in Level::available() {
            assert_eq!(level.run(Sum(&data)), data.len() as f32, "{level:?}");
        }
    }
}
