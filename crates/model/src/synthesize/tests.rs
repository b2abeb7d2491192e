use super::*;
use crate::{Batch, Checkpoint, Device, load};
use std::collections::BTreeSet;

#[test]
fn the_released_shape_has_the_released_tensors() {
    let json = SyntheticShape::V3.config().to_string();
    let config = config::parse(Path::new("config.json"), json.as_bytes(), None);
    let config = config.expect("the config is valid");
    let listed = kokeshi_testkit::bytes("v3-tiny/real_tensor_list.txt");
    let listed = String::from_utf8(listed).expect("text");
    let tensors = original_tensors(&config, 5, 4);
    let named: Vec<String> =
        tensors.iter().map(|(name, shape)| format!("{name} {shape:?}").replace(' ', "")).collect();
    let mut listed: Vec<String> = listed
        .lines()
        .filter(|line| line.starts_with("roberta."))
        .map(|line| line.replace(char::is_whitespace, ""))
        .collect();
    listed.sort();
    assert_eq!(named.len(), 492);
    assert_eq!(named.iter().collect::<BTreeSet<_>>(), listed.iter().collect());
    assert_eq!(tensors.values().map(|s| s.iter().product::<usize>()).sum::<usize>(), 572_310_396);
}

#[test]
fn the_v2_shape_has_the_published_number_of_tensors_and_parameters() {
    let json = SyntheticShape::V2Base.config().to_string();
    let config = config::parse(Path::new("config.json"), json.as_bytes(), None);
    let tensors = bert_tensors(&config.expect("the config is valid"));
    let parameters: usize = tensors.values().map(|s| s.iter().product::<usize>()).sum();
    assert_eq!((tensors.len(), parameters), (186, 137_368_320));
}

#[test]
fn the_starter_shape_has_heads_of_32_and_the_parameters_of_its_model() {
    let json = SyntheticShape::StarterV1.config().to_string();
    let config = config::parse(Path::new("config.json"), json.as_bytes(), None);
    let config = config.expect("the config is valid");
    assert_eq!((config.layers, config.head_dim(), config.ffn_hidden), (12, 32, 1536));
    let parameters = |tasks| -> usize {
        original_tensors(&config, tasks, 4).values().map(|s| s.iter().product::<usize>()).sum()
    };
    // With those of the pooler, which no embedding uses.
    assert_eq!(parameters(0), 117_295_488 + 384 * 385);
}

#[test]
fn a_synthetic_checkpoint_loads_and_runs_and_its_seed_decides_its_bytes() {
    let folders = [7, 7, 8].map(|seed| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut last = (0, 0);
        synthesize(folder.path(), SyntheticShape::Tiny, b"{}", seed, &mut |done, all| {
            last = (done, all);
        })
        .expect("it is written");
        assert_eq!(last.0, last.1, "progress reaches the end");
        folder
    });
    let bytes = folders
        .each_ref()
        .map(|folder| fs::read(folder.path().join("model.safetensors")).expect("the weights"));
    assert!(bytes[0] == bytes[1] && bytes[0] != bytes[2]);
    let checkpoint = Checkpoint::open(folders[0].path()).expect("it opens");
    let encoder = load(&checkpoint, &Device::default()).expect("it loads");
    let file = bytes[0].len();
    assert!((file / 2..file * 3 / 2).contains(&encoder.len_bytes()), "{}", encoder.len_bytes());
    let mut batch = Batch::new();
    batch.push(&[0, 250_001, 2], Some(4));
    assert!(encoder.hidden_states(&batch).expect("states").iter().all(|x| x.is_finite()));
}
