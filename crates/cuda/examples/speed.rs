//! What linear layers and attention of the released v3 reach of the card's own measured matmul rate:
//! `cargo run --release -p kokeshi-cuda --example speed -- [bf16|f16] [BATCHxLENGTH …]`

use kokeshi_cuda::{Arena, Attention, DType, Gpu, Layer, Norm, Position, Result, peak};

const HIDDEN: usize = 1024;
const FFN: usize = 4096;
const HEADS: usize = 16;
const TAIL: usize = 32;
const REPEATS: usize = 9;

#[expect(clippy::print_stdout, reason = "what was measured")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let dtype = match arguments.next_if(|a| !a.contains('x')).as_deref() {
        Some("f16") => DType::F16,
        _ => DType::Bf16,
    };
    let sizes: Vec<String> = arguments.collect();
    let sizes = if sizes.is_empty() {
        ["64x128", "32x512", "8x2048", "8x8192"].map(str::to_owned).to_vec()
    } else {
        sizes
    };
    let peak = peak(0, dtype)?;
    let gpu = Gpu::open(0, dtype)?;
    println!(
        "{gpu:?}: {:.0} TFLOP/s, {:.2} TB/s",
        peak.flops_per_s / 1e12,
        peak.bytes_per_s / 1e12
    );
    for size in sizes {
        let numbers: Vec<usize> = size.split('x').filter_map(|n| n.parse().ok()).collect();
        let &[batch, len] = &numbers[..] else { continue };
        println!("{batch} × {len}");
        let rate = |what: &str, flops: f64, ms: f64| {
            let rate = flops / ms * 1e3;
            println!(
                "  {what}: {ms:.3} ms, {:.0} TFLOP/s, {:.2} of the peak",
                rate / 1e12,
                rate / peak.flops_per_s
            );
        };
        let rows = batch * len;
        let arena = Arena::default();
        let mut seed = 1_u32;
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(0x3f80_0000 | seed >> 9) - 1.5
        };
        let few: Vec<f32> = (0..4096).map(|_| random()).collect();
        let mut fill = |i: usize, row: &mut [f32]| {
            for (c, x) in row.iter_mut().enumerate() {
                *x = few[(i * 977 + c) % few.len()];
            }
        };
        let states = |width: usize, tail: usize| -> Result<_> {
            let values: Vec<f32> =
                (0..rows * width).map(|i| few[(i + i / width * 31) % few.len()]).collect();
            gpu.write(&arena, &values, width, tail)
        };
        let sequences: Vec<_> = (0..batch).map(|i| i * len..(i + 1) * len).collect();
        let adapters: Vec<_> = (0..rows).map(|i| Some(i / len % 5)).collect();
        let tiles = gpu.pack_batch(&vec![0; rows], &adapters, &sequences, HIDDEN / HEADS)?;

        let (x, mut out) = (states(HIDDEN, TAIL)?, states(HIDDEN, TAIL)?);
        let (mut qkv, mut up_states) = (states(3 * HIDDEN, 0)?, states(FFN, TAIL)?);
        let bias = vec![0.5; FFN];
        for (what, outputs, inputs) in [
            ("qkv", 3 * HIDDEN, HIDDEN),
            ("out", HIDDEN, HIDDEN),
            ("up", FFN, HIDDEN),
            ("down", HIDDEN, FFN),
        ] {
            let updates = vec![0.5; 20 * FFN];
            let layer = Layer {
                outputs,
                inputs,
                bias: &bias[..outputs],
                down: &updates[..20 * inputs],
                up: &updates[..20 * outputs],
                rank: 4,
            };
            let linear = gpu.linear(&layer, &mut fill)?;
            let ms = match what {
                "qkv" => gpu.time(REPEATS, &mut || gpu.multiply(&x, &linear, &mut qkv))?,
                "out" => gpu.time(REPEATS, &mut || gpu.multiply(&x, &linear, &mut out))?,
                "up" => gpu.time(REPEATS, &mut || gpu.multiply(&x, &linear, &mut up_states))?,
                _ => gpu.time(REPEATS, &mut || gpu.multiply(&up_states, &linear, &mut out))?,
            };
            rate(what, 2.0 * (rows * outputs * inputs) as f64, ms);
        }
        let bytes = |what: &str, numbers: usize, ms: f64| {
            let rate = (numbers * rows * dtype.len_bytes()) as f64 / ms * 1e3;
            println!("  {what}: {ms:.3} ms, {:.2} TB/s", rate / 1e12);
        };
        let ones = vec![1.0; HIDDEN];
        let norm =
            Norm { gain: gpu.upload(&ones)?, bias: gpu.upload(&ones)?, eps: 1e-5, width: HIDDEN };
        let mut updates = vec![0.0; 20 * FFN];
        fill(0, &mut updates);
        for (width, outputs) in [(HIDDEN, FFN), (FFN, HIDDEN)] {
            let (down, up) = (&updates[..20 * width], &updates[..20 * outputs]);
            let layer = Layer { outputs, inputs: width, bias: &[], down, up, rank: 4 };
            let linear = gpu.linear(&layer, &mut fill)?;
            for (what, next) in [("", None), (" with tail", Some((&linear, &tiles)))] {
                if width == HIDDEN {
                    let ms = gpu
                        .time(REPEATS, &mut || gpu.add_norm(&mut out, 0, Some(&x), &norm, next))?;
                    bytes(&format!("add_norm{what}"), 3 * width, ms);
                } else {
                    let ms = gpu.time(REPEATS, &mut || gpu.gelu(&mut up_states, next))?;
                    bytes(&format!("gelu{what}"), 2 * width, ms);
                }
            }
        }
        let spans = &sequences[..];
        bytes("pool", HIDDEN, gpu.time(REPEATS, &mut || gpu.pool(&x, HIDDEN, spans).map(|_| ()))?);
        let (sin, cos): (Vec<f32>, Vec<f32>) = (0..len * 32)
            .map(|i| ((i / 32) as f32 / 50_f32.powf((i % 32) as f32 / 32.0)).sin_cos())
            .unzip();
        let slopes: Vec<f32> = (0..HEADS).map(|head| 0.5 / (head + 1) as f32).collect();
        let rope =
            Position::Rope { cos: gpu.upload(&cos)?, sin: gpu.upload(&sin)?, positions: len };
        for (what, position) in [
            ("rotate, attention", rope),
            ("attention, ALiBi", Position::Alibi { slopes: gpu.upload(&slopes)? }),
        ] {
            let attention = Attention { heads: HEADS, head_dim: HIDDEN / HEADS, position };
            let ms = gpu.time(REPEATS, &mut || gpu.attend(&qkv, &tiles, &attention, &mut out))?;
            rate(what, 4.0 * (rows * len * HIDDEN) as f64, ms);
        }
    }
    Ok(())
}
