//! Vectors of texts against those of the reference implementation.

use kokeshi::{Checkpoint, Chunk, Device, Input, LateSpans, LoadOptions, Model, Options};
use kokeshi_model::Batch;
use kokeshi_testkit::{Goldens, assert_close, fixture, json, unit_rows};
use serde_json::{Value, from_value};
use std::fs;

const HIDDEN: f32 = 3e-5;
const NORMALIZED: f32 = 3e-6;
/// Fixtures of two architectures: head width 16 and 64.
const FIXTURES: [&str; 2] = ["v3-tiny", "v3-head64"];

fn open(folder: &str) -> Model {
    Model::open(&fixture(folder), &LoadOptions { device: Device::EXACT }).expect(folder)
}

/// `original_f32` has no tokenizer of its own, and a limit can only be changed in a copy.
fn open_copy(folder: &str, change: impl Fn(&mut Value)) -> Model {
    let copy = tempfile::tempdir().expect("a folder");
    let mut config = json(&format!("{folder}/config.json"));
    change(&mut config);
    fs::write(copy.path().join("config.json"), config.to_string()).expect("a config");
    let weights = format!("{folder}/model.safetensors");
    for from in [weights.as_str(), "v3-tiny/original/tokenizer.json"] {
        let name = from.rsplit('/').next().expect("a file name");
        fs::copy(fixture(from), copy.path().join(name)).expect("a copy");
    }
    Model::open(copy.path(), &LoadOptions { device: Device::EXACT }).expect(folder)
}

fn goldens(fixture: &str) -> (Goldens, Value) {
    let goldens = Goldens::open(&format!("{fixture}/golden/golden.safetensors"));
    (goldens, json(&format!("{fixture}/golden/cases.json")))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    from_value(value.clone()).expect("a list")
}

/// In the golden files `none` means no task.
fn options(task: &str) -> Options {
    let task = (task != "none").then(|| task.to_owned());
    Options { task, ..Options::default() }
}

fn tasks(model: &Model) -> Vec<String> {
    let names = model.config().tasks.iter().map(|task| task.name.clone());
    std::iter::once("none".to_owned()).chain(names).collect()
}

/// Checks the mean state and the unit vectors of each of `dimensions` for every text and task.
fn check_texts(model: &Model, fixture: &str, dimensions: &[usize]) {
    let (goldens, cases) = goldens(fixture);
    let texts: Vec<String> = list(&cases["texts"]["texts"]);
    for task in tasks(model) {
        let embed = |options: &Options| {
            let inputs: Vec<_> =
                texts.iter().map(|t| Input::new(t).options(options.clone())).collect();
            let embedded = model.embed(&inputs).expect("vectors");
            embedded.into_iter().flat_map(|text| text.vectors).flatten().collect::<Vec<_>>()
        };
        let name = format!("texts/{task}/mean");
        let plain = Options { normalized: false, ..options(&task) };
        assert_close(&name, &embed(&plain), &goldens.get(&name).values, HIDDEN);
        for dimensions in dimensions {
            let name = format!("texts/{task}/mrl/{dimensions}");
            let cut = Options { dimensions: Some(*dimensions), ..options(&task) };
            assert_close(&name, &embed(&cut), &goldens.get(&name).values, NORMALIZED);
        }
    }
}

#[test]
fn every_text_task_and_dimension_matches_in_the_original_layout() {
    for fixture in FIXTURES {
        let dimensions: Vec<usize> = list(&goldens(fixture).1["texts"]["mrl_dims"]);
        assert!(dimensions.len() >= 5);
        check_texts(&open(&format!("{fixture}/original")), fixture, &dimensions);
    }
}

#[test]
fn every_text_and_task_matches_in_the_original_layout_in_f32() {
    check_texts(&open_copy("v3-tiny/original_f32", |_| ()), "v3-tiny", &[64]);
}

