use super::*;
use crate::{Batch, Device, load};
use kokeshi_kernels::random::Random;
use kokeshi_testkit::{fixture, unit_rows};
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// The definition of eight bits, in f64: the scale as an f32, and integers from -127 to 127.
fn define_bytes(weights: &[f32]) -> Vec<f64> {
    let largest = weights.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let scale = f64::from((largest / 127.0) as f32);
    let nearest =
        |x: &f32| if scale > 0.0 { (f64::from(*x) / scale).round_ties_even() } else { 0.0 };
    weights.iter().map(|x| nearest(x) * scale).collect()
}

/// The squared error of the best group of four bits, by trying every scale that f16 has around
/// those that can be best.
fn best_error(weights: &[f32]) -> f64 {
    let largest = weights.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let scales = (0..400).map(|i| largest / 12.0 + largest / 8.0 * f64::from(i) / 400.0);
    let error = |scale: f64| -> f64 {
        let nearest = |x: f64| (x / scale).round_ties_even().clamp(-8.0, 7.0) * scale;
        weights.iter().map(|x| f64::from(*x)).map(|x| (x - nearest(x)).powi(2)).sum()
    };
    scales.flat_map(|scale| [scale, -scale]).map(error).fold(f64::INFINITY, f64::min)
}

#[test]
fn eight_bits_follow_the_definition() {
    let mut random = Random::new(1);
    for len in [1, 2, 7, 64, 1000] {
        for size in [1e-30_f32, 1e-3, 1.0, 1e30] {
            let weights: Vec<f32> = random.normal(len).iter().map(|x| x * size).collect();
            let (scale, integers) = bytes(&weights);
            let values: Vec<f64> =
                integers.iter().map(|x| f64::from(*x) * f64::from(scale)).collect();
            assert_eq!(values, define_bytes(&weights));
            assert!(integers.iter().any(|x| x.abs() == 127), "the whole range is used");
        }
    }
    assert_eq!(bytes(&[0.0, -0.0]), (0.0, vec![0, 0]));
}

#[test]
fn four_bits_are_nearly_as_good_as_the_best_scale() {
    let mut random = Random::new(2);
    let (mut ours, mut best, mut plain) = (0.0, 0.0, 0.0);
    for _ in 0..500 {
        let weights = random.normal(32);
        let error = |scale: f64, integers: &[i8]| -> f64 {
            let error = |(x, i): (&f32, &i8)| (f64::from(*x) - f64::from(*i) * scale).powi(2);
            weights.iter().zip(integers).map(error).sum()
        };
        let (scale, quantized) = nibbles(&weights);
        ours += error(scale.to_f64(), &quantized);
        best += best_error(&weights);
        let largest = weights.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
        plain += error(largest / 7.0, &integers(&weights, largest / 7.0, [-8.0, 7.0]));
    }
    println!(
        "squared errors: {ours:.1}, the best {best:.1}, with a scale of largest / 7 {plain:.1}"
    );
    assert!(ours < 1.06 * best && ours < 0.9 * plain);
    assert_eq!(nibbles(&[0.0; 8]), (f16::ZERO, vec![0; 8]));
}

const FIXTURES: [&str; 8] = [
    "v3-tiny/original",
    "v3-tiny/original_f32",
    "v3-head64/original",
    "v3-tiny/native",
    "v2-tiny/std_wordpiece",
    "v2-tiny/std_zh_f16",
    "v2-tiny/code_bpe",
    "v2-tiny/code_reglu_bf16",
];

/// A quantized fixture in a folder.
fn quantized(name: &str, table_bits: TableBits) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let checkpoint = Checkpoint::open(&fixture(name)).expect("the fixture opens");
    let mut last = (0, 1);
    quantize(&checkpoint, folder.path(), table_bits, &mut |written, total| last = (written, total))
        .expect("it is quantized");
    assert_eq!(last.0, last.1, "progress reaches the end");
    folder
}

/// The tensors of a weight file: dtype, shape, bytes.
fn tensors(folder: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(folder.join("model.safetensors")).expect("the weights");
    let file = SafeTensors::deserialize(&bytes).expect("a valid file");
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.iter().map(tensor).collect()
}

/// Every quantized weight, read again, is the definition's; everything else has the same bytes.
#[test]
fn what_is_read_again_follows_the_definition() {
    for name in FIXTURES {
        for table_bits in [TableBits::Four, TableBits::Eight] {
            let source = Checkpoint::open(&fixture(name)).expect("the fixture opens");
            let folder = quantized(name, table_bits);
            let written = tensors(folder.path());
            let target = Checkpoint::open(folder.path()).expect("it opens");
            let mut named = crate::named::NamedTensors::new(
                folder.path(),
                &target.tensors,
                crate::names::canonical,
            )
            .expect("names");
            let mut count = 0;
            for tensor in &source.tensors {
                let canonical = canonical(&tensor.name);
                let Some(kind) = names::quantizable(&canonical) else {
                    let kept = written.get(&*tensor.name).map(|(_, _, bytes)| &bytes[..]);
                    let want = (!is_head(&canonical)).then(|| tensor.bytes_from(0));
                    assert_eq!(kept, want, "{name}: {}", tensor.name);
                    continue;
                };
                count += 1;
                let [rows, columns] = tensor.shape[..] else { panic!("a matrix") };
                let module = canonical.strip_suffix(".weight").expect("a weight");
                let stored = named.take_matrix(module, [rows, columns]).expect("a matrix");
                let four = kind == Modules::Embedding && table_bits == TableBits::Four;
                for row in 0..rows {
                    let (mut weights, mut got) = (vec![0.0; columns], vec![0.0; columns]);
                    tensor.read(row * columns, 1, &mut weights);
                    stored.read_row(row, &mut got);
                    let want: Vec<f32> = match four {
                        false => define_bytes(&weights).iter().map(|x| *x as f32).collect(),
                        true => weights.chunks(group(columns)).flat_map(define_nibbles).collect(),
                    };
                    assert_eq!(got, want, "{name}: row {row} of {}", tensor.name);
                }
            }
            assert!(count > 4 * source.config.layers, "{name}: {count} weights");
        }
    }
}

