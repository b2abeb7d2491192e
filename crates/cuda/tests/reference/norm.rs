use crate::{check, gpus, values, write};
use kokeshi_cuda::{DType, Norm};
use kokeshi_testkit::Random;

#[test]
fn layer_norm_follows_its_definition_in_every_part_of_a_row() {
    for gpu in gpus() {
        for (width, parts) in [(64, 3), (768, 1), (1024, 1), (1032, 2), (2048, 1)] {
            let mut random = Random::new(2);
            let rows = 37;
            let x = values(&mut random, gpu.dtype(), rows * width * parts);
            let residual = values(&mut random, gpu.dtype(), rows * width * parts);
            let (gain, bias) =
                (values(&mut random, DType::F32, width), values(&mut random, DType::F32, width));
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
