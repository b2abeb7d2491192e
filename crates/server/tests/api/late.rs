//! Late chunking over HTTP: always one vector per input.

use crate::{Server, vector};
use kokeshi::{Input, LoadOptions, Model};
use kokeshi_server::Config;
use kokeshi_testkit::fixture;
use serde_json::{Value, json};

const PARTS: [&str; 3] = ["Berlin is the capital.", "It has many inhabitants.", "So has Hamburg."];

fn late(parts: &[&str], task: &str) -> Vec<Vec<f32>> {
    let model =
        Model::open(&fixture("v3-tiny/original"), &LoadOptions::default()).expect("a model");
    model.embed(&[Input::late_parts(parts).task(task)]).expect("vectors").remove(0).vectors
}

fn body(input: &Value, task: &str) -> Value {
    json!({"model": "jina-embeddings-v3", "input": input, "task": task, "late_chunking": true})
}

#[test]
fn all_inputs_are_one_document() {
    let server = Server::v3();
    let task = "retrieval.passage";
    let vectors = server.vectors(&body(&json!(PARTS), task));
    assert_eq!(vectors, late(&PARTS, task));
    assert_ne!(vectors, server.vectors(&json!({"input": PARTS, "task": task})));
}

#[test]
fn each_inner_list_is_a_document_with_one_vector_per_chunk() {
    let server = Server::v3();
    let task = "retrieval.passage";
    let expected = [late(&PARTS[..2], task), late(&PARTS[2..], task)].concat();
    let nested = json!([PARTS[..2], PARTS[2..]]);
    assert_eq!(server.vectors(&body(&nested, task)), expected);
    let reply = server.post("/v1/embeddings", &json!({"input": nested, "task": task})).success();
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(reply["data"][index]["index"], index);
        assert_eq!(&vector(&reply["data"][index]["embedding"]), expected);
    }
    let refused = json!({"input": nested, "late_chunking": false});
    let error = server.post("/v1/embeddings", &refused).refusal(422, "INPUT_VALIDATION");
    assert_eq!(error["error"]["param"], "late_chunking");
}

#[test]
fn queries_share_no_context_unless_configured() {
    let task = "retrieval.query";
    let separate = [late(&PARTS[..1], task), late(&PARTS[1..2], task)].concat();
    let server = Server::v3();
    assert_eq!(server.vectors(&body(&json!(PARTS[..2]), task)), separate);
    let server = Server::v3_with(Config { join_queries: true, ..Config::default() });
    assert_eq!(server.vectors(&body(&json!(PARTS[..2]), task)), late(&PARTS[..2], task));
}

#[test]
fn a_header_reports_the_windows_of_a_document_over_the_limit() {
    let server = Server::v3();
    let long = "word ".repeat(5000);
    let parts = json!([long, long, "the end", ""]);
    let reply = server.post("/v1/embeddings", &body(&parts, "retrieval.passage"));
    assert_eq!(reply.success()["data"].as_array().map(Vec::len), Some(4));
    assert!(reply.header("x-kokeshi-windows").is_some_and(|windows| windows != "1"));
    let short = server.post("/v1/embeddings", &body(&json!(PARTS), "retrieval.passage"));
    assert_eq!(short.header("x-kokeshi-windows"), None);
}
