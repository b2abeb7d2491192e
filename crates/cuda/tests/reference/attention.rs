use crate::{check, gpus, round, take, write};
use kokeshi_cuda::{Attention, DType, Gpu, Position};
use kokeshi_testkit::Random;
use std::ops::Range;

/// softmax(q kᵀ / √dim - slope |distance|) v of one head of one sequence, in f64, on q and k that
/// were rotated and rounded as on the card.
fn attend(
    dtype: DType,
    qkv: &[f32],
    sequence: &Range<usize>,
    (heads, dim, head): (usize, usize, usize),
    angles: Option<(&[f32], &[f32])>,
    slope: f64,
    out: &mut [f64],
) {
    let hidden = heads * dim;
    let vector = |which: usize, token: usize| -> Vec<f32> {
        let x = &qkv[(token * 3 + which) * hidden + head * dim..][..dim];
        let (Some((cos, sin)), true) = (angles, which < 2) else { return x.to_vec() };
        let (half, at) = (dim / 2, (token - sequence.start) * dim / 2);
        let rotated = |j: usize| {
            let (c, s, i) = (cos[at + j % half], sin[at + j % half], j % half);
            if j < half { x[i] * c - x[i + half] * s } else { x[i + half] * c + x[i] * s }
        };
        (0..dim).map(|j| round(dtype, rotated(j))).collect()
    };
    let keys: Vec<_> = sequence.clone().map(|token| vector(1, token)).collect();
    let values: Vec<_> = sequence.clone().map(|token| vector(2, token)).collect();
    for token in sequence.clone() {
        let query = vector(0, token);
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
        // Lengths for Hopper's kernel, around its blocks of 128 keys and 192 queries.
        for alibi in [false, true] {
            attention(&gpu, 2, 64, alibi, &[512, 5, 513, 640, 700, 767]);
        }
    }
}

fn attention(gpu: &Gpu, heads: usize, dim: usize, alibi: bool, lens: &[usize]) {
    let (mut random, hidden, dtype) = (Random::new(5), heads * dim, gpu.dtype());
    let mut sequences = Vec::new();
    for len in lens {
        let start = sequences.last().map_or(0, |last: &Range<usize>| last.end);
        sequences.push(start..start + len);
    }
    let rows = sequences.last().expect("a sequence").end;
    let qkv: Vec<f32> =
        (0..rows * 3 * hidden).map(|_| round(dtype, 2.0 * random.signed_unit())).collect();
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
    let batch =
        gpu.pack_batch(&vec![0; rows], &vec![None; rows], &sequences, dim).expect("a batch");
    let (states, mut out) = (write(gpu, &qkv, 3 * hidden, 0), take(gpu, rows, hidden, 32));
    gpu.attend(&states, &batch, &attention, &mut out).expect("attention");
    let mut want = vec![0.0; rows * hidden];
    for sequence in &sequences {
        for (head, slope) in slopes.iter().enumerate() {
            let angles = (!alibi).then_some((&cos[..], &sin[..]));
            let slope = if alibi { f64::from(*slope) } else { 0.0 };
            attend(dtype, &qkv, sequence, (heads, dim, head), angles, slope, &mut want);
        }
    }
    // Probabilities are rounded to the dtype before they are multiplied by values.
    let what = format!("attention {heads} × {dim}, ALiBi {alibi}, {lens:?}");
    check(gpu, &what, &gpu.read(&out).expect("states"), &want, 2.0);
}
