//! Every dialect returns the same bits for a text.

use crate::{Server, starter, v2, vector};
use kokeshi_server::{Config, ROUTES};
use serde_json::{Value, json};

const TEXT: &str = "The Force will be with you. Always.";

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

/// The requests for a vector of [`TEXT`] that a POST route accepts, each with the pointer to the
/// vector in the response; none if the route does not return vectors of texts.
fn vector_requests(path: &str) -> Vec<(Value, &'static str)> {
    match path {
        "/v1/embeddings" => vec![
            (json!({"input": TEXT}), "/data/0/embedding"),
            (json!({"input": ["x", TEXT]}), "/data/1/embedding"),
        ],
        "/embed" | "/" | "/invocations" => {
            vec![(json!({"inputs": TEXT}), "/0"), (json!({"inputs": ["x", TEXT]}), "/1")]
        }
        "/api/embed" => vec![(json!({"model": "starter", "input": TEXT}), "/embeddings/0")],
        "/api/embeddings" => {
            vec![(json!({"model": "starter:latest", "prompt": TEXT}), "/embedding")]
        }
        "/v1/embed" | "/v2/embed" => {
            let types = json!({"model": "starter", "texts": [TEXT], "embedding_types": ["float"]});
            let mut requests = vec![(types, "/embeddings/float/0")];
            requests.push(match path {
                "/v1/embed" => (json!({"texts": [TEXT]}), "/embeddings/0"),
                _ => {
                    let part = json!({"type": "text", "text": TEXT});
                    (json!({"inputs": [{"content": [part]}]}), "/embeddings/float/0")
                }
            });
            requests
        }
        "/v1/classify"
        | "/v1/train"
        | "/v1/segment"
        | "/v1/similarity"
        | "/embed_all"
        | "/api/show"
        | "/v1/search"
        | "/v1/collections/{name}/documents" => Vec::new(),
        path => panic!("{path} is new: does it return vectors?"),
    }
}

#[test]
fn every_route_returns_the_same_bits() {
    let server = Server::serving(vec![starter()], Config::default());
    let expected = bits(&server.vectors(&json!({"input": TEXT}))[0]);
    let mut checked = 0;
    for route in ROUTES.iter().filter(|route| route.method == "POST") {
        for (body, pointer) in vector_requests(route.path) {
            let reply = server.post(route.path, &body).success();
            let vector = vector(reply.pointer(pointer).expect(pointer));
            assert_eq!(bits(&vector), expected, "{} {body}", route.path);
            checked += 1;
        }
    }
    assert_eq!(checked, 14);
}

#[test]
fn tasks_reach_the_model_in_every_dialect() {
    let server = Server::start();
    for (task, input_type) in [
        ("retrieval.query", "search_query"),
        ("retrieval.passage", "search_document"),
        ("classification", "classification"),
        ("separation", "clustering"),
    ] {
        let expected = server.vectors(&json!({"input": TEXT, "task": task}));
        let tei = server.post("/embed", &json!({"inputs": TEXT, "prompt_name": task})).success();
        assert_eq!(vector(&tei[0]), expected[0]);
        let cohere = server.post("/v2/embed", &json!({"texts": [TEXT], "input_type": input_type}));
        assert_eq!(vector(&cohere.success()["embeddings"]["float"][0]), expected[0]);
        let path = format!("/task/{task}/api/embed");
        let ollama = server.post(&path, &json!({"model": "starter", "input": TEXT})).success();
        assert_eq!(vector(&ollama["embeddings"][0]), expected[0]);
    }
    let server = Server::serving(vec![v2()], Config::default());
    // v2 has no tasks, but an `input_type` must not fail.
    server.post("/v2/embed", &json!({"texts": [TEXT], "input_type": "search_query"})).success();
}

#[test]
fn a_response_to_cohere_has_the_fields_that_its_client_reads() {
    let server = Server::start();
    let body = json!({
        "texts": [TEXT, "b"], "embedding_types": ["float", "ubinary"], "output_dimension": 16,
        "input_type": "search_query", "truncate": "END", "model": "starter"
    });
    let reply = server.post("/v2/embed", &body).success();
    assert_eq!(reply["response_type"], "embeddings_by_type");
    assert_eq!(reply["texts"], json!([TEXT, "b"]));
    assert_eq!(reply["embeddings"]["ubinary"][1].as_array().map(Vec::len), Some(2));
    assert!(reply["meta"]["billed_units"]["input_tokens"].is_u64() && reply["id"].is_string());
    let refusal = server.post("/v2/embed", &json!({"texts": [TEXT], "embedding_types": ["int8"]}));
    assert_eq!(refusal.status, 422);
    assert!(refusal.json()["message"].as_str().expect("a message").contains("`int8`"));
}

