//! Speed of linear layers against the peak of this machine's multiply-add instructions, measured in
//! the same run: `cargo run --release -p kokeshi-kernels --example linear [LEVEL [THREADS]]`.

#![expect(clippy::print_stdout, reason = "a table for people")]

use kokeshi_kernels::gemm::{Layer, Storage, Weights, Workspace, linear};
use kokeshi_kernels::peak::operations;
use kokeshi_kernels::threads::Threads;
use kokeshi_kernels::{Level, Precision};
use std::time::Instant;

/// Inputs and outputs of the layers of jina-embeddings-v3 and of the bundled model.
const SHAPES: [(usize, usize); 7] =
    [(1024, 3072), (1024, 4096), (4096, 1024), (384, 1152), (384, 384), (384, 1536), (1536, 384)];

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect()
}

/// Operations per second of a layer, after a check of some results.
fn speed(threads: &Threads, weights: &Weights, matrix: &[f32], rows: usize, tolerance: f64) -> f64 {
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
        assert!((want - got).abs() <= tolerance * want.abs().max(1.0), "{got} is not {want}");
    }
    (2 * rows * weights.inputs() * weights.outputs()) as f64 / best
}

fn main() {
    let count = std::env::args().nth(2).and_then(|count| count.parse().ok());
    let threads = Threads::new(count.unwrap_or_else(Threads::available)).expect("threads start");
    println!("{} threads; share of the peak measured just before", threads.count());
    let only = std::env::args().nth(1);
    let wanted = |level: &Level| only.as_ref().is_none_or(|name| name == level.name());
    for level in Level::available().filter(wanted) {
        for storage in [Storage::F32, Storage::Bf16, Storage::Bf16Dot, Storage::Int8] {
            let precision = match storage {
                Storage::Bf16Dot => Precision::Bf16,
                Storage::Int8 => Precision::Int8,
                Storage::F32 | Storage::Bf16 => Precision::F32,
            };
            // The values are exact in bf16; a byte's rounding moves each product by up to 0.004.
            let tolerance = if storage == Storage::Int8 { 0.3 } else { 1e-3 };
            let peak = operations(&threads, level, precision);
            print!("{:<11} {storage:<8?} peak {:>5.0} Gop/s", level.name(), peak / 1e9);
            for (inputs, outputs) in SHAPES {
                let matrix = values(inputs * outputs);
                let read_row = |row: usize, to: &mut [f32]| {
                    to.copy_from_slice(&matrix[row * inputs..][..inputs]);
                };
                let layer = Layer {
                    rows: outputs,
                    inputs,
                    scales: Vec::new(),
                    bias: Vec::new(),
                    lora: None,
                    activation: None,
                };
                let weights = Weights::pack(&threads, level, storage, layer, &read_row);
                for rows in [16, 128, 1024] {
                    let share = speed(&threads, &weights, &matrix, rows, tolerance) / peak;
                    print!("  {inputs}→{outputs} × {rows}: {share:.2}");
                }
            }
            println!();
        }
    }
}
