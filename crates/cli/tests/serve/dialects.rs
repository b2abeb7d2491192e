//! The same text through every dialect gives the same bits.

use crate::{Server, vector};
use serde_json::{Value, json};

const TEXT: &str = "The Force will be with you. Always.";

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_dialect_gives_the_same_bits() {
    let server = Server::start(&[]);
    let wanted = bits(&server.vectors(&json!({"input": TEXT}))[0]);
    let at = |path: &str, body: Value, pointer: &str| {
        let answer = server.post(path, &body).good();
        bits(&vector(answer.pointer(pointer).expect(pointer)))
    };
    assert_eq!(at("/embed", json!({"inputs": TEXT}), "/0"), wanted);
    assert_eq!(at("/embed", json!({"inputs": ["x", TEXT]}), "/1"), wanted);
    assert_eq!(
        at("/api/embed", json!({"model": "starter", "input": TEXT}), "/embeddings/0"),
        wanted
    );
    let prompt = json!({"model": "starter:latest", "prompt": TEXT});
    assert_eq!(at("/api/embeddings", prompt, "/embedding"), wanted);
    let cohere = json!({"model": "starter", "texts": [TEXT], "embedding_types": ["float"]});
    assert_eq!(at("/v2/embed", cohere.clone(), "/embeddings/float/0"), wanted);
    assert_eq!(at("/v1/embed", cohere, "/embeddings/float/0"), wanted);
    assert_eq!(at("/v1/embed", json!({"texts": [TEXT]}), "/embeddings/0"), wanted);
    let parts = json!({"inputs": [{"content": [{"type": "text", "text": TEXT}]}]});
    assert_eq!(at("/v2/embed", parts, "/embeddings/float/0"), wanted);
}

#[test]
fn tasks_reach_the_model_in_every_dialect() {
    let server = Server::start(&[]);
    for (task, input_type) in [
        ("retrieval.query", "search_query"),
        ("retrieval.passage", "search_document"),
        ("classification", "classification"),
        ("separation", "clustering"),
    ] {
        let wanted = server.vectors(&json!({"input": TEXT, "task": task}));
        let tei = server.post("/embed", &json!({"inputs": TEXT, "prompt_name": task})).good();
        assert_eq!(vector(&tei[0]), wanted[0]);
        let cohere = server.post("/v2/embed", &json!({"texts": [TEXT], "input_type": input_type}));
        assert_eq!(vector(&cohere.good()["embeddings"]["float"][0]), wanted[0]);
        let path = format!("/task/{task}/api/embed");
        let ollama = server.post(&path, &json!({"model": "starter", "input": TEXT})).good();
        assert_eq!(vector(&ollama["embeddings"][0]), wanted[0]);
    }
    let v2 = format!("jina-embeddings-v2-base-en={}", crate::tiny_v2().display());
    let server = Server::start(&["--model", &v2]);
    // Of v2 nobody can ask for a task by Cohere's words, and they must not fail.
    server.post("/v2/embed", &json!({"texts": [TEXT], "input_type": "search_query"})).good();
}

#[test]
fn cohere_answers_have_what_its_client_reads() {
    let server = Server::start(&[]);
    let body = json!({
        "texts": [TEXT, "b"], "embedding_types": ["float", "ubinary"], "output_dimension": 16,
        "input_type": "search_query", "truncate": "END", "model": "starter"
    });
    let answer = server.post("/v2/embed", &body).good();
    assert_eq!(answer["response_type"], "embeddings_by_type");
    assert_eq!(answer["texts"], json!([TEXT, "b"]));
    assert_eq!(answer["embeddings"]["ubinary"][1].as_array().map(Vec::len), Some(2));
    assert!(answer["meta"]["billed_units"]["input_tokens"].is_u64() && answer["id"].is_string());
    let refused = server.post("/v2/embed", &json!({"texts": [TEXT], "embedding_types": ["int8"]}));
    assert_eq!(refused.status, 422);
    assert!(refused.json()["message"].as_str().expect("a message").contains("`int8`"));
}

#[test]
fn ollamas_clients_find_what_they_probe() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/").status, 200);
    assert!(server.get("/api/version").good()["version"].is_string());
    assert_eq!(server.get("/api/tags").good()["models"][0]["name"], "starter:latest");
    assert_eq!(server.get("/api/ps").good()["models"][0]["model"], "starter:latest");
    let shown = server.post("/api/show", &json!({"model": "starter"})).good();
    assert_eq!(shown["capabilities"], json!(["embedding"]));
    // Clients pull a model when they are told 404, and then only.
    for (path, body, status) in [
        ("/api/show", json!({"name": "nobody"}), 404),
        ("/api/embed", json!({"model": "nobody", "input": "x"}), 404),
        ("/api/embeddings", json!({"model": "nobody", "prompt": "x"}), 404),
        ("/api/embed", json!({"model": "starter", "input": "x", "dimensions": 100_000}), 422),
    ] {
        let refused = server.post(path, &body);
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
        assert!(refused.json()["error"].is_string());
    }
    let answer = server.post("/api/embed", &json!({"model": "starter", "input": [TEXT]})).good();
    assert!(answer["prompt_eval_count"].as_u64() > Some(0) && answer["total_duration"].is_u64());
    // Ollama cuts what is too long unless it is told not to.
    let long = "word ".repeat(9000);
    assert_eq!(server.post("/api/embed", &json!({"input": long})).status, 200);
    let strict = server.post("/api/embed", &json!({"input": long, "truncate": false}));
    assert_eq!(strict.status, 400);
    assert!(strict.json()["error"].as_str().expect("an error").contains("limit of 8192"));
}

#[test]
fn tei_tells_of_the_model_and_gives_the_state_of_every_token() {
    let server = Server::start(&[]);
    let info = server.get("/info").good();
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");
    assert_eq!(info["max_input_length"], 8192);
    let all = server.post("/embed_all", &json!({"inputs": [TEXT]})).good();
    let states: Vec<Vec<f32>> = all[0].as_array().expect("tokens").iter().map(vector).collect();
    let raw = json!({"input": TEXT, "normalized": false});
    let mean = server.vectors(&raw).remove(0);
    for (dimension, mean) in mean.iter().enumerate() {
        let sum: f32 = states.iter().map(|state| state[dimension]).sum();
        assert!((sum / states.len() as f32 - mean).abs() < 1e-5);
    }
    let many = server.post("/embed_all", &json!({"inputs": vec!["word ".repeat(6000); 3]}));
    assert_eq!(many.status, 400);
    assert!(many.json()["error"].as_str().expect("an error").contains("at most 16384"));
    let error = server.post("/embed", &json!({"inputs": 7}));
    assert_eq!(error.status, 422);
    assert_eq!(error.json()["error_type"], "Validation");
    assert!(error.json()["error"].is_string());
}
