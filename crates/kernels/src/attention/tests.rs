use super::*;
use crate::random::Random;

fn definition(qkv: &[f32], heads: &Heads<'_>, out: &mut [f64]) {
    let (dim, hidden) = (heads.head_dim, heads.heads * heads.head_dim);
    let rotated = |which: usize, sequence: &Range<usize>, token: usize, head: usize| {
        let x = &qkv[(3 * token + which) * hidden + head * dim..][..dim];
        let f = |i: usize| f64::from(x[i]);
        let Position::Rope(table) = heads.position else { return (0..dim).map(f).collect() };
        let (cos, sin) = table.at(token - sequence.start);
        (0..dim)
            .map(|i| {
                let j = i % (dim / 2);
                let (cos, sin) = (f64::from(cos[j]), f64::from(sin[j]));
                if i < dim / 2 {
                    f(i) * cos - f(i + dim / 2) * sin
                } else {
                    f(i) * cos + f(j) * sin
                }
            })
            .collect::<Vec<f64>>()
    };
    for sequence in heads.sequences {
        for head in 0..heads.heads {
            let keys: Vec<_> = sequence.clone().map(|t| rotated(1, sequence, t, head)).collect();
            for query in sequence.clone() {
                let q = rotated(0, sequence, query, head);
                let bias = |key: usize| match heads.position {
                    Position::Rope(_) => 0.0,
                    Position::Alibi(slopes) => {
                        -f64::from(slopes[head]) * query.abs_diff(key) as f64
                    }
                };
                let product = |k: &Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                let scores: Vec<f64> = sequence
                    .clone()
                    .zip(&keys)
                    .map(|(key, k)| product(k) / (dim as f64).sqrt() + bias(key))
                    .collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for c in 0..dim {
                    let value = |t: usize| f64::from(qkv[(3 * t + 2) * hidden + head * dim + c]);
                    let sum: f64 = sequence.clone().zip(&weights).map(|(t, w)| w * value(t)).sum();
                    out[query * hidden + head * dim + c] = sum / total;
                }
            }
        }
    }
}

fn sequences(lens: &[usize]) -> Vec<Range<usize>> {
    let ends = lens.iter().scan(0, |end, len| {
        *end += len;
        Some(*end - len..*end)
    });
    ends.collect()
}

/// The largest difference, or NaN.
fn worst(got: &[f32], want: &[f64]) -> f64 {
    let differences = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs());
    differences.fold(0.0, |worst, e| if e.is_nan() { e } else { e.max(worst) })
}

/// Compares every level with the definition on ragged sequences of `qkv` (`[tokens, 3 * hidden]`)
/// and passes the largest difference to `check`.
fn compare(
    qkv: &[f32],
    heads: usize,
    position: Position<'_>,
    precision: Precision,
    check: impl Fn(f64),
) {
    let threads = Threads::new(2).expect("threads start");
    let sequences = sequences(&LENS);
    let hidden = qkv.len() / (3 * LENS.iter().sum::<usize>());
    let shape = Heads { sequences: &sequences, heads, head_dim: hidden / heads, position };
    let mut want = vec![0.0; qkv.len() / 3];
    definition(qkv, &shape, &mut want);
    for level in Level::available() {
        let mut got = vec![f32::NAN; want.len()];
        attention(&threads, level, precision, qkv, &shape, &mut got);
        check(worst(&got, &want));
    }
}

/// Lengths around the tile, the vectors of all levels, and a block of keys.
const LENS: [usize; 14] = [1, 2, 5, 6, 7, 15, 16, 17, 97, 98, 119, 120, 121, 300];

/// Random q, k and v of all tokens, each value passed through `change`.
fn random_qkv(random: &mut Random, hidden: usize, change: impl Fn(f32) -> f32) -> Vec<f32> {
    let count = LENS.iter().sum::<usize>() * 3 * hidden;
    random.normal(count).into_iter().map(change).collect()
}

fn slopes(heads: usize) -> Vec<f32> {
    (1..=heads).map(|h| 2_f32.powi(-(h as i32))).collect()
}

