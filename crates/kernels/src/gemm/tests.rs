use super::*;
use crate::isa::Level;
use crate::random::Random;

struct Case {
    x: Vec<f32>,
    weight: Vec<f32>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    lora: Option<LoraBank>,
    adapters: Vec<Option<usize>>,
    inputs: usize,
    outputs: usize,
}

impl Case {
    /// The row of W of an output.
    fn weights_of(&self, output: usize) -> &[f32] {
        &self.weight[output * self.inputs..][..self.inputs]
    }

    fn random(
        random: &mut Random,
        rows: usize,
        inputs: usize,
        outputs: usize,
        rank: usize,
    ) -> Self {
        const TASKS: usize = 3;
        let lora = (rank > 0).then(|| LoraBank {
            rank,
            down: random.normal(TASKS * rank * inputs),
            up: random.normal(TASKS * rank * outputs),
        });
        // Values that bf16 represents exactly, so that f32 and bf16 storage must agree with the
        // definition.
        let weight = random.normal(outputs * inputs);
        let weight = weight.iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect();
        Self {
            x: random.normal(rows * inputs),
            weight,
            scales: Vec::new(),
            bias: random.normal(outputs),
            lora,
            adapters: (0..rows).map(|_| random.below(TASKS + 1).checked_sub(1)).collect(),
            inputs,
            outputs,
        }
    }

    fn pack(&self, level: Level, storage: Storage, activation: Option<Activation>) -> Weights {
        let read = |row: usize, to: &mut [f32]| {
            to.copy_from_slice(&self.weight[row * self.inputs..][..self.inputs]);
        };
        let layer = Layer {
            rows: self.outputs,
            inputs: self.inputs,
            scales: self.scales.clone(),
            bias: self.bias.clone(),
            lora: self.lora.clone(),
            activation,
        };
        let threads = Threads::new(2).expect("threads start");
        Weights::pack(&threads, level, storage, layer, &read)
    }

    fn run(&self, threads: &Threads, weights: &Weights) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.adapters.len() * weights.outputs()];
        linear(threads, &self.x, weights, &self.adapters, &mut Workspace::default(), &mut out);
        out
    }

    /// The definition, in f64: `(value, sum of the magnitudes of all terms)` of each element.
    fn definition(&self, row: usize, output: usize) -> (f64, f64) {
        let x = &self.x[row * self.inputs..][..self.inputs];
        let w = &self.weight[output * self.inputs..][..self.inputs];
        let product = |a: &[f32], b: &[f32]| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).collect()
        };
        let mut terms = product(x, w);
        terms.push(f64::from(self.bias[output]));
        if let (Some(bank), Some(task)) = (&self.lora, self.adapters[row]) {
            for r in task * bank.rank..(task + 1) * bank.rank {
                let a = &bank.down[r * self.inputs..][..self.inputs];
                let up = f64::from(bank.up[r * self.outputs + output]);
                terms.extend(product(x, a).iter().map(|t| t * up));
            }
        }
        (terms.iter().sum(), terms.iter().map(|t| t.abs()).sum())
    }
}

