//! Checkpoints that are damaged, incomplete or contradictory: one error that names the fault.

use crate::files::{changed, copy, error, load_from, read, write};
use kokeshi_model::{Batch, Checkpoint, Device, load};
use kokeshi_testkit::fixture;
use safetensors::tensor::Dtype;
use std::fs;
use tempfile::TempDir;

const WORD: &str = "roberta.embeddings.word_embeddings.parametrizations.weight.original";
const FC1: &str = "roberta.encoder.layers.1.mlp.fc1.parametrizations.weight.original";

#[test]
fn the_fixture_loads_unchanged_after_a_round_trip() {
    let folder = changed("v3-tiny/original", |_| {});
    assert!(load_from(folder.path()).is_ok());
}

#[test]
fn a_missing_tensor_is_named() {
    let folder = changed("v3-tiny/original", |tensors| {
        tensors.remove(FC1).expect("the tensor");
    });
    let error = error(&folder);
    assert!(error.contains("no tensor `encoder.layers.1.mlp.fc1.weight`"), "{error}");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let folder = changed("v3-tiny/original", |tensors| {
        tensors.get_mut(FC1).expect("the tensor").shape.reverse();
    });
    let error = error(&folder);
    assert!(error.contains(FC1) && error.contains("[64, 128], expected [128, 64]"), "{error}");
}

#[test]
fn a_tensor_of_another_dtype_is_named() {
    let folder = changed("v3-tiny/original", |tensors| {
        tensors.get_mut(FC1).expect("the tensor").dtype = Dtype::I16;
    });
    let error = error(&folder);
    assert!(error.contains(FC1) && error.contains("I16; F32, F16 and BF16"), "{error}");
}

#[test]
fn a_tensor_that_nothing_uses_is_named() {
    let folder = changed("v3-tiny/original", |tensors| {
        let extra = tensors[FC1].clone();
        tensors.insert("roberta.encoder.layers.3.mlp.fc1.weight".to_owned(), extra);
    });
    let error = error(&folder);
    assert!(error.contains("`roberta.encoder.layers.3.mlp.fc1.weight`"), "{error}");
}

#[test]
fn two_names_of_one_weight_are_both_named() {
    let folder = changed("v3-tiny/original", |tensors| {
        let extra = tensors[FC1].clone();
        tensors.insert("layers.1.mlp.fc1.weight".to_owned(), extra);
    });
    let error = error(&folder);
    assert!(error.contains(FC1) && error.contains("`layers.1.mlp.fc1.weight`"), "{error}");
}

#[test]
fn names_with_and_without_the_prefix_load_alike() {
    let without = changed("v3-tiny/original", |tensors| {
        let stripped = std::mem::take(tensors).into_iter().map(|(name, raw)| {
            (name.strip_prefix("roberta.").expect("the prefix").to_owned(), raw)
        });
        *tensors = stripped.collect();
    });
    assert!(load_from(without.path()).is_ok());
    let with = changed("v3-tiny/native_split", |tensors| {
        let prefixed = std::mem::take(tensors).into_iter();
        *tensors = prefixed.map(|(name, raw)| (format!("roberta.{name}"), raw)).collect();
    });
    assert!(load_from(with.path()).is_ok());
}

#[test]
fn sixteen_bit_floats_load_and_give_nearly_the_same_states() {
    let half = changed("v3-tiny/original_f32", |tensors| {
        for raw in tensors.values_mut() {
            let (words, _) = raw.data.as_chunks::<4>();
            let halves = words.iter().map(|&word| half::f16::from_f32(f32::from_le_bytes(word)));
            raw.data = halves.flat_map(half::f16::to_le_bytes).collect();
            raw.dtype = Dtype::F16;
        }
    });
    let mut batch = kokeshi_model::Batch::new();
    batch.push(&[0, 36, 99, 2], Some(2));
    let got = load_from(half.path()).expect("F16 loads").hidden_states(&batch).expect("states");
    let exact = load_from(&fixture("v3-tiny/original_f32")).expect("F32 loads");
    // f16 represents bf16 values of this magnitude exactly, but for the smallest, which lose 2⁻²⁵.
    kokeshi_testkit::assert_close("f16", &got, &exact.hidden_states(&batch).expect("states"), 3e-5);
}

