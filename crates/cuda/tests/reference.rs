//! Every operation against its definition in f64, with every code that the card runs. Without a card
//! the tests print why they check nothing.

use half::{bf16, f16};
use kokeshi_cuda::{
    Activation, Arena, Attention, Card, Code, Embedding, Gpu, Layer, Norm, Number, Position,
    States, cards,
};
use std::ops::Range;

/// Pseudo-random numbers from -1 to 1.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from_bits(0x3f80_0000 | self.0 >> 9) - 1.5) * 2.0
    }

    /// Values that the card's numbers hold exactly.
    fn values(&mut self, number: Number, count: usize) -> Vec<f32> {
        (0..count).map(|_| round(number, self.next())).collect()
    }
}

fn round(number: Number, x: f32) -> f32 {
    match number {
        Number::F32 => x,
        Number::F16 => f16::from_f32(x).to_f32(),
        Number::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

/// Largest error of a result of size 1 that is rounded once to the card's numbers.
fn ulp(number: Number) -> f64 {
    match number {
        Number::F32 => 3e-6,
        Number::F16 => 1e-3,
        Number::Bf16 => 8e-3,
    }
}

#[expect(clippy::print_stdout, reason = "why nothing was checked, for people")]
fn card() -> Option<Card> {
    match cards() {
        Ok(cards) => cards.into_iter().next(),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Every way in which the first card can be used.
fn gpus() -> Vec<Gpu> {
    let Some(card) = card() else { return Vec::new() };
    let mut gpus = Vec::new();
    for code in Code::of(card.capability) {
        for number in [Number::F32, Number::F16, Number::Bf16] {
            match Gpu::with_code(card.clone(), number, code) {
                Ok(gpu) => gpus.push(gpu),
                Err(error) => assert!(
                    number == Number::Bf16 && code == Code::Portable70,
                    "{code:?}, {number:?}: {error}"
                ),
            }
        }
    }
    gpus
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "what was measured, for people")]
fn check(gpu: &Gpu, what: &str, got: &[f32], want: &[f64], scale: f64) {
    assert_eq!(got.len(), want.len(), "{gpu:?}, {what}");
    let error = |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs() / want.abs().max(1.0);
    let worst = got
        .iter()
        .zip(want)
        .map(error)
        .fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
    println!("{gpu:?}, {what}: {worst:.1e}");
    let bound = ulp(gpu.number()) * scale;
    assert!(worst <= bound, "{gpu:?}, {what}: {worst:.2e}, bound {bound:.2e}");
}

fn write(gpu: &Gpu, values: &[f32], width: usize, tail: usize) -> States {
    gpu.write(&Arena::default(), values, width, tail).expect("states on the card")
}

fn take(gpu: &Gpu, rows: usize, width: usize, tail: usize) -> States {
    // Poisoned, so that what is not written shows.
    write(gpu, &vec![f32::NAN; rows * width], width, tail)
}

#[test]
fn embeddings_have_the_update_and_the_summand_of_their_task() {
    for gpu in gpus() {
        let mut random = Random(1);
        let (vocab, hidden, rank, tasks) = (40, 72, 4, 3);
        let word = random.values(gpu.number(), vocab * hidden);
        let a = random.values(Number::F32, tasks * vocab * rank);
        let b = random.values(Number::F32, tasks * rank * hidden);
        let shift = random.values(Number::F32, (tasks + 1) * hidden);
        let ids: Vec<u32> = (0..30).map(|i| i * 7 % vocab as u32).collect();
        let adapters: Vec<_> = (0..30_usize).map(|i| (i % 4).checked_sub(1)).collect();
        let tiles = gpu.tiles(&ids, &adapters, &[0..12, 12..30], 64).expect("tiles");
        let mut read =
            |i: usize, row: &mut [f32]| row.copy_from_slice(&word[i * hidden..][..hidden]);
        let table = Embedding {
            word: gpu.upload_rows(vocab, [hidden, hidden], &mut read).expect("words"),
            a: gpu.upload(&a).expect("a"),
            b: gpu.upload(&b).expect("b"),
            shift: gpu.upload(&shift).expect("shift"),
            vocab,
            rank,
            shifts: tasks + 1,
            hidden,
        };
        let mut x = take(&gpu, 30, hidden, 16);
        gpu.embed(&tiles, &table, &mut x).expect("embeddings");
        let mut want = Vec::new();
        for (&id, adapter) in ids.iter().zip(&adapters) {
            let (id, shifted) = (id as usize, adapter.map_or(0, |task| task + 1));
            for c in 0..hidden {
                let mut sum =
                    f64::from(word[id * hidden + c]) + f64::from(shift[shifted * hidden + c]);
                for r in adapter.iter().flat_map(|task| (0..rank).map(move |r| (task, r))) {
                    let (task, r) = r;
                    sum += f64::from(a[(task * vocab + id) * rank + r])
                        * f64::from(b[(task * rank + r) * hidden + c]);
                }
                want.push(sum);
            }
        }
        check(&gpu, "embed", &gpu.read(&x).expect("states"), &want, 1.0);
    }
}

#[test]
fn layer_norm_follows_its_definition_in_every_part_of_a_row() {
    for gpu in gpus() {
        for (width, parts) in [(64, 3), (768, 1), (1024, 1), (1032, 2), (2048, 1)] {
            let mut random = Random(2);
            let rows = 37;
            let x = random.values(gpu.number(), rows * width * parts);
            let residual = random.values(gpu.number(), rows * width * parts);
            let (gain, bias) =
                (random.values(Number::F32, width), random.values(Number::F32, width));
            let norm = Norm {
                gain: gpu.upload(&gain).expect("gain"),
                bias: gpu.upload(&bias).expect("bias"),
                eps: 1e-5,
                width,
            };
            for added in [false, true] {
                let mut states = write(&gpu, &x, width * parts, 32);
                let other = write(&gpu, &residual, width * parts, 32);
                for part in 0..parts {
                    let other = (added && part == 0).then_some(&other);
                    gpu.add_norm(&mut states, part, other, &norm, None).expect("a norm");
                }
                let mut want = Vec::new();
                for (i, row) in x.chunks_exact(width).enumerate() {
                    let added = added && i % parts == 0;
                    let other = residual[i * width..].iter().map(|x| if added { *x } else { 0.0 });
                    let row: Vec<f64> =
                        row.iter().zip(other).map(|(x, y)| f64::from(*x) + f64::from(y)).collect();
                    let mean = row.iter().sum::<f64>() / width as f64;
                    let variance =
                        row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    let scaled = row.iter().zip(gain.iter().zip(&bias)).map(|(x, (gain, bias))| {
                        (x - mean) / (variance + 1e-5).sqrt() * f64::from(*gain) + f64::from(*bias)
                    });
                    want.extend(scaled);
                }
                let what = format!("add_norm {width} × {parts}, residual {added}");
                check(&gpu, &what, &gpu.read(&states).expect("states"), &want, 1.0);
            }
        }
    }
}

#[test]
fn a_linear_layer_adds_each_rows_own_low_rank_update() {
    for gpu in gpus() {
        let mut random = Random(3);
        let (rows, inputs, outputs, rank, tasks, tail) = (45, 64, 136, 4, 5, 32);
        let x = random.values(gpu.number(), rows * inputs);
        let w: Vec<f32> = random.values(gpu.number(), outputs * inputs);
        let bias = random.values(gpu.number(), outputs);
        let a = random.values(gpu.number(), tasks * rank * inputs);
        let b = random.values(gpu.number(), tasks * rank * outputs);
        let adapters: Vec<_> = (0..rows).map(|i| (i / 4 % 6).checked_sub(1)).collect();
        let tiles = gpu
            .tiles(&vec![0; rows], &adapters, std::slice::from_ref(&(0..rows)), 64)
            .expect("tiles");
        let layer = Layer { outputs, inputs, bias: &bias, down: &a, up: &b, rank };
        assert_eq!(layer.tail(), tail);
        let mut read =
            |row: usize, to: &mut [f32]| to.copy_from_slice(&w[row * inputs..][..inputs]);
        let linear = gpu.linear(&layer, &mut read).expect("a layer");
        let states = write(&gpu, &x, inputs, tail);
        let mut out = take(&gpu, rows, outputs, 8);
        gpu.project(&states, &tiles, &linear, &mut out).expect("a product");
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let mut want = Vec::new();
        for (row, adapter) in x.chunks_exact(inputs).zip(&adapters) {
            for o in 0..outputs {
                let mut sum = dot(row, &w[o * inputs..][..inputs]) + f64::from(bias[o]);
                for (task, r) in adapter.iter().flat_map(|task| (0..rank).map(move |r| (task, r))) {
                    let slot = task * rank + r;
                    // The tail is rounded as states are.
                    let down = round(gpu.number(), dot(row, &a[slot * inputs..][..inputs]) as f32);
                    sum += f64::from(down) * f64::from(b[slot * outputs + o]);
                }
                want.push(sum);
            }
        }
        check(&gpu, "linear", &gpu.read(&out).expect("states"), &want, 2.0);
    }
}

fn erf(x: f64) -> f64 {
    // Abramowitz and Stegun 7.1.6, the series; |x| is small here.
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}

type Gate = fn(f64) -> f64;

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2_f64.sqrt()))
}

