//! Every unusual or invalid input has a defined result or one clear error.

use kokeshi::{
    Chunk, Chunking, Error, Input, LoadOptions, Model, Options, Window, inspect_tokenizer,
};
use kokeshi_testkit::{fixture, json};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

fn open() -> Model {
    Model::open(&fixture("v3-tiny/original"), &LoadOptions::default()).expect("a model")
}

fn vector(model: &Model, text: &str) -> Vec<f32> {
    model.embed(&[Input::new(text)]).expect(text).remove(0).vectors.remove(0)
}

fn error(model: &Model, input: Input<'_>) -> Error {
    model.embed(&[Input::new("fine"), input]).expect_err("an invalid input")
}

#[test]
fn empty_and_blank_texts_have_the_vector_of_the_special_tokens() {
    let model = open();
    let empty = vector(&model, "");
    assert!((empty.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    for blank in [" ", "\n", " \t\r\n ", "\u{3000}"] {
        assert_eq!(vector(&model, blank), empty, "{blank:?}");
    }
}

#[test]
fn control_characters_and_lone_marks_have_a_vector() {
    let model = open();
    for text in ["\0", "a\0b", "\u{301}", "\u{200b}", "\u{feff}", "\u{10ffff}", "\u{202e}abc"] {
        assert!(vector(&model, text).iter().all(|x| x.is_finite()), "{text:?}");
    }
}

#[test]
fn special_tokens_in_a_text_are_recognized_as_the_tokenizer_file_specifies() {
    let model = open();
    assert_eq!(model.count_tokens("</s>").expect("a count"), 1);
    assert_eq!(model.count_tokens("a </s> b <mask>").expect("a count"), 4);
    assert_ne!(vector(&model, "a </s> b"), vector(&model, "a b"));
}

#[test]
fn chunks_of_white_space_get_the_vector_of_an_empty_text_with_the_same_task() {
    let model = open();
    let text = "one   two";
    let chunks = [0..3, 3..6, 6..9, 4..4].map(|bytes| Chunk::new(text, bytes).expect("a range"));
    let inputs = [
        Input::late(text, &chunks).task("separation"),
        Input::late_parts(&["", "one"]).task("separation"),
        Input::late_parts(&[" "]).task("separation"),
        Input::new("").task("separation"),
    ];
    let embedded = model.embed(&inputs).expect("vectors");
    let empty = &embedded[3].vectors[0];
    assert_eq!(embedded[0].vectors.len(), 4);
    assert_eq!([&embedded[0].vectors[1], &embedded[0].vectors[3]], [empty; 2]);
    assert_eq!(embedded[1].vectors[0], *empty);
    assert_eq!(embedded[2].vectors.concat(), *empty);
}

#[test]
fn a_chunk_within_one_token_gets_that_token() {
    let model = open();
    let text = "li";
    assert_eq!(model.count_tokens(text).expect("a count"), 1);
    let half = [Chunk::new(text, 0..1).expect("a range")];
    let embedded = model.embed(&[Input::late(text, &half), Input::new(text)]).expect("vectors");
    assert_eq!(embedded[0].vectors, embedded[1].vectors);
}

#[test]
fn an_unknown_task_is_refused_with_the_list_of_tasks() {
    let model = open();
    let error = error(&model, Input::new("x").task("retrieval")).to_string();
    assert_eq!(
        error,
        "text 1: unknown task `retrieval`; this model has `retrieval.query`, `retrieval.passage`, \
         `separation`, `classification`, `text-matching`"
    );
}

#[test]
fn dimensions_out_of_range_are_refused_with_the_range() {
    let model = open();
    for dimensions in [0, 65, usize::MAX] {
        let error = error(&model, Input::new("x").dimensions(dimensions)).to_string();
        assert!(error.contains("text 1") && error.contains("1 to 64"), "{error}");
    }
    for dimensions in [1, 7, 64] {
        let embedded = model.embed(&[Input::new("x").dimensions(dimensions)]).expect("a vector");
        assert_eq!(embedded[0].vectors[0].len(), dimensions);
    }
}

#[test]
fn chunks_outside_their_text_are_refused() {
    let model = open();
    let chunk = |bytes, tokens| [Chunk { bytes, tokens, ..Chunk::default() }];
    for chunks in [
        chunk(0..9, 0..0),
        chunk(2..3, 0..0),
        chunk(std::ops::Range { start: 3, end: 1 }, 0..0),
        chunk(0..1, 0..99),
    ] {
        let error = error(&model, Input::late("aäb", &chunks)).to_string();
        assert!(error.starts_with("text 1: chunk 0 "), "{error}");
    }
}

#[test]
fn windows_that_cannot_cover_a_document_are_refused() {
    let model = open();
    for (size, overlap) in [(0, 0), (8, 8), (9000, 1)] {
        let options = Options {
            window: Window { size: Some(size), overlap: Some(overlap) },
            ..Options::default()
        };
        let error = error(&model, Input::late_parts(&["one"]).options(options));
        assert!(matches!(error, Error::Options(_)), "{error}");
    }
}

#[test]
fn a_text_of_50_megabytes_is_refused_at_once() {
    let model = open();
    let line = "a".repeat(50_000_000);
    let too_large = |error| matches!(error, Error::TooLarge { bytes: 50_000_000, .. });
    assert!(too_large(error(&model, Input::new(&line))));
    assert!(too_large(error(&model, Input::late(&line, &[]))));
    let (half, other) = line.split_at(20_000_000);
    assert!(too_large(error(&model, Input::late_parts(&[half, other]))));
    assert!(too_large(model.chunk(&line, Chunking::Lines).expect_err("too large")));
    assert!(too_large(model.count_tokens(&line).expect_err("too large")));
}

/// The tiny model with a changed tokenizer.
fn with_tokenizer(change: impl Fn(&mut Value)) -> (TempDir, Result<Model, Error>) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        let from = fixture(&format!("v3-tiny/original/{name}"));
        fs::copy(from, folder.path().join(name)).expect("a copy");
    }
    let mut tokenizer = json("v3-tiny/original/tokenizer.json");
    change(&mut tokenizer);
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).expect("a file");
    let model = Model::open(folder.path(), &LoadOptions::default());
    (folder, model)
}

