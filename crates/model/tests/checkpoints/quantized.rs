//! Checkpoints of integers with scales: every form has the states of the matrices that it stands
//! for, which this file computes in f64 by the definition, on every device.

use crate::files::{Raw, Tensors, changed, error, load_from, read};
use kokeshi_model::{Batch, Checkpoint, Device, Forward, Level, Precision, load};
use kokeshi_testkit::{assert_close, fixture, unit_rows};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use std::fs;
use std::ops::Range;
use tempfile::TempDir;

/// How weights are quantized.
#[derive(Clone, Copy, Debug)]
struct Form {
    bits: usize,
    is_packed: bool,
    /// Columns that share a scale; 0 if whole rows do.
    group: usize,
    scale: Dtype,
    /// The largest magnitude of an integer.
    largest: i64,
}

const ROWS: Form = Form { bits: 8, is_packed: false, group: 0, scale: Dtype::F32, largest: 128 };
const NIBBLES: Form = Form { bits: 4, is_packed: true, group: 8, scale: Dtype::F16, largest: 8 };

/// Forms of linear layers and of the embedding table.
fn forms() -> [[Form; 2]; 4] {
    [
        [ROWS, NIBBLES],
        [Form { scale: Dtype::BF16, ..NIBBLES }, ROWS],
        [Form { bits: 8, largest: 128, group: 8, ..NIBBLES }, Form { group: 0, ..NIBBLES }],
        [Form { group: 8, scale: Dtype::F16, ..ROWS }, Form { bits: 8, largest: 128, ..NIBBLES }],
    ]
}

fn floats(raw: &Raw) -> Vec<f64> {
    let words = |x: &[u8; 2]| u16::from_le_bytes(*x);
    match raw.dtype {
        Dtype::F32 => {
            let (elements, _) = raw.data.as_chunks::<4>();
            elements.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect()
        }
        Dtype::F16 => {
            let (elements, _) = raw.data.as_chunks::<2>();
            elements.iter().map(|x| half::f16::from_bits(words(x)).to_f64()).collect()
        }
        _ => {
            let (elements, _) = raw.data.as_chunks::<2>();
            elements.iter().map(|x| half::bf16::from_bits(words(x)).to_f64()).collect()
        }
    }
}

/// A scale as the file stores it, and its value.
fn stored(scale: f64, dtype: Dtype) -> (Vec<u8>, f64) {
    match dtype {
        Dtype::F32 => ((scale as f32).to_le_bytes().to_vec(), f64::from(scale as f32)),
        Dtype::F16 => {
            let scale = half::f16::from_f64(scale);
            (scale.to_le_bytes().to_vec(), scale.to_f64())
        }
        _ => {
            let scale = half::bf16::from_f64(scale);
            (scale.to_le_bytes().to_vec(), scale.to_f64())
        }
    }
}

