//! Measured peak rates of this machine, for benchmarks to compare with.

use crate::isa::{BLOCK, Isa, Kernel, Level, MATRIX, MAX_LANES, spin};
use crate::memory::Aligned;
use crate::precision::Precision;
use crate::threads::Threads;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Independent sums in 32 registers, enough to hide the latency of every instruction here: the
/// measured peak was lower with 12, and with 24 some sums spilled to memory.
const SUMS: usize = 16;
/// The same in 16 registers, which also hold the factors: with 16 sums, some spilled, and the
/// measured peak was half of the real one.
const FEW_SUMS: usize = 12;
/// Blocks of the depth of a product in matrix hardware: both factors take half of a level-1 cache.
const BLOCKS: usize = 8;

/// Multiply-adds without memory: what a tile would reach if loads were free.
struct Multiply {
    precision: Precision,
    rounds: usize,
}

impl Multiply {
    fn uses_matrix(&self, level: Level) -> bool {
        level.has_matrix() && self.precision != Precision::F32
    }

    /// Multiplications and additions of one operation on vectors.
    fn per_operation(&self, level: Level) -> usize {
        let products = match self.precision {
            Precision::F32 | Precision::F16 => 1,
            Precision::Bf16 => 2,
            Precision::Int8 => 4,
        };
        2 * level.lanes() * products
    }

    /// Multiplications and additions of one run.
    fn count(&self, level: Level) -> usize {
        let operations = match self.uses_matrix(level) {
            true => MATRIX * MATRIX * BLOCKS * BLOCK / level.lanes(),
            false if level.lanes() < MAX_LANES => FEW_SUMS,
            false => SUMS,
        };
        self.rounds * operations * self.per_operation(level)
    }
}

impl Kernel for Multiply {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        if I::HAS_MATRIX && self.precision != Precision::F32 {
            self.run_in_matrix(v);
        } else if I::LANES < MAX_LANES {
            self.run_in_vectors::<I, FEW_SUMS>(v);
        } else {
            self.run_in_vectors::<I, SUMS>(v);
        }
    }
}

impl Multiply {
    #[inline(always)]
    fn run_in_vectors<I: Isa, const N: usize>(self, v: I) {
        // Unknown to the compiler, which would turn a product with 1 into a sum.
        let (a, b) = (v.splat(black_box(1.0)), v.splat(black_box(1e-9)));
        let word = v.splat_word(black_box(0x3f80_3f80));
        // From memory, as in a tile: the products of bytes are several instructions, which the
        // compiler would otherwise compute once for all sums.
        let words = [[0x0102_0304; MAX_LANES]; N];
        let (float, integer) = ([v.splat(0.0); N], [v.splat_word(0); N]);
        match self.precision {
            Precision::F32 | Precision::F16 => {
                self.repeat(float, &words, |_, sum| v.mul_add(a, b, sum));
            }
            Precision::Bf16 => self.repeat(float, &words, |_, sum| v.dot_bf16(word, word, sum)),
            Precision::Int8 if I::PREFERS_U7 => self
                .repeat(integer, &words, |words, sum| v.dot_u7i8(word, v.load_words(words), sum)),
            Precision::Int8 => self
                .repeat(integer, &words, |words, sum| v.dot_u8i8(word, v.load_words(words), sum)),
        }
    }