#[test]
fn a_tokenizer_with_more_ids_than_the_embedding_table_has_rows_is_refused() {
    let (folder, model) = with_tokenizer(|tokenizer| {
        let pieces = tokenizer["model"]["vocab"].as_array_mut().expect("pieces");
        pieces.push(serde_json::json!(["one too many", -1.0]));
    });
    let info = inspect_tokenizer(&folder.path().join("tokenizer.json"));
    assert_eq!(info.expect("a tokenizer").largest_id, 615);
    let error = model.expect_err("refused");
    assert!(matches!(error, Error::Vocabulary { largest: 615, rows: 615 }), "{error}");
}

#[test]
fn without_special_tokens_an_empty_text_has_a_vector_of_zeros() {
    let (_folder, model) = with_tokenizer(|tokenizer| tokenizer["post_processor"] = Value::Null);
    let model = model.expect("a model");
    assert_eq!(vector(&model, ""), [0.0; 64]);
    assert!(model.hidden_states("", &Options::default()).expect("no states").is_empty());
    let embedded = model.embed(&[Input::late_parts(&["", "one"]), Input::new("one")]);
    let embedded = embedded.expect("vectors");
    assert_eq!(embedded[0].vectors, [vec![0.0; 64], embedded[1].vectors.concat()]);
}

#[test]
fn a_folder_without_a_tokenizer_is_refused_with_the_name_of_the_file() {
    let folder = fixture("v3-tiny/original_f32");
    let error = Model::open(&folder, &LoadOptions::default()).expect_err("no tokenizer");
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}