#[test]
fn activations_follow_their_definitions() {
    for gpu in gpus() {
        let (rows, width) = (19, 72);
        let x: Vec<f32> = Random(4)
            .values(Number::F32, rows * 2 * width)
            .iter()
            .map(|x| round(gpu.number(), x * 6.0))
            .collect();
        let mut states = write(&gpu, &x, 2 * width, 16);
        gpu.gelu(&mut states, None).expect("gelu");
        let want: Vec<f64> = x.iter().map(|x| gelu(f64::from(*x))).collect();
        check(&gpu, "gelu", &gpu.read(&states).expect("states"), &want, 1.0);
        let gates: [(Activation, Gate); 2] =
            [(Activation::GeGlu, gelu), (Activation::ReGlu, |x| x.max(0.0))];
        for (activation, gate) in gates {
            let (states, mut out) = (write(&gpu, &x, 2 * width, 0), take(&gpu, rows, width, 24));
            gpu.gate(activation, &states, &mut out).expect("a gate");
            let row = |row: &[f32]| -> Vec<f64> {
                let (gates, values) = row.split_at(width);
                gates.iter().zip(values).map(|(g, v)| gate(f64::from(*g)) * f64::from(*v)).collect()
            };
            let want: Vec<f64> = x.chunks_exact(2 * width).flat_map(row).collect();
            check(&gpu, &format!("{activation:?}"), &gpu.read(&out).expect("states"), &want, 1.0);
        }
    }
}

