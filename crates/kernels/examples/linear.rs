//! Speed of linear layers against the peak of this machine's multiply-add instructions, measured in
//! the same run: `cargo run --release -p kokeshi-kernels --example linear`.

#![expect(clippy::print_stdout, reason = "a table for people")]

use kokeshi_kernels::Level;
use kokeshi_kernels::gemm::{Layer, Storage, Weights, Workspace, linear};
use kokeshi_kernels::isa::{Isa, Kernel};
use kokeshi_kernels::threads::Threads;
use std::time::Instant;

/// Independent sums in registers, no memory: what the tile would reach if data came for free.
struct Peak {
    dot: bool,
    rounds: usize,
}

impl Kernel for Peak {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, v: I) -> f32 {
        let (a, b) = (v.splat(1.0), v.splat(1e-9));
        let pair = v.splat_pair(0x3f80_3f80);
        let mut sums = [v.splat(0.0); 12];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = if self.dot { v.dot_bf16(pair, pair, *sum) } else { v.mul_add(a, b, *sum) };
            }
            std::hint::black_box(());
        }
        sums.into_iter().map(|sum| v.sum(sum)).sum()
    }
}

/// Operations a second of all threads together, the best of several runs.
fn peak(threads: &Threads, level: Level, dot: bool) -> f64 {
    // About a millisecond: short enough that some runs are not interrupted by anything.
    const ROUNDS: usize = 40_000;
    let once = || {
        let start = Instant::now();
        let work = |_, _: &mut _| {
            std::hint::black_box(level.run(Peak { dot, rounds: ROUNDS }));
        };
        threads.run((0..threads.count()).collect::<Vec<usize>>(), work);
        let per_step = 2 * level.lanes() * if dot { 2 } else { 1 };
        (threads.count() * ROUNDS * 12 * per_step) as f64 / start.elapsed().as_secs_f64()
    };
    (0..300).map(|_| once()).fold(0.0, f64::max)
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect()
}

/// Operations a second of a layer, after a check of some results.
fn speed(threads: &Threads, weights: &Weights, matrix: &[f32], rows: usize) -> f64 {
    let x = values(rows * weights.inputs());
    let adapters = vec![None; rows];
    let mut workspace = Workspace::default();
    let mut out = vec![0.0; rows * weights.outputs()];
    let mut once = || {
        let start = Instant::now();
        linear(threads, &x, weights, &adapters, &mut workspace, &mut out);
        start.elapsed().as_secs_f64()
    };
    let repeats = (20_000 / rows.max(1)).clamp(50, 500);
    let best = (0..repeats).map(|_| once()).fold(f64::MAX, f64::min);
    for i in [0, out.len() / 2, out.len() - 1] {
        let (row, output) = (i / weights.outputs(), i % weights.outputs());
        let products = x[row * weights.inputs()..].iter().zip(&matrix[output * weights.inputs()..]);
        let products = products.take(weights.inputs()).map(|(x, w)| f64::from(*x) * f64::from(*w));
        let (want, got) = (products.sum::<f64>(), f64::from(out[i]));
        assert!((want - got).abs() <= 1e-3 * want.abs().max(1.0), "{got} is not {want}");
    }
    (2 * rows * weights.inputs() * weights.outputs()) as f64 / best
}

fn main() {
    let threads = Threads::new(Threads::available()).expect("threads start");
    println!("{} threads; share of the peak that was measured just before", threads.count());
    for level in Level::available() {
        for storage in [Storage::F32, Storage::Bf16, Storage::Bf16Dot] {
            let dot = storage == Storage::Bf16Dot;
            let peak = peak(&threads, level, dot && level.has_bf16_dot());
            print!("{:<11} {storage:<8?} peak {:>5.0} Gop/s", level.name(), peak / 1e9);
            for (inputs, outputs) in [(1024, 3072), (1024, 4096), (4096, 1024)] {
                let matrix = values(inputs * outputs);
                let mut read_row = |row: usize, to: &mut [f32]| {
                    to.copy_from_slice(&matrix[row * inputs..][..inputs]);
                };
                let layer =
                    Layer { rows: outputs, inputs, bias: Vec::new(), lora: None, activation: None };
                let weights = Weights::pack(level, storage, layer, &mut read_row);
                for rows in [16, 128, 512] {
                    let share = speed(&threads, &weights, &matrix, rows) / peak;
                    print!("  {inputs}→{outputs} × {rows}: {share:.2}");
                }
            }
            println!();
        }
    }
}