#[test]
fn every_level_and_storage_follows_the_definition_at_every_edge() {
    let threads = Threads::new(2).expect("threads start");
    let mut random = Random::new(1);
    let shapes = [
        (1, 1, 1, 0),
        (1, 3, 5, 2),
        (2, 16, 16, 4),
        (5, 17, 15, 1),
        (6, 64, 17, 4),
        (7, 31, 33, 4),
        (12, 8, 100, 0),
        (13, 100, 7, 4),
        (61, 40, 48, 4),
        (400, 24, 31, 3),
        (3, 1030, 65, 4),
        (50, 1500, 40, 2),
    ];
    for (rows, inputs, outputs, rank) in shapes {
        let case = Case::random(&mut random, rows, inputs, outputs, rank);
        for level in Level::available() {
            for storage in [Storage::F32, Storage::Bf16, Storage::Bf16Dot] {
                let got = case.run(&threads, &case.pack(level, storage, None));
                for row in 0..rows {
                    for output in 0..outputs {
                        let (want, magnitude) = case.definition(row, output);
                        let error = (f64::from(got[row * outputs + output]) - want).abs();
                        // Summing n terms in f32 loses at most n · 2⁻²⁴ of their magnitude; most
                        // errors cancel, and the observed loss is far smaller. Inputs rounded to
                        // bf16 (8 bits) are off by at most 2⁻⁸ each, and LoRA is always in f32.
                        let rounding = if storage == Storage::Bf16Dot { 1.0 / 256.0 } else { 0.0 };
                        let bound = 1e-6 + rounding;
                        assert!(
                            error <= bound * magnitude,
                            "{level:?}, {storage:?}, {rows}x{inputs}x{outputs}, rank {rank}, at \
                             ({row}, {output}): {error:e} of {magnitude:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rows_alone_in_a_batch_and_on_any_number_of_threads_give_the_same_bits() {
    let mut random = Random::new(2);
    let (rows, inputs, outputs) = (77, 96, 130);
    let case = Case::random(&mut random, rows, inputs, outputs, 4);
    let storages = [Storage::F32, Storage::Bf16, Storage::Bf16Dot, Storage::Int8];
    let cases = storages.iter().flat_map(|s| Level::available().map(move |l| (*s, l)));
    for (storage, level) in cases {
        let weights = case.pack(level, storage, None);
        let batch = case.run(&Threads::new(1).expect("threads start"), &weights);
        let threads = Threads::new(3).expect("threads start");
        assert_eq!(case.run(&threads, &weights), batch, "{level:?}");
        for row in [0, 5, 6, 41, 76] {
            let alone = Case {
                x: case.x[row * inputs..][..inputs].to_vec(),
                adapters: vec![case.adapters[row]],
                weight: Vec::new(),
                scales: Vec::new(),
                bias: Vec::new(),
                lora: None,
                ..case
            };
            let alone = alone.run(&threads, &weights);
            assert_eq!(alone, batch[row * outputs..][..outputs], "{level:?}, row {row}");
        }
    }
}

#[test]
fn inputs_that_are_exact_in_bf16_are_multiplied_exactly() {
    let threads = Threads::new(2).expect("threads start");
    let mut random = Random::new(5);
    for inputs in [1, 2, 7, 64, 129] {
        let mut case = Case::random(&mut random, 13, inputs, 37, 0);
        // Small integers: every product and sum is exact in f32.
        let integer = |x: &mut f32| *x = (*x * 4.0).round().clamp(-8.0, 8.0);
        case.x.iter_mut().chain(&mut case.weight).chain(&mut case.bias).for_each(integer);
        for level in Level::available() {
            let got = case.run(&threads, &case.pack(level, Storage::Bf16Dot, None));
            let want = case.run(&threads, &case.pack(level, Storage::F32, None));
            assert_eq!(got, want, "{level:?}, {inputs} inputs");
        }
    }
}

/// Values as bytes in -127..=127, and their scale.
fn quantized(values: &[f32]) -> (Vec<i64>, f64) {
    let largest = values.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    (rounded(values, scale), f64::from(scale))
}

/// The same with 126 steps from the lowest to the highest of the values and 0.
fn quantized_to_seven_bits(values: &[f32]) -> (Vec<i64>, f64) {
    let highest = values.iter().copied().fold(0.0, f32::max);
    let lowest = values.iter().copied().fold(0.0, f32::min);
    let scale = if highest > lowest { (highest * 0.5 - lowest * 0.5) / 63.0 } else { 1.0 };
    let integers = rounded(values, scale);
    let zero = (-lowest * (1.0 / scale)).round_ties_even() as i64;
    assert!(integers.iter().all(|x| (0..128).contains(&(x + zero))));
    (integers, f64::from(scale))
}

fn rounded(values: &[f32], scale: f32) -> Vec<i64> {
    values.iter().map(|x| (x * (1.0 / scale)).round_ties_even() as i64).collect()
}

/// Checks a product of bytes at every level; `integers` are those of an output's weights, and their
/// scale.
fn assert_exact(threads: &Threads, case: &Case, integers: impl Fn(usize) -> (Vec<i64>, f64)) {
    let (inputs, outputs) = (case.inputs, case.outputs);
    for level in Level::available() {
        let row = if level.prefers_u7() { quantized_to_seven_bits } else { quantized };
        let got = case.run(threads, &case.pack(level, Storage::Int8, None));
        for (i, got) in got.chunks(outputs).enumerate() {
            let (x, x_scale) = row(&case.x[i * inputs..][..inputs]);
            for (output, &got) in got.iter().enumerate() {
                let (w, w_scale) = integers(output);
                let sum: i64 = x.iter().zip(&w).map(|(x, w)| x * w).sum();
                let bias = f64::from(case.bias[output]);
                let want = sum as f64 * x_scale * w_scale + bias;
                let error = (f64::from(got) - want).abs();
                assert!(
                    error <= 1e-6 * (want.abs() + bias.abs()),
                    "{level:?}, {}x{inputs}x{outputs} at ({i}, {output}): {error:e}",
                    case.x.len() / inputs
                );
            }
        }
    }
}

#[test]
fn bytes_are_multiplied_as_exact_integers() {
    let threads = Threads::new(2).expect("threads start");
    let mut random = Random::new(6);
    for (rows, inputs, outputs) in [(1, 1, 1), (7, 63, 33), (35, 64, 31), (8, 1030, 65)] {
        let mut case = Case::random(&mut random, rows, inputs, outputs, 0);
        // An outlier, rows of one sign, and a row and an output of zeros, which have no scale.
        case.x[0] = 40.0;
        case.x[rows / 2 * inputs..][..inputs].iter_mut().for_each(|x| *x = x.abs());
        case.x[rows / 3 * inputs..][..inputs].iter_mut().for_each(|x| *x = -x.abs());
        case.x[(rows - 1) * inputs..].fill(0.0);
        case.weight[(outputs - 1) * inputs..].fill(0.0);
        assert_exact(&threads, &case, |output| quantized(case.weights_of(output)));
    }
}

#[test]
fn integers_with_scales_of_their_own_are_multiplied_as_they_are() {
    let threads = Threads::new(2).expect("threads start");
    let mut random = Random::new(7);
    for (rows, inputs, outputs) in [(1, 1, 1), (7, 63, 33), (35, 64, 32), (3, 1030, 66)] {
        let mut case = Case::random(&mut random, rows, inputs, outputs, 0);
        // Every byte occurs, and no row needs its largest: rounding again would change them.
        let integers = (0..outputs * inputs).map(|_| random.below(256) as f32 - 128.0);
        case.weight = integers.collect();
        case.scales = random.normal(outputs);
        case.scales[outputs - 1] = 0.0;
        assert_exact(&threads, &case, |output| {
            let integers = case.weights_of(output).iter().map(|w| *w as i64);
            (integers.collect(), f64::from(case.scales[output]))
        });
    }
}

#[test]
fn tiny_and_huge_values_have_finite_products_of_bytes() {
    let threads = Threads::new(1).expect("threads start");
    for magnitude in [1e-45, 1e-40, 1e-37, 1e30, f32::MAX] {
        let mut case = Case::random(&mut Random::new(7), 2, 64, 3, 0);
        case.x.iter_mut().for_each(|x| *x = x.signum() * magnitude);
        case.weight.fill(1e-3);
        for level in Level::available() {
            let got = case.run(&threads, &case.pack(level, Storage::Int8, None));
            assert!(got.iter().all(|x| x.is_finite()), "{level:?}, {magnitude:e}: {got:?}");
        }
    }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[test]
fn activations_are_applied_to_the_finished_sums() {
    let threads = Threads::new(2).expect("threads start");
    let mut random = Random::new(3);
    // Widths around the lanes of every level, so that gate and value meet at every edge of a panel.
    for outputs in [2, 6, 14, 16, 18, 30, 32, 34, 64, 130] {
        let case = Case::random(&mut random, 9, 20, outputs, 2);
        for level in Level::available() {
            let run = |activation| case.run(&threads, &case.pack(level, Storage::F32, activation));
            let plain: Vec<f64> = run(None).iter().map(|&x| f64::from(x)).collect();
            let check = |activation, want: Vec<f64>| {
                let got = run(Some(activation));
                assert_eq!(got.len(), want.len());
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let error = (f64::from(*got) - want).abs();
                    // GELU is off by up to 2.4e-7 of its argument; values reach 60.
                    let bound = 4e-7 * want.abs().max(60.0);
                    assert!(error < bound, "{activation:?}, {level:?}, {outputs}, {i}: {error:e}");
                }
            };
            let gated = |gate: fn(f64) -> f64| {
                let rows = plain.chunks_exact(outputs).map(|row| row.split_at(outputs / 2));
                let products = rows.flat_map(|(gates, values)| {
                    gates.iter().zip(values).map(move |(g, v)| gate(*g) * v)
                });
                products.collect()
            };
            check(Activation::Gelu, plain.iter().map(|&x| gelu(x)).collect());
            check(Activation::GeGlu, gated(gelu));
            check(Activation::ReGlu, gated(|x| x.max(0.0)));
        }
    }
}

#[test]
fn an_empty_batch_has_no_output() {
    let threads = Threads::new(2).expect("threads start");
    let case = Case::random(&mut Random::new(4), 0, 8, 8, 2);
    assert!(case.run(&threads, &case.pack(Level::best(), Storage::F32, None)).is_empty());
}