#[test]
fn every_text_and_task_matches_in_the_transformers_layouts() {
    check_texts(&open("v3-tiny/native"), "v3-tiny", &[64]);
    // These files come without a tokenizer.
    let folder = tempfile::tempdir().expect("a folder");
    copy_all(&fixture("v3-tiny/native_split"), folder.path());
    let tokenizer = fixture("v3-tiny/native/tokenizer.json");
    fs::copy(tokenizer, folder.path().join("tokenizer.json")).expect("a copy");
    let model =
        Model::open(folder.path(), &LoadOptions { device: Device::EXACT }).expect("native_split");
    check_texts(&model, "v3-tiny", &[64]);
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let (path, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).expect("an entry");
        if path.is_dir() {
            fs::create_dir(&target).expect("a folder");
            copy_all(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

#[test]
fn the_reference_backend_matches_too() {
    let options = LoadOptions { device: Device::Reference };
    let model = Model::open(&fixture("v3-tiny/original"), &options).expect("a model");
    let (goldens, cases) = goldens("v3-tiny");
    let texts: Vec<String> = list(&cases["texts"]["texts"]);
    let input = Input::new(&texts[4]).task("separation");
    let vector = &model.embed(&[input]).expect("a vector")[0].vectors[0];
    let golden = goldens.get("texts/separation/mrl/64");
    assert_close("text 4", vector, golden.row(4), NORMALIZED);
}

#[test]
fn truncated_texts_match() {
    let (goldens, cases) = goldens("v3-tiny");
    let text = cases["truncation"]["text"].as_str().expect("a text");
    for case in cases["truncation"]["cases"].as_array().expect("cases") {
        // `max_position_embeddings` counts two rows more than the limit.
        let positions = case["max_length"].as_u64().expect("a length") + 2;
        let model = open_copy("v3-tiny/original", |config| {
            config["max_position_embeddings"] = positions.into();
        });
        let truncate = Options { truncate: true, ..Options::default() };
        let embedded = model.embed(&[Input::new(text).options(truncate)]).expect("a vector");
        let name = case["tensor"].as_str().expect("a name");
        assert_close(name, &embedded[0].vectors[0], &goldens.get(name).values, NORMALIZED);
    }
}

#[test]
fn token_states_of_a_document_match() {
    for fixture in FIXTURES {
        let model = open(&format!("{fixture}/original"));
        let (goldens, cases) = goldens(fixture);
        let text = cases["late"]["text"].as_str().expect("a text");
        for task in ["none", "retrieval.passage", "text-matching"] {
            let states = model.hidden_states(text, &options(task)).expect("states");
            let name = format!("late/{task}/hidden");
            assert_close(&name, &states, &goldens.get(&name).values, HIDDEN);
        }
    }
}

/// The chunks of a late-chunking case: `chars` as ranges of the text, the others as token ranges.
fn late_chunks(late: &Value, spans: &str) -> Vec<Chunk> {
    let text = late["text"].as_str().expect("a text");
    if spans == "chars" {
        let parts: Vec<String> = list(&late["chunk_texts"]);
        let range = |part: &String| {
            let start = text.find(part).expect("a part of the text");
            Chunk::new(text, start..start + part.len()).expect("whole characters")
        };
        return parts.iter().map(range).collect();
    }
    let spans: Vec<[usize; 2]> = list(&late["spans_no_special"][spans]);
    let chunk = |&[start, end]: &[usize; 2]| Chunk { tokens: start..end, ..Chunk::default() };
    spans.iter().map(chunk).collect()
}

#[test]
fn late_chunks_match_in_both_conventions() {
    for fixture in FIXTURES {
        let model = open(&format!("{fixture}/original"));
        let (goldens, cases) = goldens(fixture);
        let late = &cases["late"];
        for case in late["cases"].as_array().expect("cases") {
            let Some(convention) = convention(case) else { continue };
            let chunks = late_chunks(late, case["spans"].as_str().expect("a name"));
            let options = Options {
                late_spans: convention,
                ..options(case["task"].as_str().expect("a task"))
            };
            let text = late["text"].as_str().expect("a text");
            let embedded = model.embed(&[Input::late(text, &chunks).options(options)]);
            let name = case["tensor"].as_str().expect("a name");
            let vectors = embedded.expect(name)[0].vectors.concat();
            assert_close(name, &vectors, &goldens.get(name).values, NORMALIZED);
        }
    }
}

/// `None` for the reference's variant with a maximum length, which drops the chunks beyond it.
fn convention(case: &Value) -> Option<LateSpans> {
    match case["convention"].as_str() {
        Some("reference") => Some(LateSpans::Reference),
        Some("content") => Some(LateSpans::Content),
        _ => None,
    }
}

/// The engine's late chunking never truncates, so this variant of the reference runs on the
/// encoder.
#[test]
fn the_encoder_pools_the_spans_of_the_references_truncating_variant() {
    for fixture_name in FIXTURES {
        let folder = fixture(&format!("{fixture_name}/original"));
        let checkpoint = Checkpoint::open(&folder).expect("a checkpoint");
        let forward = kokeshi_model::load(&checkpoint, &Device::EXACT).expect("a backend");
        let (goldens, cases) = goldens(fixture_name);
        let cases = cases["late"]["cases"].as_array().expect("cases");
        let truncating: Vec<_> = cases.iter().filter(|case| convention(case).is_none()).collect();
        assert_eq!(truncating.len(), 3);
        for case in truncating {
            let adapter = forward.config().tasks.iter().position(|t| case["task"] == t.name);
            let mut batch = Batch::new();
            batch.push(&list::<u32>(&case["input_ids"]), adapter);
            let spans: Vec<[usize; 2]> = list(&case["token_spans_in_model_input"]);
            let spans: Vec<_> = spans.into_iter().map(|[start, end]| start..end).collect();
            let sums = forward.pool(&batch, &spans).expect("sums");
            let vectors = unit_rows(&sums, forward.config().hidden);
            let name = case["tensor"].as_str().expect("a name");
            assert_close(name, &vectors, &goldens.get(name).values, NORMALIZED);
        }
    }
}

#[test]
fn parts_of_one_document_match_in_both_conventions() {
    for fixture in FIXTURES {
        let model = open(&format!("{fixture}/original"));
        let (goldens, cases) = goldens(fixture);
        let parts: Vec<String> = list(&cases["late_api"]["inputs"]);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        for case in cases["late_api"]["cases"].as_array().expect("cases") {
            let name = case["tensor"].as_str().expect("a name");
            let options = Options {
                late_spans: convention(case).expect("one of two conventions"),
                ..options(case["task"].as_str().expect("a task"))
            };
            let embedded = model.embed(&[Input::late_parts(&parts).options(options)]);
            let embedded = embedded.expect(name).remove(0);
            assert_eq!(embedded.tokens, case["input_ids"].as_array().expect("ids").len());
            assert_close(name, &embedded.vectors.concat(), &goldens.get(name).values, NORMALIZED);
        }
    }
}