#[test]
fn every_level_follows_the_definition_on_ragged_batches() {
    let mut random = Random::new(11);
    for (heads, head_dim) in [(1, 2), (3, 16), (2, 32), (2, 64), (2, 10), (1, 96)] {
        // Scores of up to about ±60, so that the running maximum and the decay matter.
        let qkv = random_qkv(&mut random, heads * head_dim, |x| x * 2.5);
        let (rope, slopes) = (RopeTable::new(300, head_dim, 20000.0), slopes(heads));
        for position in [Position::Rope(&rope), Position::Alibi(&slopes)] {
            // Scores near 60 carry 60 · 2⁻²³ ≈ 7e-6 of rounding into each weight; values reach 10.
            compare(&qkv, heads, position, Precision::F32, |worst| {
                assert!(worst < 5e-5, "{worst:e}");
            });
        }
    }
}

#[test]
fn bf16_products_are_off_by_no_more_than_the_rounding_of_their_factors() {
    let mut random = Random::new(13);
    for (heads, head_dim) in [(1, 2), (3, 16), (2, 32), (2, 64), (2, 10)] {
        let qkv = random_qkv(&mut random, heads * head_dim, |x| x.clamp(-1.0, 1.0));
        let (rope, slopes) = (RopeTable::new(300, head_dim, 20000.0), slopes(heads));
        // Rounding changes a factor by up to 2⁻⁸ of its magnitude. A score sums head_dim products
        // of two factors of at most √2 (rotated) and is divided by √head_dim; a weight is off by
        // the errors of two scores (its own and the largest) and its own rounding, a value by its
        // rounding.
        let score = 2.0 * 2.0 / 256.0 * (head_dim as f64).sqrt();
        let bound = 2.0 * score.exp_m1() + 2.0 / 256.0;
        for position in [Position::Rope(&rope), Position::Alibi(&slopes)] {
            let check = |worst| assert!(worst < bound, "{worst:e} of {bound:e}");
            compare(&qkv, heads, position, Precision::Bf16, check);
        }
    }
}

#[test]
fn factors_that_are_exact_in_bf16_leave_only_the_rounding_of_weights() {
    let mut random = Random::new(14);
    // 1/√head_dim is a power of two, and ALiBi rotates nothing: q, k and v stay as they are.
    for (heads, head_dim) in [(3, 16), (2, 64)] {
        let bf16 = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
        let qkv = random_qkv(&mut random, heads * head_dim, bf16);
        let largest = f64::from(qkv.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())));
        let check = |worst| assert!(worst < largest / 256.0, "{worst:e} of {largest}");
        compare(&qkv, heads, Position::Alibi(&slopes(heads)), Precision::Bf16, check);
    }
}

#[test]
fn sequences_alone_in_a_batch_and_in_bands_give_the_same_bits() {
    let mut random = Random::new(12);
    let (head_count, head_dim, hidden) = (2, 16, 32);
    let rope = RopeTable::new(2100, head_dim, 20000.0);
    let sequences = sequences(&[3, 2100, 40]);
    let qkv = random.normal(2143 * 3 * hidden);
    let positions = [Position::Rope(&rope), Position::Alibi(&[0.5, 0.01])];
    let precisions = [Precision::F32, Precision::Bf16];
    let positions = positions.iter().flat_map(|p| precisions.map(|precision| (*p, precision)));
    let cases = positions.flat_map(|(p, q)| Level::available().map(move |l| (p, q, l)));
    for (position, precision, level) in cases {
        let run = |count: usize, sequences: &[Range<usize>], qkv: &[f32]| {
            let threads = Threads::new(count).expect("threads start");
            let heads = Heads { sequences, heads: head_count, head_dim, position };
            let mut out = vec![f32::NAN; qkv.len() / 3];
            attention(&threads, level, precision, qkv, &heads, &mut out);
            out
        };
        let batch = run(3, &sequences, &qkv);
        assert_eq!(run(1, &sequences, &qkv), batch, "{level:?}");
        for sequence in &sequences {
            let alone = &qkv[sequence.start * 3 * hidden..sequence.end * 3 * hidden];
            let alone = run(2, std::slice::from_ref(&(0..sequence.len())), alone);
            let together = &batch[sequence.start * hidden..sequence.end * hidden];
            assert_eq!(alone, together, "{level:?}");
        }
    }
}