/// softmax(q kᵀ / √dim - slope |distance|) v of one head of one sequence, in f64, on q and k that were
/// rotated and rounded as the card does it.
fn attend(
    number: Number,
    qkv: &[f32],
    sequence: &Range<usize>,
    (heads, dim, head): (usize, usize, usize),
    angles: Option<(&[f32], &[f32])>,
    slope: f64,
    out: &mut [f64],
) {
    let hidden = heads * dim;
    let of = |which: usize, token: usize| -> Vec<f32> {
        let x = &qkv[(token * 3 + which) * hidden + head * dim..][..dim];
        let (Some((cos, sin)), true) = (angles, which < 2) else { return x.to_vec() };
        let (half, at) = (dim / 2, (token - sequence.start) * dim / 2);
        let turn = |j: usize| {
            let (c, s, i) = (cos[at + j % half], sin[at + j % half], j % half);
            if j < half { x[i] * c - x[i + half] * s } else { x[i + half] * c + x[i] * s }
        };
        (0..dim).map(|j| round(number, turn(j))).collect()
    };
    let keys: Vec<_> = sequence.clone().map(|token| of(1, token)).collect();
    let values: Vec<_> = sequence.clone().map(|token| of(2, token)).collect();
    for token in sequence.clone() {
        let query = of(0, token);
        let score = |(at, key): (usize, &Vec<f32>)| {
            let product: f64 =
                query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
            product / (dim as f64).sqrt() - slope * (token - sequence.start).abs_diff(at) as f64
        };
        let scores: Vec<f64> = keys.iter().enumerate().map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..dim {
            let sum: f64 = weights.iter().zip(&values).map(|(w, v)| w * f64::from(v[c])).sum();
            out[token * hidden + head * dim + c] = sum / total;
        }
    }
}

