//! Late chunking over HTTP: one vector an input, always.

use crate::{Server, vector};
use kokeshi::{Input, LoadOptions, Model};
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
    let server = Server::v3(&[]);
    let task = "retrieval.passage";
    let vectors = server.vectors(&body(&json!(PARTS), task));
    assert_eq!(vectors, late(&PARTS, task));
    assert_ne!(vectors, server.vectors(&json!({"input": PARTS, "task": task})));
}

#[test]
fn a_list_of_lists_is_a_document_each_and_one_vector_a_chunk() {
    let server = Server::v3(&[]);
    let task = "retrieval.passage";
    let wanted = [late(&PARTS[..2], task), late(&PARTS[2..], task)].concat();
    let nested = json!([PARTS[..2], PARTS[2..]]);
    assert_eq!(server.vectors(&body(&nested, task)), wanted);
    let answer = server.post("/v1/embeddings", &json!({"input": nested, "task": task})).good();
    for (index, wanted) in wanted.iter().enumerate() {
        assert_eq!(answer["data"][index]["index"], index);
        assert_eq!(&vector(&answer["data"][index]["embedding"]), wanted);
    }
    let refused = json!({"input": nested, "late_chunking": false});
    let error = server.post("/v1/embeddings", &refused).refused(422, "INPUT_VALIDATION");
    assert_eq!(error["error"]["param"], "late_chunking");
}

#[test]
fn queries_are_not_each_others_context_unless_asked() {
    let task = "retrieval.query";
    let apart = [late(&PARTS[..1], task), late(&PARTS[1..2], task)].concat();
    let server = Server::v3(&[]);
    assert_eq!(server.vectors(&body(&json!(PARTS[..2]), task)), apart);
    let server = Server::v3(&["--join-queries"]);
    assert_eq!(server.vectors(&body(&json!(PARTS[..2]), task)), late(&PARTS[..2], task));
}

#[test]
fn past_the_models_limit_windows_run_and_a_header_says_so() {
    let server = Server::v3(&[]);
    let long = "word ".repeat(5000);
    let parts = json!([long, long, "the end", ""]);
    let answer = server.post("/v1/embeddings", &body(&parts, "retrieval.passage"));
    assert_eq!(answer.good()["data"].as_array().map(Vec::len), Some(4));
    assert!(answer.header("x-kokeshi-windows").is_some_and(|windows| windows != "1"));
    let short = server.post("/v1/embeddings", &body(&json!(PARTS), "retrieval.passage"));
    assert_eq!(short.header("x-kokeshi-windows"), None);
}