/// A group in four bits by the definition: the scale of the smallest error, in f64.
fn define_nibbles(weights: &[f32]) -> Vec<f32> {
    let mut largest = 0.0_f64;
    for weight in weights {
        if f64::from(weight.abs()) >= largest.abs() {
            largest = f64::from(*weight);
        }
    }
    let (mut best, mut best_error) = (Vec::new(), f64::INFINITY);
    for divisor in DIVISORS {
        let scale = f16::from_f64(largest / divisor).to_f64();
        let nearest = |x: &f32| match scale {
            0.0 => 0.0,
            _ => (f64::from(*x) / scale).round_ties_even().clamp(-8.0, 7.0) * scale,
        };
        let values: Vec<f64> = weights.iter().map(nearest).collect();
        let error = weights.iter().zip(&values).map(|(x, y)| (f64::from(*x) - y).powi(2)).sum();
        if error < best_error {
            (best, best_error) = (values, error);
        }
    }
    best.iter().map(|x| *x as f32).collect()
}

/// The mean states of a few sequences with every task, of unit length.
fn vectors(checkpoint: &Checkpoint) -> Vec<f32> {
    let encoder = load(checkpoint, &Device::Reference).expect("it loads");
    let mut batch = Batch::new();
    for task in 0..=checkpoint.config.tasks.len() {
        let ids: Vec<u32> = (0..20).map(|token| (4 + 31 * token + task as u32) % 100).collect();
        batch.push(&ids, task.checked_sub(1));
    }
    let sequences: Vec<_> = batch.sequences().collect();
    unit_rows(&encoder.pool(&batch, &sequences).expect("sums"), encoder.config().hidden)
}

#[test]
fn a_quantized_checkpoint_has_the_layout_of_its_source_and_nearly_its_vectors() {
    for name in FIXTURES {
        let source = Checkpoint::open(&fixture(name)).expect("the fixture opens");
        let want = vectors(&source);
        for (table_bits, least) in [(TableBits::Eight, 0.9995), (TableBits::Four, 0.98)] {
            let folder = quantized(name, table_bits);
            let target = Checkpoint::open(folder.path()).expect("it opens");
            assert!(target.is_quantized());
            assert_eq!((target.layout(), &target.config), (source.layout(), &source.config));
            let got = vectors(&target);
            let rows = got.chunks(target.config.hidden).zip(want.chunks(target.config.hidden));
            let cosines = rows.map(|(a, b)| kokeshi_kernels::cosine(a, b));
            let worst = cosines.fold(1.0_f32, f32::min);
            println!("{name}, {table_bits:?}: {worst:.5}");
            assert!(worst > least, "{name}, {table_bits:?}: {worst}");
        }
    }
}

#[test]
fn a_quantized_checkpoint_is_not_quantized_again() {
    let folder = quantized("v3-tiny/original", TableBits::Eight);
    let checkpoint = Checkpoint::open(folder.path()).expect("it opens");
    let to = tempfile::tempdir().expect("a temporary folder");
    let error = quantize(&checkpoint, to.path(), TableBits::Four, &mut |_, _| {});
    let error = error.expect_err("integers").to_string();
    assert!(error.contains("is quantized already"), "{error}");
    assert_eq!(fs::read_dir(to.path()).expect("a folder").count(), 0);
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = fixture("v3-tiny/original_f32");
    fs::copy(from.join("config.json"), folder.path().join("config.json")).expect("a copy");
    let mut bytes = fs::read(from.join("model.safetensors")).expect("the weights");
    let checkpoint = Checkpoint::open(&from).expect("the fixture opens");
    let is_fc2 = |tensor: &&Tensor| canonical(&tensor.name) == "encoder.layers.2.mlp.fc2.weight";
    let tensor = checkpoint.tensors.iter().find(is_fc2).expect("the tensor");
    let at = tensor.range.start + 4 * (5 * 128 + 7);
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(folder.path().join("model.safetensors"), bytes).expect("a file");
    let checkpoint = Checkpoint::open(folder.path()).expect("it opens");
    let error = quantize(&checkpoint, folder.path(), TableBits::Eight, &mut |_, _| {});
    let error = error.expect_err("a NaN").to_string();
    assert!(error.contains("row 5 is not finite") && error.contains("fc2"), "{error}");
}