#[test]
fn attention_follows_its_definition_for_every_length_and_head() {
    for gpu in gpus() {
        for (heads, dim) in [(2, 64), (3, 32), (2, 16), (1, 128)] {
            for alibi in [false, true] {
                attention(&gpu, heads, dim, alibi, &[1, 63, 64, 65, 128, 130, 200, 31]);
            }
        }
        // Lengths of Hopper's kernel, about its blocks of 128 keys and 192 queries.
        for alibi in [false, true] {
            attention(&gpu, 2, 64, alibi, &[512, 5, 513, 640, 700, 767]);
        }
    }
}

fn attention(gpu: &Gpu, heads: usize, dim: usize, alibi: bool, lens: &[usize]) {
    let (mut random, hidden, number) = (Random(5), heads * dim, gpu.number());
    let mut sequences = Vec::new();
    for len in lens {
        let start = sequences.last().map_or(0, |last: &Range<usize>| last.end);
        sequences.push(start..start + len);
    }
    let rows = sequences.last().expect("a sequence").end;
    let qkv: Vec<f32> =
        (0..rows * 3 * hidden).map(|_| round(number, 2.0 * random.next())).collect();
    let angle =
        |i: usize| (i / (dim / 2)) as f32 / 50_f32.powf((i % (dim / 2)) as f32 / dim as f32);
    let positions = *lens.iter().max().expect("a length");
    let (sin, cos): (Vec<f32>, Vec<f32>) =
        (0..positions * dim / 2).map(|i| angle(i).sin_cos()).unzip();
    let slopes: Vec<f32> = (0..heads).map(|head| 0.5 / (head + 1) as f32).collect();
    let position = if alibi {
        let slopes: Vec<f32> =
            slopes.iter().map(|slope| slope * std::f32::consts::LOG2_E).collect();
        Position::Alibi { slopes: gpu.upload(&slopes).expect("slopes") }
    } else {
        let (cos, sin) = (gpu.upload(&cos).expect("cos"), gpu.upload(&sin).expect("sin"));
        Position::Rope { cos, sin, positions }
    };
    let attention = Attention { heads, head_dim: dim, position };
    let tiles = gpu.tiles(&vec![0; rows], &vec![None; rows], &sequences, dim).expect("tiles");
    let (states, mut out) = (write(gpu, &qkv, 3 * hidden, 0), take(gpu, rows, hidden, 32));
    gpu.attend(&states, &tiles, &attention, &mut out).expect("attention");
    let mut want = vec![0.0; rows * hidden];
    for sequence in &sequences {
        for (head, slope) in slopes.iter().enumerate() {
            let angles = (!alibi).then_some((&cos[..], &sin[..]));
            let slope = if alibi { f64::from(*slope) } else { 0.0 };
            attend(number, &qkv, sequence, (heads, dim, head), angles, slope, &mut want);
        }
    }
    // Probabilities are rounded to the card's numbers before they weigh values.
    let what = format!("attention {heads} × {dim}, ALiBi {alibi}, {lens:?}");
    check(gpu, &what, &gpu.read(&out).expect("states"), &want, 2.0);
}

