//! Invalid requests are refused with one clear message, and the server keeps running.

use crate::Server;
use kokeshi_server::{Config, Limits};
use serde_json::{Value, json};

/// A configuration with other limits.
fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    change(&mut config.limits);
    config
}

#[test]
fn an_invalid_field_is_422_and_named() {
    let server = Server::v3();
    for (body, field) in [
        (json!({"input": "x", "task": 7}), "task"),
        (json!({"input": "x", "task": "no-task"}), "task"),
        (json!({"input": "x", "dimensions": "many"}), "dimensions"),
        (json!({"input": "x", "dimensions": -1}), "dimensions"),
        (json!({"input": "x", "dimensions": 0}), "dimensions"),
        (json!({"input": "x", "dimensions": 1e300}), "dimensions"),
        (json!({"input": "x", "dimensions": 100_000}), "dimensions"),
        (json!({"input": "x", "dimensions": 1.5}), "dimensions"),
        (json!({"input": "x", "late_chunking": "yes"}), "late_chunking"),
        (json!({"input": "x", "normalized": 1}), "normalized"),
        (json!({"input": "x", "truncate": []}), "truncate"),
        (json!({"input": "x", "embedding_type": "int8"}), "embedding_type"),
        (json!({"input": "x", "encoding_format": []}), "encoding_format"),
        (json!({"input": "x", "encoding_type": 7}), "encoding_type"),
        (json!({"input": "x", "model": 7}), "model"),
        (json!({"input": 7}), "input"),
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": true}), "input"),
        (json!({"input": ["a", null]}), "input[1]"),
        (json!({"input": ["a", 7]}), "input[1]"),
        (json!({"input": ["a", ["b"]]}), "input[1]"),
        (json!({"input": [["a"], "b"]}), "input[1]"),
        (json!({"input": [["a"], []]}), "input[1]"),
        (json!({"input": [["a"], ["b", ["c"]]]}), "input[1][1]"),
        (json!({"input": ["a", {"image": "http://x"}]}), "input[1]"),
        (json!({"input": ["a", {"id": 1}]}), "input[1]"),
        (json!({"input": [{"text": 7}]}), "input[0].text"),
    ] {
        let error = server.post("/v1/embeddings", &body).refusal(422, "INPUT_VALIDATION");
        assert_eq!(error["errors"][0]["field"], field, "{error}");
        assert_eq!(error["error"]["param"], field);
    }
    for body in [json!({}), json!({"model": "jina-embeddings-v3"})] {
        let error = server.post("/v1/embeddings", &body).refusal(422, "INPUT_VALIDATION");
        assert!(error["detail"].as_str().expect("a text").contains("`input`"), "{error}");
    }
}

#[test]
fn other_refusals_have_the_codes_of_the_hosted_service() {
    let server =
        Server::v3_with(limited(|limits| (limits.items, limits.body_bytes) = (3, 100_000)));
    let post = |body: &Value| server.post("/v1/embeddings", body);
    let error = post(&json!({"model": "gpt", "input": "x"})).refusal(400, "INPUT_MODEL_NOT_FOUND");
    assert!(error["detail"].as_str().expect("a text").contains("`jina-embeddings-v3`"));
    let error = post(&json!({"input": ["a", "b", "c", "d"]})).refusal(400, "INPUT_TOO_MANY_ITEMS");
    let expected = "\"input\" length 4 is larger than the largest allowed size 3";
    assert_eq!(error["detail"], expected);
    let long = json!({"input": ["a", "word ".repeat(9000)]});
    let error = post(&long).refusal(400, "INPUT_TOO_LONG");
    let detail = error["detail"].as_str().expect("a text");
    assert!(detail.contains("text 1") && detail.contains("8192"), "{detail}");
    let error =
        post(&json!({"input": [[1, 2], [4_000_000_000_u32]]})).refusal(400, "INPUT_TOKEN_IDS");
    assert!(error["detail"].as_str().expect("text").contains("check_embedding_ctx_length=False"));
    post(&json!({"input": "x".repeat(200_000)})).refusal(413, "INPUT_TOO_LARGE");
    server.get("/v1/embeddings").refusal(405, "METHOD_NOT_ALLOWED");
    server.get("/nothing").refusal(404, "RESOURCE_NOT_FOUND");
    server.get("/v1/models/%ff").refusal(400, "INPUT_INVALID");
    server.send("DELETE", "/v1/classifiers/%ff", &[], b"").refusal(400, "INPUT_INVALID");
    let raw = |body: &[u8]| server.send("POST", "/v1/embeddings", &[], body);
    for body in [
        &b"{"[..],
        b"",
        b"nonsense",
        b"{\"input\": \"\xff\"}",
        b"{\"input\": \"x\", \"unknown\": \"\xff\"}",
        b"{\"input\":\"x\"} more",
    ] {
        raw(body).refusal(400, "INPUT_INVALID_JSON");
    }
    raw(b"{\"input\": \"x\", \"unknown\": \"\xff\"}").refusal(400, "INPUT_INVALID_JSON");
    raw("[".repeat(50_000).as_bytes()).refusal(400, "INPUT_INVALID_JSON");
    let deep = format!("{{\"input\":{}", "[".repeat(50_000));
    raw(deep.as_bytes()).refusal(400, "INPUT_INVALID_JSON");
    for body in [&b"[\"starter\", \"x\"]"[..], b"\"x\"", b"null", b"1"] {
        let error = raw(body).refusal(422, "INPUT_VALIDATION");
        assert_eq!(error["detail"], "expected an object");
    }
    raw(b"{\"model\": 1, \"input\": [").refusal(400, "INPUT_INVALID_JSON");
    let compressed = [("Content-Encoding", "gzip")];
    let reply = server.send("POST", "/v1/embeddings", &compressed, b"{\"input\":\"x\"}");
    reply.refusal(415, "INPUT_INVALID_ENCODING");
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn a_full_queue_refuses_lists_and_single_texts_at_once() {
    let server = Server::with(limited(|limits| limits.queue_tokens = 1));
    let long = json!({"input": vec!["word ".repeat(8000); 8]});
    let refusals = std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.post("/v1/embeddings", &long));
        server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
        let inputs = [json!("x"), json!(["x", "y"])];
        let refusals = inputs.map(|input| server.post("/v1/embeddings", &json!({"input": input})));
        assert_eq!(server.get("/ready").status, 200, "a busy server is ready");
        assert_eq!(busy.join().expect("an answer").status, 200);
        refusals
    });
    for reply in refusals {
        reply.refusal(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
        assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()));
    }
}
