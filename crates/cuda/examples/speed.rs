//! Speed of linear layers, attention and row operations of the released v3, against the card's own
//! measured matmul rate:
//! `cargo run --release -p kokeshi-cuda --example speed -- [bf16|f16] [BATCHxLENGTH …]`

#![expect(clippy::print_stdout, reason = "measurements, for people")]

use kokeshi_cuda::{
    Arena, Attention, DType, Gpu, Layer, Norm, PackedBatch, Peak, Position, Result, States, peak,
};
use kokeshi_testkit::Random;
use std::ops::Range;

const HIDDEN: usize = 1024;
const FFN: usize = 4096;
const HEADS: usize = 16;
const HEAD_DIM: usize = HIDDEN / HEADS;
const TASKS: usize = 5;
const RANK: usize = 4;
const TAIL: usize = 32;
const REPEATS: usize = 9;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let dtype = match arguments.next_if(|a| !a.contains('x')).as_deref() {
        Some("f16") => DType::F16,
        _ => DType::Bf16,
    };
    let mut sizes: Vec<String> = arguments.collect();
    if sizes.is_empty() {
        sizes = ["64x128", "32x512", "8x2048", "8x8192"].map(str::to_owned).to_vec();
    }
    let (peak, gpu) = (peak(0, dtype)?, Gpu::open(0, dtype)?);
    let (flops, bytes) = (peak.flops_per_s / 1e12, peak.bytes_per_s / 1e12);
    println!("{gpu:?}: {flops:.0} TFLOP/s, {bytes:.2} TB/s");
    for size in sizes {
        let dimensions: Vec<usize> = size.split('x').filter_map(|n| n.parse().ok()).collect();
        let &[count, len] = &dimensions[..] else { continue };
        println!("{count} × {len}");
        let mut run = Run::new(&gpu, peak, count, len)?;
        run.linear()?;
        run.rows()?;
        run.attention()?;
    }
    Ok(())
}

/// The operations on a batch of `sequences` of `len` tokens.
struct Run<'a> {
    gpu: &'a Gpu,
    peak: Peak,
    len: usize,
    sequences: Vec<Range<usize>>,
    batch: PackedBatch,
    x: States,
    out: States,
    qkv: States,
    up: States,
    /// Weights and states repeat these values.
    values: Vec<f32>,
}

impl<'a> Run<'a> {
    fn new(gpu: &'a Gpu, peak: Peak, count: usize, len: usize) -> Result<Self> {
        let (rows, arena) = (count * len, Arena::default());
        let mut random = Random::new(1);
        let values: Vec<f32> = (0..4096).map(|_| 0.5 * random.signed_unit()).collect();
        let states = |width: usize, tail: usize| -> Result<States> {
            let values: Vec<f32> =
                (0..rows * width).map(|i| values[(i + i / width * 31) % values.len()]).collect();
            gpu.write(&arena, &values, width, tail)
        };
        let sequences: Vec<_> = (0..count).map(|i| i * len..(i + 1) * len).collect();
        let adapters: Vec<_> = (0..rows).map(|i| Some(i / len % TASKS)).collect();
        let batch = gpu.pack_batch(&vec![0; rows], &adapters, &sequences, HEAD_DIM)?;
        let (x, out) = (states(HIDDEN, TAIL)?, states(HIDDEN, TAIL)?);
        let (qkv, up) = (states(3 * HIDDEN, 0)?, states(FFN, TAIL)?);
        Ok(Self { gpu, peak, len, sequences, batch, x, out, qkv, up, values })
    }