/// The weights in two files, with an index.
fn sharded() -> TempDir {
    let folder = copy("v3-tiny/original");
    let path = folder.path().join("model.safetensors");
    let mut first = read(&path);
    let second = first.split_off(WORD);
    fs::remove_file(&path).expect("the single file is removed");
    let mut map = serde_json::Map::new();
    for (file, part) in
        [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)]
    {
        write(&folder.path().join(file), &part);
        map.extend(part.keys().map(|name| (name.clone(), file.into())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string())
        .expect("an index");
    folder
}

#[test]
fn a_sharded_checkpoint_gives_the_same_states() {
    let mut batch = kokeshi_model::Batch::new();
    batch.push(&[0, 36, 99, 2], Some(2));
    let folder = sharded();
    let got = load_from(folder.path()).expect("shards load").hidden_states(&batch).expect("states");
    let single = load_from(&fixture("v3-tiny/original")).expect("the fixture loads");
    assert_eq!(got, single.hidden_states(&batch).expect("states"));
}

#[test]
fn a_missing_shard_is_named() {
    let folder = sharded();
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).expect("it is removed");
    let error = error(&folder);
    assert!(error.contains("no model-00002-of-00002.safetensors"), "{error}");
}

#[test]
fn an_index_may_name_files_of_its_folder_only() {
    let folder = sharded();
    for part in ["../model.safetensors", "/etc/passwd", "a/b", "", ".", ".."] {
        let index = serde_json::json!({ "weight_map": { "x": part } });
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(path, index.to_string()).expect("an index");
        let error = error(&folder);
        assert!(error.contains("not a plain file name"), "{part:?}: {error}");
    }
}

#[test]
fn a_truncated_weight_file_is_an_error_at_every_length() {
    let folder = copy("v3-tiny/original");
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).expect("the weights");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    for len in [0, 7, 8, 9, header - 1, header, header + 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).expect("a shorter file");
        let error = error(&folder);
        assert!(error.contains("not a complete safetensors file"), "{len} bytes: {error}");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).expect("a longer file");
    assert!(error(&folder).contains("not a complete safetensors file"));
}

#[test]
fn a_damaged_header_never_panics() {
    let folder = copy("v3-tiny/original");
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).expect("the weights");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    // Flips one bit of every seventh byte of the header. Where the file still loads, the bit is in
    // a part that is not read (the format tag).
    for at in (0..header).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).expect("a damaged file");
        if let Err(error) = load_from(folder.path()) {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn a_folder_without_a_checkpoint_is_an_error_that_names_the_missing_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(error(&folder).contains("has no config.json"));
    fs::copy(fixture("v3-tiny/original/config.json"), folder.path().join("config.json"))
        .expect("a copy");
    assert!(error(&folder).contains("has no model.safetensors"));
}