/// A matrix in a form: its parts by their names, and the matrix that they stand for, in F32.
fn quantized(raw: &Raw, form: Form) -> (Vec<(&'static str, Raw)>, Raw) {
    let [rows, columns] = raw.shape[..] else { panic!("a matrix: {:?}", raw.shape) };
    let group = if form.group == 0 { columns } else { form.group };
    let (mut integers, mut scales, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for weights in floats(raw).chunks(group) {
        // The largest magnitude becomes −largest, so that scales have both signs.
        let by_magnitude = |a: &&f64, b: &&f64| a.abs().total_cmp(&b.abs());
        let largest = *weights.iter().max_by(by_magnitude).expect("a weight");
        let (bytes, scale) = stored(-largest / form.largest as f64, form.scale);
        scales.extend(bytes);
        for weight in weights {
            let integer = (weight / scale).round_ties_even() as i64;
            let integer = integer.clamp(-form.largest, form.largest - 1);
            integers.push(integer);
            values.extend(((integer as f64 * scale) as f32).to_le_bytes());
        }
    }
    let scale_shape = if form.group == 0 { vec![rows] } else { vec![rows, columns / group] };
    let scales = Raw { dtype: form.scale, shape: scale_shape, data: scales };
    let mut parts = vec![("weight_scale", scales)];
    if form.is_packed {
        let per_word = 32 / form.bits;
        let word = |integers: &[i64]| {
            let offset =
                |(i, x): (usize, &i64)| ((x + (1 << (form.bits - 1))) as u32) << (i * form.bits);
            integers.iter().enumerate().map(offset).sum::<u32>().to_le_bytes()
        };
        let data = integers.chunks(columns).flat_map(|row| row.chunks(per_word).flat_map(word));
        let shape = vec![rows, columns.div_ceil(per_word)];
        parts.push(("weight_packed", Raw { dtype: Dtype::I32, shape, data: data.collect() }));
        let data = [rows, columns].iter().flat_map(|&size| (size as i64).to_le_bytes()).collect();
        parts.push(("weight_shape", Raw { dtype: Dtype::I64, shape: vec![2], data }));
    } else {
        let data = integers.iter().map(|&x| (x as i8).cast_unsigned()).collect();
        parts.push(("weight", Raw { dtype: Dtype::I8, shape: vec![rows, columns], data }));
    }
    (parts, Raw { dtype: Dtype::F32, shape: vec![rows, columns], data: values })
}

/// The module of a weight that is quantized, and whether it is the embedding table.
fn module(name: &str, raw: &Raw) -> Option<(String, bool)> {
    let module = name.strip_suffix(".parametrizations.weight.original");
    let module = module.or_else(|| name.strip_suffix(".weight"))?;
    let skipped = ["pooler", "token_type", "norm", "Norm", "emb_ln"];
    let is_weight = raw.shape.len() == 2 && !skipped.iter().any(|part| module.contains(part));
    is_weight.then(|| (module.to_owned(), module.contains("word_embeddings")))
}

/// A fixture with its weights quantized, and one with the matrices that these stand for.
fn pair(layout: &str, [linear, table]: [Form; 2]) -> [TempDir; 2] {
    let original = read(&fixture(layout).join("model.safetensors"));
    let (mut integers, mut widened) = (Tensors::new(), Tensors::new());
    for (name, raw) in original {
        let Some((module, is_table)) = module(&name, &raw) else {
            integers.insert(name.clone(), raw.clone());
            widened.insert(name, raw);
            continue;
        };
        let (parts, values) = quantized(&raw, if is_table { table } else { linear });
        widened.insert(name, values);
        integers.extend(parts.into_iter().map(|(part, raw)| (format!("{module}.{part}"), raw)));
    }
    [integers, widened].map(|tensors| changed(layout, |to| *to = tensors))
}

fn open(folder: &TempDir, device: Device) -> Box<dyn Forward> {
    let checkpoint = Checkpoint::open(folder.path()).expect("it opens");
    load(&checkpoint, &device).expect("it loads")
}

fn cpu(level: Option<Level>, precision: Precision) -> Device {
    Device::Cpu { threads: Some(2), level, precision: Some(precision) }
}

/// Every device that computes in f32.
fn devices() -> Vec<Device> {
    let cpus = Level::available().map(|level| cpu(Some(level), Precision::F32));
    cpus.chain([Device::Reference]).chain(card()).collect()
}

/// The first card, if there is one.
#[cfg(feature = "cuda")]
fn card() -> Option<Device> {
    let cards = kokeshi_model::cards().ok();
    cards.map(|_| Device::Cuda { ordinal: 0, precision: Some(Precision::F32) })
}

#[cfg(not(feature = "cuda"))]
fn card() -> Option<Device> {
    None
}

/// Sequences of several lengths, with every task in turn.
fn batch(tasks: usize) -> Batch {
    let mut batch = Batch::new();
    for (i, len) in [1, 3, 17, 40, 9, 2].into_iter().enumerate() {
        let ids: Vec<u32> = (0..len).map(|token| 4 + token * 31 % 90).collect();
        batch.push(&ids, (i % (tasks + 1)).checked_sub(1));
    }
    batch
}

/// The mean state of each sequence, of unit length.
fn vectors(encoder: &dyn Forward) -> Vec<f32> {
    let batch = batch(encoder.config().tasks.len());
    let sequences: Vec<Range<usize>> = batch.sequences().collect();
    unit_rows(&encoder.pool(&batch, &sequences).expect("sums"), encoder.config().hidden)
}

const LAYOUTS: [&str; 5] = [
    "v3-tiny/original",
    "v3-tiny/native",
    "v3-tiny/native_split",
    "v2-tiny/std_wordpiece",
    "v2-tiny/code_reglu_bf16",
];

#[test]
fn every_form_has_the_vectors_of_the_weights_that_it_stands_for() {
    for layout in LAYOUTS {
        for forms in forms() {
            let [integers, widened] = pair(layout, forms);
            let want = vectors(&*open(&widened, Device::Reference));
            for device in devices() {
                let got = vectors(&*open(&integers, device));
                let case = format!("{layout}, {forms:?}, {device:?}");
                let exact = device == Device::Reference;
                assert_close(&case, &got, &want, if exact { 0.0 } else { 3e-6 });
            }
        }
    }
}

#[test]
fn other_precisions_stay_close() {
    for layout in LAYOUTS {
        let [integers, widened] = pair(layout, forms()[0]);
        let want = vectors(&*open(&widened, Device::Reference));
        for level in Level::available() {
            for (precision, tolerance) in [(Precision::Bf16, 5e-3), (Precision::Int8, 2e-2)] {
                let got = vectors(&*open(&integers, cpu(Some(level), precision)));
                assert_close(&format!("{layout}, {level:?}, {precision}"), &got, &want, tolerance);
            }
        }
    }
}

#[test]
fn integers_of_a_file_are_not_rounded_again_for_eight_bit_kernels() {
    for layout in ["v3-tiny/original", "v3-tiny/native_split", "v2-tiny/std_wordpiece"] {
        // So few values that rounding them to another scale moves them. At this level rows have eight
        // bits; with seven, their own rounding hides the difference.
        let coarse = Form { largest: 3, ..ROWS };
        let [integers, widened] = pair(layout, [coarse, ROWS]);
        let want = vectors(&*open(&widened, Device::Reference));
        let off = |folder| {
            let got = vectors(&*open(folder, cpu(Some(Level::Portable), Precision::Int8)));
            got.iter().zip(&want).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
        };
        let (kept, rounded) = (off(&integers), off(&widened));
        println!("{layout}: off by {kept:e}, rounded again by {rounded:e}");
        assert!(kept < 0.9 * rounded, "{layout}: off by {kept:e}, rounded again by {rounded:e}");
    }
}

#[test]
fn a_quantized_checkpoint_computes_in_bf16_by_default_where_that_is_fast() {
    let [integers, _] = pair("v3-tiny/original", [ROWS, NIBBLES]);
    let checkpoint = Checkpoint::open(integers.path()).expect("it opens");
    assert!(checkpoint.is_quantized() && !checkpoint.is_bf16());
    for level in Level::available() {
        let fast = if level.has_bf16_dot() { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(kokeshi_model::default_precision(&checkpoint, level), fast);
    }
}

/// The tasks of v3 without adapters: with plain names, as other programs write them, and with those
/// of the original layout.
#[test]
fn tasks_without_adapters_are_known_and_change_nothing() {
    for plain_names in [true, false] {
        let folder = changed("v3-tiny/original", |tensors| {
            tensors.retain(|name, _| !name.contains("lora_"));
            if plain_names {
                let plain = std::mem::take(tensors).into_iter();
                *tensors = plain
                    .map(|(name, raw)| {
                        (name.replace(".parametrizations.weight.original", ".weight"), raw)
                    })
                    .collect();
            }
        });
        configure(&folder, "lora_rank", json!(0));
        configure(&folder, "task_instructions", json!({ "separation": "apart: " }));
        let checkpoint = Checkpoint::open(folder.path()).expect("it opens");
        let tasks = &checkpoint.config().tasks;
        assert_eq!((tasks.len(), tasks[2].instruction.as_str()), (5, "apart: "));
        assert!(!checkpoint.has_adapters());
        for device in devices() {
            let encoder = open(&folder, device);
            let states = |adapter| {
                let mut batch = Batch::new();
                batch.push(&[0, 36, 99, 2], adapter);
                encoder.hidden_states(&batch).expect("states")
            };
            assert_eq!(states(Some(4)), states(None), "{device:?}");
        }
    }
}

fn configure(folder: &TempDir, key: &str, value: Value) {
    let path = folder.path().join("config.json");
    let json = fs::read(&path).expect("the config");
    let mut config: Value = serde_json::from_slice(&json).expect("JSON");
    config[key] = value;
    fs::write(&path, config.to_string()).expect("a config");
}

/// `quantization_config` of linear layers and the table.
fn quantization(linear: &Value, table: &Value) -> Value {
    json!({
        "quant_method": "compressed-tensors", "format": "mixed-precision",
        "config_groups": {
            "group_0": { "targets": ["Linear"], "weights": linear, "format": "int-quantized" },
            "group_1": { "targets": ["Embedding"], "weights": table, "format": "pack-quantized" },
        },
    })
}

#[test]
fn a_configuration_must_describe_the_tensors() {
    let [folder, _] = pair("v3-tiny/original", [ROWS, NIBBLES]);
    let rows = json!({ "num_bits": 8, "strategy": "channel" });
    let nibbles = json!({ "num_bits": 4, "strategy": "group", "group_size": 8 });
    configure(&folder, "quantization_config", quantization(&rows, &nibbles));
    assert!(load_from(folder.path()).is_ok(), "what the file contains");

    let wide = json!({ "num_bits": 4, "strategy": "group", "group_size": 32 });
    configure(&folder, "quantization_config", quantization(&rows, &wide));
    let message = error(&folder);
    let found = "4 bits (packed) with a scale per 8 columns is not what `quantization_config`";
    assert!(message.contains("word_embeddings.weight_packed` of "), "{message}");
    assert!(message.contains(found), "{message}");

    configure(&folder, "quantization_config", quantization(&nibbles, &rows));
    assert!(error(&folder).contains("not what `quantization_config` describes"));

    configure(&folder, "quantization_config", json!({ "quant_method": "gptq", "bits": 4 }));
    let message = error(&folder);
    assert!(message.contains("`quant_method` is \"gptq\""), "{message}");

    let floats = changed("v3-tiny/original", |_| {});
    configure(&floats, "quantization_config", quantization(&rows, &nibbles));
    let message = error(&floats);
    let missing = "describes weights of 8 bits with a scale per row, but the checkpoint has none";
    assert!(message.contains(missing), "{message}");
}

const FC1: &str = "roberta.encoder.layers.1.mlp.fc1";
const WORD: &str = "roberta.embeddings.word_embeddings";

/// The error of a quantized checkpoint with one part changed.
#[track_caller]
fn damaged(part: &str, change: impl FnOnce(&mut Raw)) -> String {
    let [folder, _] = pair("v3-tiny/original", [ROWS, NIBBLES]);
    let path = folder.path().join("model.safetensors");
    let mut tensors = read(&path);
    change(tensors.get_mut(part).expect("the part"));
    crate::files::write(&path, &tensors);
    let error = error(&folder);
    assert!(error.contains(part), "{error}");
    error
}

/// Keeps the first rows or columns of a tensor.
fn cut(raw: &mut Raw, shape: &[usize]) {
    let bytes = raw.dtype.bitsize() / 8;
    raw.shape = shape.to_vec();
    raw.data.truncate(shape.iter().product::<usize>() * bytes);
}

#[test]
fn damaged_parts_are_named_with_what_is_wrong() {
    let (scale, word_scale) = (format!("{FC1}.weight_scale"), format!("{WORD}.weight_scale"));
    let (packed, shape) = (format!("{WORD}.weight_packed"), format!("{WORD}.weight_shape"));
    let weight = format!("{FC1}.weight");

    let message = damaged(&scale, |raw| cut(raw, &[127]));
    assert!(message.contains("[127], expected [128, 1]"), "{message}");
    let message = damaged(&word_scale, |raw| cut(raw, &[614, 4]));
    assert!(message.contains("[614, 4], expected [615, 1]"), "{message}");
    let message = damaged(&word_scale, |raw| cut(raw, &[615, 3]));
    assert!(message.contains("3 scales do not divide the 64 columns of a row"), "{message}");
    let message = damaged(&word_scale, |raw| cut(raw, &[615, 0]));
    assert!(message.contains("[615, 0], expected [615, 1]"), "{message}");
    let message = damaged(&packed, |raw| cut(raw, &[615, 7]));
    assert!(message.contains("[615, 7], expected [615, 8]"), "{message}");
    let message = damaged(&weight, |raw| cut(raw, &[128, 63]));
    assert!(message.contains("[128, 63], expected [128, 64]"), "{message}");
    let message = damaged(&shape, |raw| raw.data[0] ^= 1);
    assert!(message.contains("it contains [614, 64], expected [615, 64]"), "{message}");

    let set = |at: usize, value: f32| {
        move |raw: &mut Raw| raw.data[4 * at..][..4].copy_from_slice(&value.to_le_bytes())
    };
    let message = damaged(&scale, set(77, f32::NAN));
    assert!(message.contains("scale 77 is NaN, not a finite number"), "{message}");
    let message = damaged(&scale, set(0, f32::NEG_INFINITY));
    assert!(message.contains("scale 0 is -inf"), "{message}");
    let infinite = half::f16::INFINITY.to_le_bytes();
    // Beyond the first block of scales that are checked at once.
    let message = damaged(&word_scale, |raw| {
        let len = raw.data.len();
        raw.data[len - 2..].copy_from_slice(&infinite);
    });
    assert!(message.contains("scale 4919 is inf"), "{message}");

    for (part, dtype) in [(&scale, Dtype::I32), (&weight, Dtype::U8), (&packed, Dtype::U32)] {
        let message = damaged(part, |raw| raw.dtype = dtype);
        assert!(message.contains(&format!("is stored as {dtype}; F32, F16 and BF16")), "{message}");
    }
    let message = damaged(&packed, |raw| {
        raw.dtype = Dtype::I8;
        raw.shape[1] *= 4;
    });
    assert!(message.contains("is stored as I8"), "{message}");
    let message = damaged("roberta.emb_ln.bias", |raw| {
        raw.dtype = Dtype::I8;
        raw.data.truncate(64);
    });
    assert!(message.contains("is stored as I8"), "{message}");
}

#[test]
fn parts_that_are_missing_or_not_supported_are_named() {
    let [folder, _] = pair("v3-tiny/original", [ROWS, NIBBLES]);
    let path = folder.path().join("model.safetensors");
    let tensors = read(&path);
    let mut without = tensors.clone();
    without.remove(&format!("{FC1}.weight_scale")).expect("the scales");
    crate::files::write(&path, &without);
    let message = error(&folder);
    assert!(message.contains("no tensor `encoder.layers.1.mlp.fc1.weight_scale`"), "{message}");

    for (part, reason) in [("weight_zero_point", "symmetric"), ("weight_g_idx", "activation")] {
        let mut with = tensors.clone();
        let extra = Raw { dtype: Dtype::I32, shape: vec![1], data: vec![0; 4] };
        with.insert(format!("{FC1}.{part}"), extra);
        crate::files::write(&path, &with);
        let message = error(&folder);
        assert!(message.contains(part) && message.contains(reason), "{message}");
    }

    let mut both = tensors.clone();
    let word = read(&fixture("v3-tiny/original/model.safetensors"));
    let word = &word[&format!("{WORD}.parametrizations.weight.original")];
    both.insert(format!("{WORD}.weight"), word.clone());
    crate::files::write(&path, &both);
    let message = error(&folder);
    assert!(message.contains("no part of this network uses, such as `"), "{message}");

    let floats = changed("v3-tiny/original", |tensors| {
        let scale = Raw { dtype: Dtype::F32, shape: vec![128], data: vec![0; 512] };
        tensors.insert(format!("{FC1}.weight_scale"), scale);
    });
    let message = error(&floats);
    assert!(message.contains(&format!("such as `{FC1}.weight_scale`")), "{message}");
}

/// The seed of the fuzz target is a quantized network of one layer; here, each of its bytes changes
/// in turn.
#[test]
fn any_byte_of_a_quantized_file_may_be_damaged_without_a_panic() {
    let [config, seed] = ["src/one_layer.json", "corpus/checkpoint/quantized.safetensors"]
        .map(|name| kokeshi_testkit::bytes(&format!("../fuzz/{name}")));
    let mut batch = Batch::new();
    batch.push(&[0, 2, 1], Some(1));
    let states = |bytes: Vec<u8>| {
        let checkpoint = Checkpoint::from_bytes(&config, None, bytes)?;
        load(&checkpoint, &Device::Reference)?.hidden_states(&batch)
    };
    assert_eq!(states(seed.clone()).expect("the seed loads").len(), 12);
    let mut loaded = 0;
    for at in 0..seed.len() {
        let mut damaged = seed.clone();
        damaged[at] ^= 1 << (at % 8);
        match states(damaged) {
            Ok(states) => {
                assert_eq!(states.len(), 12);
                loaded += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(loaded > 300, "changed weights load: {loaded}");
}
