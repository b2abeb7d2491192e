//! `/v1/embeddings`: every field in every form.

use crate::{Server, vector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kokeshi::{Input, LoadOptions, Model, Options};
use kokeshi_server::Config;
use kokeshi_testkit::fixture;
use serde_json::{Value, json};

const TEXTS: [&str; 2] = ["The Force will be with you.", "光剑太暗了"];

fn model() -> Model {
    Model::open(&fixture("v3-tiny/original"), &LoadOptions::default()).expect("a model")
}

#[test]
fn vectors_and_usage_equal_those_of_the_library() {
    let server = Server::v3();
    let reply = server.post(
        "/v1/embeddings",
        &json!({"model": "jina-embeddings-v3", "input": TEXTS, "task": "text-matching"}),
    );
    let body = reply.success();
    let inputs = TEXTS.map(|text| Input::new(text).task("text-matching"));
    let expected = model().embed(&inputs).expect("vectors");
    assert_eq!(body["object"], "list");
    assert_eq!(body["model"], "jina-embeddings-v3");
    let tokens = expected[0].tokens + expected[1].tokens;
    assert_eq!(body["usage"], json!({"total_tokens": tokens, "prompt_tokens": tokens}));
    assert!(body.get("detail").is_none());
    for (index, expected) in expected.iter().enumerate() {
        let item = &body["data"][index];
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
        assert_eq!(vector(&item["embedding"]), expected.vectors[0]);
    }
    assert!(reply.header("x-request-id").is_some());
    assert!(reply.header("content-encoding").is_none());
}

#[test]
fn every_form_of_input_gives_the_same_vectors() {
    let server = Server::v3();
    let expected = server.vectors(&json!({"input": TEXTS}));
    for input in [
        json!([{"text": TEXTS[0]}, {"text": TEXTS[1]}]),
        json!([TEXTS[0], {"text": TEXTS[1], "id": "x"}]),
    ] {
        assert_eq!(server.vectors(&json!({"input": input})), expected);
    }
    for input in [json!(TEXTS[0]), json!([TEXTS[0]]), json!({"text": TEXTS[0]})] {
        assert_eq!(server.vectors(&json!({"input": input})), expected[..1]);
    }
}

#[test]
fn token_ids_of_openai_clients_are_decoded() {
    let server = Server::v3();
    let expected = server.vectors(&json!({"input": ["hello world", "hello"]}));
    assert_eq!(server.vectors(&json!({"input": [[15339, 1917], [15339]]})), expected);
    assert_eq!(server.vectors(&json!({"input": [15339, 1917]})), expected[..1]);
}

#[test]
fn fields_act_like_the_options_of_the_library() {
    let server = Server::v3();
    let model = model();
    let defaults = Options::default;
    let some = |name: &str| Some(name.to_owned());
    for (fields, options) in [
        (json!({}), defaults()),
        (json!({"task": null, "dimensions": null, "truncate": null}), defaults()),
        (json!({"normalized": null, "late_chunking": null, "encoding_format": null}), defaults()),
        (json!({"user": "me", "unknown": {"deep": [1]}}), defaults()),
        (json!({"normalized": false}), Options { normalized: false, ..defaults() }),
        (json!({"dimensions": 16}), Options { dimensions: Some(16), ..defaults() }),
        (json!({"dimensions": "16"}), Options { dimensions: Some(16), ..defaults() }),
        (json!({"dimensions": 16.0}), Options { dimensions: Some(16), ..defaults() }),
        (json!({"task": "separation"}), Options { task: some("separation"), ..defaults() }),
        (json!({"task": "clustering"}), Options { task: some("separation"), ..defaults() }),
        (json!({"late_chunking": false}), defaults()),
    ] {
        let mut body = json!({"model": "jina-embeddings-v3", "input": TEXTS[0]});
        body.as_object_mut()
            .expect("an object")
            .extend(fields.as_object().cloned().expect("fields"));
        let expected = model.embed(&[Input::new(TEXTS[0]).options(options)]).expect("vectors");
        assert_eq!(server.vectors(&body), expected[0].vectors, "{fields}");
    }
}

#[test]
fn a_task_comes_from_the_body_the_name_the_path_the_header_or_the_server() {
    let default_task = Some("classification".to_owned());
    let server = Server::v3_with(Config { default_task, ..Config::default() });
    let model = model();
    let expected = |task: &str| {
        model.embed(&[Input::new(TEXTS[0]).task(task)]).expect("vectors").remove(0).vectors
    };
    let name = "jinaai/jina-embeddings-v3";
    let suffixed = "jina-embeddings-v3:retrieval.query";
    let base = "/v1/embeddings";
    let in_path = "/task/separation/v1/embeddings";
    let header = ("X-Jina-Task", "text-matching");
    for (task, name, path, header, expected_task) in [
        (None, name, base, None, "classification"),
        (None, name, base, Some(header), "text-matching"),
        (None, name, in_path, Some(header), "separation"),
        (None, suffixed, in_path, Some(header), "retrieval.query"),
        (Some("retrieval.passage"), suffixed, in_path, Some(header), "retrieval.passage"),
    ] {
        let body = json!({"model": name, "input": TEXTS[0], "task": task}).to_string();
        let headers: Vec<_> = header.into_iter().collect();
        let reply = server.send("POST", path, &headers, body.as_bytes()).success();
        assert_eq!(
            vec![vector(&reply["data"][0]["embedding"])],
            expected(expected_task),
            "{path} {name}"
        );
        assert_eq!(reply["model"], "jina-embeddings-v3");
    }
}

#[test]
fn the_field_for_encodings_has_three_names_in_order_of_precedence() {
    let server = Server::v3();
    let embedding = |fields: Value| {
        let mut body = json!({"input": TEXTS[0]});
        body.as_object_mut()
            .expect("an object")
            .extend(fields.as_object().cloned().expect("fields"));
        server.post("/v1/embeddings", &body).success()["data"][0]["embedding"].clone()
    };
    let floats = vector(&embedding(json!({})));
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    let base64 = json!(STANDARD.encode(bytes));
    let ubinary: Vec<u8> = floats
        .chunks(8)
        .map(|eight| eight.iter().enumerate().map(|(i, x)| u8::from(*x > 0.0) << (7 - i)).sum())
        .collect();
    let binary: Vec<i16> = ubinary.iter().map(|byte| i16::from(*byte) - 128).collect();
    for name in ["embedding_type", "encoding_format", "encoding_type"] {
        assert_eq!(vector(&embedding(json!({name: "float"}))), floats);
        assert_eq!(embedding(json!({name: "base64"})), base64, "{name}");
        assert_eq!(embedding(json!({name: ["base64"]})), base64, "{name}");
        assert_eq!(embedding(json!({name: "binary"})), json!(binary));
        assert_eq!(embedding(json!({name: "ubinary"})), json!(ubinary));
    }
    let both = embedding(json!({"embedding_type": ["ubinary", "base64"]}));
    assert_eq!(both, json!({"ubinary": ubinary, "base64": base64}));
    let fields = json!({"encoding_type": "binary", "encoding_format": "base64"});
    assert_eq!(embedding(fields), base64);
    let fields = json!({"encoding_format": "base64", "embedding_type": "ubinary"});
    assert_eq!(embedding(fields), json!(ubinary));
    let fields = json!({"embedding_type": null, "encoding_format": "base64"});
    assert_eq!(embedding(fields), base64);
}

#[test]
fn a_truncated_text_is_reported() {
    let server = Server::v3();
    let long = "word ".repeat(9000);
    let body = json!({"input": [long, "short"], "truncate": true});
    let reply = server.post("/v1/embeddings", &body);
    reply.success();
    let report = reply.header("x-kokeshi-truncated").expect("a report");
    assert!(report.starts_with("texts=1, tokens="), "{report}");
    let short = server.post("/v1/embeddings", &json!({"input": "short", "truncate": true}));
    assert_eq!(short.header("x-kokeshi-truncated"), None);
}
