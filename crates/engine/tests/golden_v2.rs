//! The jina-embeddings-v2 family: vectors against those of the reference implementation, and the
//! options that v2 supports.

use kokeshi::{Device, Error, Input, LateSpans, LoadOptions, Model, Options, TokenCount};
use kokeshi_testkit::{Goldens, assert_close, fixture, json, unit_rows};
use serde_json::Value;

/// Both architectures, both gates, all three kinds of tokenizer.
const FIXTURES: [&str; 4] = ["std_wordpiece", "code_bpe", "std_zh_f16", "code_reglu_bf16"];
/// The limits that the specification suggests for f32: tanh GELU would miss by 4e-5.
const HIDDEN: f32 = 2e-5;
const NORMALIZED: f32 = 2e-6;
const LIMIT: usize = 8192;

const DOCUMENT: &str = "The quick brown fox jumps. 你好 世界! Der Hund schläft; naïve café.\n\n\
                        def add(a, b):\n    return a + b  # 🦊\n\nEl zorro salta. again";

fn open(name: &str) -> Model {
    Model::open(&fixture(&format!("v2-tiny/{name}")), &LoadOptions { device: Device::EXACT })
        .expect(name)
}

/// The golden texts and their lengths in tokens.
fn texts(name: &str) -> Vec<(String, usize)> {
    let golden = json(&format!("v2-tiny/{name}/golden.json"));
    let text = |text: &Value| {
        let tokens = text["ids"].as_array().expect("ids").len();
        (text["text"].as_str().expect("a text").to_owned(), tokens)
    };
    golden["texts"].as_array().expect("texts").iter().map(text).collect()
}