    /// Applies `add` to every sum and its words, `rounds` times.
    #[inline(always)]
    fn repeat<T: Copy, const N: usize>(
        self,
        mut sums: [T; N],
        words: &[[u32; MAX_LANES]; N],
        add: impl Fn(&[u32; MAX_LANES], T) -> T,
    ) {
        for _ in 0..self.rounds {
            // For all that the compiler knows, the words are others in each round.
            let words = black_box(words);
            for (sum, words) in sums.iter_mut().zip(words) {
                *sum = add(words, *sum);
            }
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

/// Most runs of a measurement. With vector instructions each takes half of a millisecond, so that some
/// of them are undisturbed even on a busy machine.
const RUNS: usize = 300;
/// Least number of runs, where each takes long.
const LEAST_RUNS: usize = 5;
/// Time after which a measurement makes no more runs than it must.
const ENOUGH: Duration = Duration::from_millis(300);

/// How often per second all threads together do `work`, which does it `count` times: the best run of
/// one thread, while all are busy, times their number.
fn rate(threads: &Threads, count: usize, work: impl Fn() + Sync) -> f64 {
    let least = AtomicU64::new(u64::MAX);
    let start = Instant::now();
    for run in 0..RUNS {
        if run >= LEAST_RUNS && start.elapsed() > ENOUGH {
            break;
        }
        threads.run(vec![(); threads.count()], |(), _| {
            let start = Instant::now();
            work();
            least.fetch_min(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        });
    }
    (cores(threads) * count) as f64 / least.into_inner().max(1) as f64 * 1e9
}

/// The threads that can run at the same time.
fn cores(threads: &Threads) -> usize {
    threads.count().min(Threads::available())
}

/// Cycles per second of a core while all threads are busy; `None` if this architecture has no
/// instruction whose time is known.
pub fn clock(threads: &Threads) -> Option<f64> {
    const CYCLES: u64 = 1_000_000;
    spin(1).then(|| {
        let all = rate(threads, CYCLES as usize, || {
            spin(CYCLES);
        });
        all / cores(threads) as f64
    })
}

/// Multiplications and additions per second of all threads together, in the kernels' own
/// instructions.
///
/// Cores start a whole number of vector operations in two cycles. Where the measurement is a little
/// less than such a number times the [`clock`], the product is the peak: no kernel can be faster.
///
/// Levels without dot products of bf16 multiply in f32: their rate is that of f32.
///
/// # Panics
///
/// If `precision` is not one of [`Precision::ON_CPU`].
pub fn operations(threads: &Threads, level: Level, precision: Precision) -> f64 {
    const ROUNDS: usize = 200_000;
    const MATRIX_ROUNDS: usize = 2_000;
    assert!(Precision::ON_CPU.contains(&precision), "a CPU does not compute in {precision}");
    let lacks_bf16 = precision == Precision::Bf16 && !level.has_bf16_dot();
    let precision = if lacks_bf16 { Precision::F32 } else { precision };
    let uses_matrix = level.has_matrix() && precision != Precision::F32;
    let work = || Multiply { precision, rounds: if uses_matrix { MATRIX_ROUNDS } else { ROUNDS } };
    let measured = rate(threads, work().count(level), || level.run(work()));
    match clock(threads) {
        Some(clock) if !uses_matrix => {
            whole(measured, (work().per_operation(level) * cores(threads)) as f64 * clock)
        }
        _ => measured,
    }
}

/// The multiple of half of `unit` that `measured` is slightly below, or `measured` itself.
fn whole(measured: f64, unit: f64) -> f64 {
    /// What starting and ending a run costs, and what the clock changes from run to run.
    const LOSS: f64 = 0.05;
    let halves = (2.0 * measured / unit).round();
    let whole = halves * unit / 2.0;
    if measured < whole && measured > whole * (1.0 - LOSS) { whole } else { measured }
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

    /// Every CPU with AVX2 starts one or two fused multiply-adds in a cycle, so a rate in between
    /// means that the latency was not hidden. A disturbed machine is slower, but not in each of ten
    /// tries.
    #[test]
    fn fused_multiply_adds_start_in_every_cycle() {
        let threads = Threads::new(1).expect("threads start");
        for level in Level::available().filter(|&level| level >= Level::Avx2) {
            let per_cycle = || {
                let clock = clock(&threads).expect("an instruction whose time is known");
                operations(&threads, level, Precision::F32) / (clock * 2.0 * level.lanes() as f64)
            };
            let is_whole = |x: f64| (x - x.round()).abs() < 0.06 && x > 0.9;
            assert!((0..10).any(|_| is_whole(per_cycle())), "{level:?}");
        }
    }

    #[test]
    fn a_rate_just_below_a_whole_number_of_operations_is_rounded_up() {
        assert_eq!(whole(1.96, 1.0), 2.0);
        assert_eq!(whole(1.46, 1.0), 1.5);
        assert_eq!(whole(1.67, 1.0), 1.67);
        assert_eq!(whole(2.01, 1.0), 2.01);
    }

    #[test]
    fn sums_read_every_value_of_whole_blocks() {
        let data = vec![1.0; SUMS * 16 * 5];
        for level in Level::available() {
            assert_eq!(level.run(Sum(&data)), data.len() as f32, "{level:?}");
        }
    }
}
