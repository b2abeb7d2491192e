use crate::{check, gpus, round, take, values, write};
use kokeshi_cuda::{Layer, Norm};
use kokeshi_testkit::Random;

#[test]
fn a_linear_layer_adds_each_rows_own_low_rank_update() {
    for gpu in gpus() {
        let mut random = Random::new(3);
        let (rows, inputs, outputs, rank, tasks, tail) = (45, 64, 136, 4, 5, 32);
        let x = values(&mut random, gpu.dtype(), rows * inputs);
        let w: Vec<f32> = values(&mut random, gpu.dtype(), outputs * inputs);
        let bias = values(&mut random, gpu.dtype(), outputs);
        let a = values(&mut random, gpu.dtype(), tasks * rank * inputs);
        let b = values(&mut random, gpu.dtype(), tasks * rank * outputs);
        let adapters: Vec<_> = (0..rows).map(|i| (i / 4 % 6).checked_sub(1)).collect();
        let batch = gpu
            .pack_batch(&vec![0; rows], &adapters, std::slice::from_ref(&(0..rows)), 64)
            .expect("a batch");
        let layer = Layer { outputs, inputs, bias: &bias, down: &a, up: &b, rank };
        assert_eq!(layer.tail(), tail);
        let mut read =
            |row: usize, to: &mut [f32]| to.copy_from_slice(&w[row * inputs..][..inputs]);
        let linear = gpu.linear(&layer, &mut read).expect("a layer");
        let states = write(&gpu, &x, inputs, tail);
        let mut out = take(&gpu, rows, outputs, 8);
        gpu.project(&states, &batch, &linear, &mut out).expect("a product");
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
                    let down = round(gpu.dtype(), dot(row, &a[slot * inputs..][..inputs]) as f32);
                    sum += f64::from(down) * f64::from(b[slot * outputs + o]);
                }
                want.push(sum);
            }
        }
        check(&gpu, "linear", &gpu.read(&out).expect("states"), &want, 2.0);
    }
}

#[test]
fn a_row_has_the_same_bits_in_a_batch_of_any_size() {
    for gpu in gpus() {
        let (inputs, outputs) = (1056, 1024);
        let mut random = Random::new(7);
        let x = values(&mut random, gpu.dtype(), 1000 * inputs);
        let mut fill = |_: usize, row: &mut [f32]| row.fill_with(|| random.signed_unit());
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

/// Tails that operations compute along with their results, against those of a kernel of their own.
#[test]
fn a_fused_tail_agrees_with_a_separate_one() {
    for gpu in gpus() {
        let mut random = Random::new(8);
        let (rows, width, outputs, rank, tasks) = (203, 1024, 64, 4, 5);
        let x = values(&mut random, gpu.dtype(), rows * width);
        let down = values(&mut random, gpu.dtype(), tasks * rank * width);
        let up = values(&mut random, gpu.dtype(), tasks * rank * outputs);
        let layer = Layer { outputs, inputs: width, bias: &[], down: &down, up: &up, rank };
        let linear = gpu.linear(&layer, &mut |_, row| row.fill(0.0)).expect("a layer");
        let adapters: Vec<_> = (0..rows).map(|i| (i / 7 % 6).checked_sub(1)).collect();
        let batch = gpu
            .pack_batch(&vec![0; rows], &adapters, std::slice::from_ref(&(0..rows)), 64)
            .expect("a batch");
        let ones = gpu.upload(&vec![1.0_f32; width]).expect("ones");
        let norm =
            Norm { gain: ones, bias: gpu.zeros(width * 4).expect("zeros"), eps: 1e-5, width };
        let result = |norms: bool, fused: bool| {
            let mut x = write(&gpu, &x, width, layer.tail());
            let next = fused.then_some((&linear, &batch));
            if norms {
                gpu.add_norm(&mut x, 0, None, &norm, next).expect("a norm");
            } else {
                gpu.gelu(&mut x, next).expect("gelu");
            }
            let mut out = take(&gpu, rows, outputs, 0);
            gpu.project(&x, &batch, &linear, &mut out).expect("a product");
            let want: Vec<f64> =
                gpu.read(&out).expect("states").into_iter().map(f64::from).collect();
            (gpu.read(&out).expect("states"), want)
        };
        for norms in [true, false] {
            let ((alone, want), (fused, _)) = (result(norms, false), result(norms, true));
            assert!(alone.iter().any(|x| x.abs() > 1.0), "the updates have an effect");
            check(&gpu, "a fused tail", &fused, &want, 4.0);
        }
    }
}
