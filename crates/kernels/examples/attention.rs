//! Speed of attention against the peak of this machine's multiply-add instructions, measured in the
//! same run: `cargo run --release -p kokeshi-kernels --example attention [LEVEL [THREADS]]`.

#![expect(clippy::print_stdout, reason = "a table for people")]

use kokeshi_kernels::attention::{Heads, Position, attention};
use kokeshi_kernels::peak::operations;
use kokeshi_kernels::rope::RopeTable;
use kokeshi_kernels::threads::Threads;
use kokeshi_kernels::{Level, Precision};
use std::ops::Range;
use std::time::Instant;

/// Number of heads, and width of each, of jina-embeddings-v3 and of the bundled model.
const SHAPES: [(usize, usize); 2] = [(16, 64), (12, 32)];

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// Batches: number of sequences, and tokens of each.
const BATCHES: [(usize, usize); 5] = [(8, 128), (4, 512), (1, 2048), (1, 8192), (1, 16)];

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect()
}

/// Operations per second, `4 · length² · hidden` per sequence, after a comparison with portable
/// f32.
fn speed(
    threads: &Threads,
    level: Level,
    precision: Precision,
    (heads, head_dim): (usize, usize),
    position: Position<'_>,
    (sequences, len): (usize, usize),
) -> f64 {
    let hidden = heads * head_dim;
    let sequences: Vec<Range<usize>> = (0..sequences).map(|i| i * len..(i + 1) * len).collect();
    let tokens = sequences.len() * len;
    let qkv = values(tokens * 3 * hidden);
    let heads = Heads { sequences: &sequences, heads, head_dim, position };
    let mut out = vec![0.0; tokens * hidden];
    let mut run = |level, precision| {
        let start = Instant::now();
        attention(threads, level, precision, &qkv, &heads, &mut out);
        (start.elapsed().as_secs_f64(), out[..hidden].to_vec())
    };
    let repeats = if len > 4000 { 5 } else { 200 };
    let best = (0..repeats).map(|_| run(level, precision).0).fold(f64::MAX, f64::min);
    if len < 1000 {
        let (got, want) = (run(level, precision).1, run(Level::Portable, Precision::F32).1);
        let largest = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 0.02, "results differ by {largest}");
    }
    4.0 * (tokens * len * hidden) as f64 / best
}

fn main() {
    let count = std::env::args().nth(2).and_then(|count| count.parse().ok());
    let threads = Threads::new(count.unwrap_or_else(Threads::available)).expect("threads start");
    println!("{} threads; share of the peak measured just before", threads.count());
    let only = std::env::args().nth(1);
    let wanted = |level: &Level| only.as_ref().is_none_or(|name| name == level.name());
    for level in Level::available().filter(wanted) {
        for (shape, precision) in SHAPES.into_iter().flat_map(|s| PRECISIONS.map(|p| (s, p))) {
            let (heads, head_dim) = shape;
            let table = RopeTable::new(8192, head_dim, 20_000.0);
            let slopes: Vec<f32> = (0..heads).map(|i| 0.5_f32.powi(i as i32 / 2 + 1)).collect();
            let peak = operations(&threads, level, precision);
            for (name, position) in
                [("rope", Position::Rope(&table)), ("alibi", Position::Alibi(&slopes))]
            {
                print!(
                    "{:<11} {precision:<5?} {heads} × {head_dim} {name:<5} peak {:>5.0} Gop/s",
                    level.name(),
                    peak / 1e9
                );
                for batch in BATCHES {
                    let share = speed(&threads, level, precision, shape, position, batch) / peak;
                    print!("  {}×{}: {share:.2}", batch.0, batch.1);
                }
                println!();
            }
        }
    }
}