    fn fill(&self) -> impl FnMut(usize, &mut [f32]) + use<'_> {
        |i, row| {
            for (c, x) in row.iter_mut().enumerate() {
                *x = self.values[(i * 977 + c) % self.values.len()];
            }
        }
    }

    fn print_rate(&self, what: &str, flops: f64, ms: f64) {
        let rate = flops / ms * 1e3;
        let share = rate / self.peak.flops_per_s;
        println!("  {what}: {ms:.3} ms, {:.0} TFLOP/s, {share:.2} of the peak", rate / 1e12);
    }

    /// For an operation that reads and writes `elements` elements per row.
    fn print_bytes(&self, what: &str, elements: usize, ms: f64) {
        let bytes = elements * self.batch.rows() * self.gpu.dtype().len_bytes();
        println!("  {what}: {ms:.3} ms, {:.2} TB/s", bytes as f64 / ms * 1e3 / 1e12);
    }

    fn linear(&mut self) -> Result<()> {
        let (gpu, bias) = (self.gpu, vec![0.5; FFN]);
        for (what, outputs, inputs) in [
            ("qkv", 3 * HIDDEN, HIDDEN),
            ("out", HIDDEN, HIDDEN),
            ("up", FFN, HIDDEN),
            ("down", HIDDEN, FFN),
        ] {
            let updates = vec![0.5; TASKS * RANK * FFN];
            let (down, up) =
                (&updates[..TASKS * RANK * inputs], &updates[..TASKS * RANK * outputs]);
            let layer = Layer { outputs, inputs, bias: &bias[..outputs], down, up, rank: RANK };
            let linear = gpu.linear(&layer, &mut self.fill())?;
            let Self { x, out, qkv, up, .. } = self;
            let ms = match what {
                "qkv" => gpu.time(REPEATS, &mut || gpu.multiply(x, &linear, qkv))?,
                "out" => gpu.time(REPEATS, &mut || gpu.multiply(x, &linear, out))?,
                "up" => gpu.time(REPEATS, &mut || gpu.multiply(x, &linear, up))?,
                _ => gpu.time(REPEATS, &mut || gpu.multiply(up, &linear, out))?,
            };
            self.print_rate(what, 2.0 * (self.batch.rows() * outputs * inputs) as f64, ms);
        }
        Ok(())
    }

    fn rows(&mut self) -> Result<()> {
        let (gpu, ones) = (self.gpu, vec![1.0; HIDDEN]);
        let (gain, bias) = (gpu.upload(&ones)?, gpu.upload(&ones)?);
        let norm = Norm { gain, bias, eps: 1e-5, width: HIDDEN };
        let mut updates = vec![0.0; TASKS * RANK * FFN];
        self.fill()(0, &mut updates);
        for (width, outputs) in [(HIDDEN, FFN), (FFN, HIDDEN)] {
            let (down, up) = (&updates[..TASKS * RANK * width], &updates[..TASKS * RANK * outputs]);
            let layer = Layer { outputs, inputs: width, bias: &[], down, up, rank: RANK };
            let linear = gpu.linear(&layer, &mut self.fill())?;
            for with_tail in [false, true] {
                let Self { x, out, up, batch, .. } = self;
                let next = with_tail.then_some((&linear, &*batch));
                let suffix = if with_tail { " with tail" } else { "" };
                if width == HIDDEN {
                    let mut work = || gpu.add_norm(out, 0, Some(&*x), &norm, next);
                    let ms = gpu.time(REPEATS, &mut work)?;
                    self.print_bytes(&format!("add_norm{suffix}"), 3 * width, ms);
                } else {
                    let ms = gpu.time(REPEATS, &mut || gpu.gelu(up, next))?;
                    self.print_bytes(&format!("gelu{suffix}"), 2 * width, ms);
                }
            }
        }
        let mut work = || gpu.pool(&self.x, HIDDEN, &self.sequences).map(|_| ());
        let ms = gpu.time(REPEATS, &mut work)?;
        self.print_bytes("pool", HIDDEN, ms);
        Ok(())
    }

    fn attention(&mut self) -> Result<()> {
        let (gpu, len) = (self.gpu, self.len);
        let angle = |i: usize| (i / 32) as f32 / 50_f32.powf((i % 32) as f32 / 32.0);
        let (sin, cos): (Vec<f32>, Vec<f32>) = (0..len * 32).map(|i| angle(i).sin_cos()).unzip();
        let slopes: Vec<f32> = (0..HEADS).map(|head| 0.5 / (head + 1) as f32).collect();
        let (cos, sin) = (gpu.upload(&cos)?, gpu.upload(&sin)?);
        for (what, position) in [
            ("rotate, attention", Position::Rope { cos, sin, positions: len }),
            ("attention, ALiBi", Position::Alibi { slopes: gpu.upload(&slopes)? }),
        ] {
            let attention = Attention { heads: HEADS, head_dim: HEAD_DIM, position };
            let Self { qkv, batch, out, .. } = self;
            let ms = gpu.time(REPEATS, &mut || gpu.attend(qkv, batch, &attention, out))?;
            self.print_rate(what, 4.0 * (self.batch.rows() * len * HIDDEN) as f64, ms);
        }
        Ok(())
    }
}