fn vectors(model: &Model, inputs: &[Input<'_>]) -> Vec<Vec<f32>> {
    let embedded = model.embed(inputs).expect("vectors");
    embedded.into_iter().flat_map(|one| one.vectors).collect()
}

fn plain() -> Options {
    Options { normalized: false, ..Options::default() }
}

fn error(model: &Model, input: Input<'_>) -> Error {
    model.embed(&[Input::new("fine"), input]).expect_err("an invalid input")
}

#[test]
fn every_text_has_the_vector_of_the_reference() {
    for name in FIXTURES {
        let (model, texts) = (open(name), texts(name));
        let goldens = Goldens::open(&format!("v2-tiny/{name}/golden.safetensors"));
        let unit: Vec<_> = texts.iter().map(|(text, _)| Input::new(text)).collect();
        let mean: Vec<_> = unit.iter().map(|input| input.clone().options(plain())).collect();
        let (unit, mean) = (model.embed(&unit).expect(name), vectors(&model, &mean));
        for (i, (_, tokens)) in texts.iter().enumerate() {
            let case = format!("{name}, text {i}");
            assert_eq!((unit[i].tokens, unit[i].windows), (*tokens, 1), "{case}");
            let expected = |kind: &str| &goldens.get(&format!("{kind}.{i:02}")).values;
            assert_close(&case, &unit[i].vectors[0], expected("embedding"), NORMALIZED);
            assert_close(&case, &mean[i], expected("mean"), HIDDEN);
        }
    }
}

#[test]
fn token_states_are_those_of_the_reference() {
    for name in FIXTURES {
        let model = open(name);
        let goldens = Goldens::open(&format!("v2-tiny/{name}/golden.safetensors"));
        for (i, (text, _)) in texts(name).iter().enumerate() {
            let states = model.hidden_states(text, &Options::default()).expect("states");
            let expected = &goldens.get(&format!("hidden.{i:02}")).values;
            assert_close(&format!("{name}, text {i}"), &states, expected, HIDDEN);
        }
    }
}

#[test]
fn any_other_task_is_refused_with_the_reason_and_a_model_that_has_it() {
    let model = open("std_wordpiece");
    let refused = error(&model, Input::new("x").task("retrieval.query"));
    assert_eq!(
        refused.to_string(),
        "text 1: unknown task `retrieval.query`; this model (jina-embeddings-v2) was trained for \
         one task, `text-matching`, and has no task adapters"
    );
    assert_eq!(
        refused.hint().expect("a hint"),
        "leave the task out, or use jina-embeddings-v3, which has `retrieval.query`"
    );
    let unknown = error(&model, Input::new("x").task("search"));
    assert!(matches!(unknown, Error::UnknownTask { index: 1, .. }), "{unknown}");
    assert_eq!(
        unknown.hint().expect("a hint"),
        "leave the task out; jina-embeddings-v3 has `retrieval.query`, `retrieval.passage`, \
         `separation`, `classification`, `text-matching`"
    );
}

#[test]
fn dimensions_other_than_the_width_are_refused_with_the_reason_and_the_width() {
    let model = open("std_wordpiece");
    for dimensions in [0, 1, 47, 49, 1024, usize::MAX] {
        let refused = error(&model, Input::new("x").dimensions(dimensions));
        assert_eq!(
            refused.to_string(),
            format!(
                "text 1: dimensions {dimensions} is not supported: vectors of this model \
                 (jina-embeddings-v2) have 48 dimensions, and it was not trained for fewer"
            )
        );
        assert_eq!(
            refused.hint().expect("a hint"),
            "use 48 or leave dimensions out; jina-embeddings-v3 supports 1 to 1024"
        );
    }
    let same = vectors(&model, &[Input::new("x").dimensions(48), Input::new("x")]);
    assert_eq!(same[0], same[1]);
}

/// The expected vectors are unit means computed from the model's token states.
#[test]
fn late_chunks_of_a_mixed_document_are_means_over_its_token_states() {
    let content = Options { late_spans: LateSpans::Content, ..Options::default() };
    for name in FIXTURES {
        let model = open(name);
        let width = model.config().hidden;
        let states = model.hidden_states(DOCUMENT, &content).expect("states");
        for cut in ["tokens:7", "sentences", "lines", "paragraphs", "semantic:12"] {
            let chunks = model.chunk(DOCUMENT, cut.parse().expect(cut)).expect("chunks");
            assert!(chunks.len() >= 2, "{name}, {cut}: {} chunks", chunks.len());
            let input = Input::late(DOCUMENT, &chunks).options(content.clone());
            for (chunk, vector) in chunks.iter().zip(vectors(&model, &[input])) {
                let part = &DOCUMENT[chunk.bytes.clone()];
                assert!(!chunk.tokens.is_empty(), "{name}, {cut}: {part:?} has no tokens");
                // One special token comes before the document's own tokens.
                let own = &states[(chunk.tokens.start + 1) * width..][..chunk.tokens.len() * width];
                let sum = (0..width).map(|i| own[i..].iter().step_by(width).sum());
                let unit = unit_rows(&sum.collect::<Vec<f32>>(), width);
                assert_close(&format!("{name}, {cut}, {part:?}"), &vector, &unit, NORMALIZED);
            }
        }
    }
}

#[test]
fn texts_up_to_8192_tokens_are_not_truncated_whatever_the_files_say() {
    let file = json("v2-tiny/std_wordpiece/config.json");
    assert_eq!(file["max_position_embeddings"], 512, "not the limit");
    let model = open("std_wordpiece");
    // Each letter is one token; two special tokens surround the text.
    let text = |tokens: usize| vec!["a"; tokens - 2].join(" ");
    let [below, at, above] = [LIMIT - 1, LIMIT, LIMIT + 1].map(text);
    let truncate = Options { truncate: true, ..Options::default() };
    let truncated = Input::new(&above).options(truncate);
    let inputs = [Input::new(&below), Input::new(&at), truncated];
    let embedded = model.embed(&inputs).expect("vectors");
    let counts = embedded.iter().map(|one| (one.tokens, one.truncated_tokens.get()));
    assert_eq!(counts.collect::<Vec<_>>(), [(LIMIT - 1, 0), (LIMIT, 0), (LIMIT, 1)]);
    assert_eq!(embedded[2].vectors, embedded[1].vectors, "the end token is kept");
    assert_ne!(embedded[0].vectors, embedded[1].vectors);
    let refused = error(&model, Input::new(&above));
    assert!(matches!(
        refused,
        Error::TooLong { index: 1, tokens: TokenCount::Exact(8193), limit: LIMIT }
    ));
}
