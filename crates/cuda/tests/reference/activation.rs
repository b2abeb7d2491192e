use crate::{check, gpus, round, take, values, write};
use kokeshi_cuda::{DType, Gate};
use kokeshi_testkit::Random;

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

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2_f64.sqrt()))
}

#[test]
fn activations_follow_their_definitions() {
    for gpu in gpus() {
        let (rows, width) = (19, 72);
        let x = values(&mut Random::new(4), DType::F32, rows * 2 * width);
        let x: Vec<f32> = x.iter().map(|x| round(gpu.dtype(), x * 6.0)).collect();
        let mut states = write(&gpu, &x, 2 * width, 16);
        gpu.gelu(&mut states, None).expect("gelu");
        let want: Vec<f64> = x.iter().map(|x| gelu(f64::from(*x))).collect();
        check(&gpu, "gelu", &gpu.read(&states).expect("states"), &want, 1.0);
        for gate in [Gate::GeGlu, Gate::ReGlu] {
            let function = |x: f64| match gate {
                Gate::GeGlu => gelu(x),
                Gate::ReGlu => x.max(0.0),
            };
            let (states, mut out) = (write(&gpu, &x, 2 * width, 0), take(&gpu, rows, width, 24));
            gpu.gate(gate, &states, &mut out).expect("a gate");
            let row = |row: &[f32]| -> Vec<f64> {
                let (gates, values) = row.split_at(width);
                gates
                    .iter()
                    .zip(values)
                    .map(|(g, v)| function(f64::from(*g)) * f64::from(*v))
                    .collect()
            };
            let want: Vec<f64> = x.chunks_exact(2 * width).flat_map(row).collect();
            check(&gpu, &format!("{gate:?}"), &gpu.read(&out).expect("states"), &want, 1.0);
        }
    }
}