#[test]
fn routes_that_ollama_clients_probe_are_answered() {
    let server = Server::start();
    assert_eq!(server.get("/").status, 200);
    assert!(server.get("/api/version").success()["version"].is_string());
    assert_eq!(server.get("/api/tags").success()["models"][0]["name"], "starter:latest");
    assert_eq!(server.get("/api/ps").success()["models"][0]["model"], "starter:latest");
    let shown = server.post("/api/show", &json!({"model": "starter"})).success();
    assert_eq!(shown["capabilities"], json!(["embedding"]));
    // Clients pull a model after a 404, and only then.
    for (path, body, status) in [
        ("/api/show", json!({"name": "absent"}), 404),
        ("/api/embed", json!({"model": "absent", "input": "x"}), 404),
        ("/api/embeddings", json!({"model": "absent", "prompt": "x"}), 404),
        ("/api/embed", json!({"model": "starter", "input": "x", "dimensions": 100_000}), 422),
    ] {
        let refusal = server.post(path, &body);
        assert_eq!(refusal.status, status, "{path}: {}", refusal.text());
        assert!(refusal.json()["error"].is_string());
    }
    let reply = server.post("/api/embed", &json!({"model": "starter", "input": [TEXT]})).success();
    assert!(reply["prompt_eval_count"].as_u64() > Some(0) && reply["total_duration"].is_u64());
    // Ollama truncates texts over the limit unless `truncate` is false.
    let server = Server::v3();
    let long = "word ".repeat(9000);
    assert_eq!(server.post("/api/embed", &json!({"input": long})).status, 200);
    let strict = server.post("/api/embed", &json!({"input": long, "truncate": false}));
    assert_eq!(strict.status, 400);
    assert!(strict.json()["error"].as_str().expect("an error").contains("limit is 8192"));
}

#[test]
fn ollama_answers_without_vectors_where_there_is_no_text() {
    let server = Server::start();
    for body in [
        json!({"model": "starter"}),
        json!({"model": "starter", "input": null}),
        json!({"model": "starter", "input": ""}),
        json!({"model": "starter", "input": []}),
    ] {
        let reply = server.post("/api/embed", &body).success();
        assert_eq!(reply, json!({"model": "starter", "embeddings": []}), "{body}");
    }
    for body in [json!({"model": "starter"}), json!({"model": "starter", "prompt": ""})] {
        let reply = server.post("/api/embeddings", &body).success();
        assert_eq!(reply, json!({"embedding": []}), "{body}");
    }
    for path in ["/api/embed", "/api/embeddings"] {
        assert_eq!(server.post(path, &json!({"model": "absent"})).status, 404, "{path}");
    }
    assert_eq!(server.post("/api/embed", &json!({"input": [[]]})).status, 422);
    // A text among others keeps its place.
    let some = server.post("/api/embed", &json!({"input": ["", TEXT]})).success();
    assert_eq!(some["embeddings"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_beginning_of_a_text_can_be_dropped_instead_of_its_end() {
    let server = Server::v3();
    let text = |first: &str, last: &str| format!("{first} {}{last}", "word ".repeat(8500));
    let tei = |first: &str, last: &str, side: &str| {
        let body = json!({
            "inputs": text(first, last), "truncate": true, "truncation_direction": side
        });
        vector(&server.post("/embed", &body).success()[0])
    };
    let cohere = |first: &str, last: &str, end: &str| {
        let body = json!({"texts": [text(first, last)], "truncate": end});
        vector(&server.post("/v1/embed", &body).success()["embeddings"][0])
    };
    let without_beginning = tei("one", "end", "left");
    assert_eq!(without_beginning, cohere("two", "end", "START"));
    assert_ne!(without_beginning, tei("one", "tail", "Left"));
    assert_eq!(tei("one", "end", "Right"), cohere("one", "tail", "END"));
    let wrong = json!({"inputs": "x", "truncation_direction": "up"});
    assert_eq!(server.post("/embed", &wrong).status, 422);
}

#[test]
fn tei_describes_the_model_and_returns_the_state_of_every_token() {
    let server = Server::start();
    let info = server.get("/info").success();
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");
    assert_eq!(info["max_input_length"], 8192);
    let all = server.post("/embed_all", &json!({"inputs": [TEXT]})).success();
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