#[test]
fn pooling_sums_spans_of_the_first_columns() {
    for gpu in gpus() {
        let (rows, hidden) = (900, 72);
        let x = Random(6).values(gpu.number(), rows * hidden);
        let states = write(&gpu, &x, hidden, 32);
        let spans = [0..900, 3..3, 899..900, 100..611];
        for width in [72, 40] {
            let got = gpu.pool(&states, width, &spans).expect("sums");
            let sum = |span: &Range<usize>, c: usize| -> f64 {
                span.clone().map(|t| f64::from(x[t * hidden + c])).sum()
            };
            let want: Vec<f64> =
                spans.iter().flat_map(|span| (0..width).map(move |c| sum(span, c))).collect();
            let wrong = got
                .iter()
                .zip(&want)
                .filter(|(got, want)| f64::from(**got) != f64::from(**want as f32));
            assert_eq!(wrong.count(), 0, "{gpu:?}: sums in f64 are exact to f32");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_a_batch_of_any_size() {
    for gpu in gpus() {
        let (inputs, outputs) = (1056, 1024);
        let mut random = Random(7);
        let x = random.values(gpu.number(), 1000 * inputs);
        let mut fill = |_: usize, row: &mut [f32]| row.fill_with(|| random.next());
        let layer = Layer { outputs, inputs, bias: &[], down: &[], up: &[], rank: 0 };
        let linear = gpu.linear(&layer, &mut fill).expect("a layer");
        let product = |rows: usize| {
            let states = write(&gpu, &x[..rows * inputs], inputs, 0);
            let mut out = take(&gpu, rows, outputs, 0);
            gpu.multiply(&states, &linear, &mut out).expect("a product");
            gpu.read(&out).expect("states")
        };
        let all = product(1000);
        for rows in [1, 2, 16, 100, 513] {
            assert!(product(rows)[..] == all[..rows * outputs], "{gpu:?}: {rows} rows");
        }
    }
}

/// Tails that operations make on the way have the bits of those that are made alone.
#[test]
fn a_tail_made_on_the_way_is_that_made_alone() {
    for gpu in gpus() {
        let mut random = Random(8);
        let (rows, width, outputs, rank, tasks) = (203, 1024, 64, 4, 5);
        let values = random.values(gpu.number(), rows * width);
        let down = random.values(gpu.number(), tasks * rank * width);
        let up = random.values(gpu.number(), tasks * rank * outputs);
        let layer = Layer { outputs, inputs: width, bias: &[], down: &down, up: &up, rank };
        let linear = gpu.linear(&layer, &mut |_, row| row.fill(0.0)).expect("a layer");
        let adapters: Vec<_> = (0..rows).map(|i| (i / 7 % 6).checked_sub(1)).collect();
        let tiles = gpu
            .tiles(&vec![0; rows], &adapters, std::slice::from_ref(&(0..rows)), 64)
            .expect("tiles");
        let ones = gpu.upload(&vec![1.0_f32; width]).expect("ones");
        let norm =
            Norm { gain: ones, bias: gpu.zeros(width * 4).expect("zeros"), eps: 1e-5, width };
        let result = |norms: bool, fused: bool| {
            let mut x = write(&gpu, &values, width, layer.tail());
            let next = fused.then_some((&linear, &tiles));
            if norms {
                gpu.add_norm(&mut x, 0, None, &norm, next).expect("a norm");
            } else {
                gpu.gelu(&mut x, next).expect("gelu");
            }
            let mut out = take(&gpu, rows, outputs, 0);
            gpu.project(&x, &tiles, &linear, &mut out).expect("a product");
            let want: Vec<f64> =
                gpu.read(&out).expect("states").into_iter().map(f64::from).collect();
            (gpu.read(&out).expect("states"), want)
        };
        for norms in [true, false] {
            let ((alone, want), (fused, _)) = (result(norms, false), result(norms, true));
            assert!(alone.iter().any(|x| x.abs() > 1.0), "updates that show");
            check(&gpu, "a tail on the way", &fused, &want, 4.0);
        }
    }
}