#[test]
fn a_config_that_disagrees_with_the_weights_names_the_tensor() {
    let folder = copy("v3-tiny/original");
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path).expect("the config");
    let cases = [
        ("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "`encoder.layers.3."),
        ("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", "encoder.layers.2."),
        ("\"vocab_size\": 615", "\"vocab_size\": 616", "word_embeddings"),
        ("\"intermediate_size\": 128", "\"intermediate_size\": 64", "mlp.fc1"),
        ("\"lora_rank\": 4", "\"lora_rank\": 8", "lora_A"),
    ];
    for (from, to, name) in cases {
        assert!(config.contains(from), "{from}");
        fs::write(&path, config.replace(from, to)).expect("a config");
        let error = error(&folder);
        assert!(error.contains(name), "{to}: {error}");
    }
}

/// The split fixture with the configuration of one adapter changed.
fn adapter_with(key: &str, value: serde_json::Value) -> TempDir {
    let folder = copy("v3-tiny/native_split");
    configure_adapter(&folder, key, value);
    folder
}

fn configure_adapter(folder: &TempDir, key: &str, value: serde_json::Value) {
    let path = folder.path().join("separation/adapter_config.json");
    let json = fs::read(&path).expect("the adapter's config");
    let mut config: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    config[key] = value;
    fs::write(&path, config.to_string()).expect("a config");
}

#[test]
fn an_adapter_of_another_kind_names_the_key() {
    let cases = [
        ("use_dora", serde_json::json!(true)),
        ("bias", serde_json::json!("all")),
        ("modules_to_save", serde_json::json!(["pooler"])),
        ("rank_pattern", serde_json::json!({"fc1": 8})),
        ("fan_in_fan_out", serde_json::json!(true)),
        ("r", serde_json::json!(0)),
        ("lora_alpha", serde_json::json!("one")),
    ];
    for (key, value) in cases {
        let error = error(&adapter_with(key, value));
        assert!(error.contains(&format!("`{key}`")) && error.contains("separation"), "{error}");
    }
}

#[test]
fn a_module_that_an_adapter_claims_to_cover_must_be_there() {
    let folder = copy("v3-tiny/native_split");
    let path = folder.path().join("separation/adapter_model.safetensors");
    let mut tensors = read(&path);
    tensors.retain(|name, _| !name.contains("layers.2.self_attn.o_proj"));
    write(&path, &tensors);
    let error = error(&folder);
    assert!(error.contains("`encoder.layers.2.mixer.out_proj.lora_A`"), "{error}");
    assert!(error.contains("separation"), "{error}");
}

#[test]
fn an_adapter_may_leave_modules_out_and_scale_by_the_root_of_its_rank() {
    let folder = adapter_with("use_rslora", serde_json::json!(true));
    let mut batch = kokeshi_model::Batch::new();
    batch.push(&[0, 36, 99, 2], Some(2));
    let scaled = load_from(folder.path()).expect("it loads").hidden_states(&batch).expect("states");
    let plain = load_from(&fixture("v3-tiny/native_split"))
        .expect("it loads")
        .hidden_states(&batch)
        .expect("states");
    assert!(kokeshi_testkit::max_abs_diff(&scaled, &plain) > 0.01, "alpha / √4 is twice alpha / 4");

    let path = folder.path().join("separation/adapter_model.safetensors");
    let mut tensors = read(&path);
    tensors.retain(|name, _| name.contains("k_proj"));
    write(&path, &tensors);
    configure_adapter(&folder, "target_modules", serde_json::json!(["k_proj"]));
    assert!(load_from(folder.path()).is_ok(), "an adapter on keys alone");
}

#[test]
fn weights_that_are_cut_off_while_they_are_in_use_are_an_error() {
    for layout in ["v3-tiny/original", "v2-tiny/std_wordpiece"] {
        let folder = copy(layout);
        let mut batch = Batch::new();
        batch.push(&[0, 2, 1], None);
        let checkpoint = Checkpoint::open(folder.path()).expect("a checkpoint");
        for device in [Device::default(), Device::Reference] {
            let model = load(&checkpoint, &device).expect("a model");
            model.hidden_states(&batch).expect("states");
            let path = folder.path().join("model.safetensors");
            let whole = fs::read(&path).expect("weights");
            let file = fs::File::options().write(true).open(&path).expect("weights");
            file.set_len(100).expect("fewer bytes");
            let error = model.hidden_states(&batch).expect_err("no states").to_string();
            assert!(error.contains("model.safetensors was cut off while it was in use"), "{error}");
            fs::write(&path, whole).expect("weights");
            model.hidden_states(&batch).expect("states");
        }
    }
}
