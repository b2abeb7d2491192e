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

/// The message of a refusal in any dialect.
fn message(reply: &crate::Reply) -> String {
    let body = reply.json();
    let texts = ["detail", "message", "error"].into_iter().filter_map(|name| body[name].as_str());
    texts.map(str::to_owned).next().expect("a message")
}

#[test]
fn every_dialect_names_the_text_that_has_half_of_a_surrogate_pair() {
    let server = Server::start();
    let post = |path: &str, body: &[u8]| server.send("POST", path, &[], body);
    for (path, body, field) in [
        ("/v1/embeddings", r#"{"input": ["a", "X"]}"#, "input[1]"),
        ("/v1/embeddings", r#"{"input": ["a", {"text": "X"}]}"#, "input[1].text"),
        ("/v1/embeddings", r#"{"input": [["a"], ["b", "X"]]}"#, "input[1][1]"),
        ("/v1/embeddings", r#"{"input": "X"}"#, "input"),
        ("/v1/classify", r#"{"input": ["a"], "labels": ["b", "X"]}"#, "labels[1]"),
        ("/v1/classify", r#"{"input": ["a"], "labels": {"q": ["b", "X"]}}"#, "labels.q[1]"),
        ("/v1/train", r#"{"input": [{"text": "X", "label": "b"}]}"#, "input[0].text"),
        ("/v1/segment", r#"{"content": "X"}"#, "content"),
        ("/v1/similarity", r#"{"input": ["a", "X"]}"#, "input[1]"),
        ("/embed", r#"{"inputs": ["a", "X"]}"#, "inputs[1]"),
        ("/", r#"{"inputs": ["a", "X"]}"#, "inputs[1]"),
        ("/embed_all", r#"{"inputs": ["a", "X"]}"#, "inputs[1]"),
        ("/api/embed", r#"{"input": ["a", "X"]}"#, "input[1]"),
        ("/api/embeddings", r#"{"prompt": "X"}"#, "prompt"),
        ("/v1/embed", r#"{"texts": ["a", "X"]}"#, "texts[1]"),
        ("/v2/embed", r#"{"inputs": [{"content": [{"text": "X"}]}]}"#, "inputs[0].content[0].text"),
    ] {
        let expected = format!("{field} has half of a surrogate pair");
        for half in [r"ab\ud83d", r"\ud83d\n", r"\ud83dx", r"\ude00 b", r"\ud83d\ud83d\ude00"] {
            let reply = post(path, body.replace('X', half).as_bytes());
            assert_eq!(reply.status, 422, "{path} {half}: {}", reply.text());
            assert!(message(&reply).starts_with(&expected), "{path} {half}: {}", reply.text());
        }
        // The same in bytes, which are not UTF-8.
        let (before, after) = body.split_once('X').expect("a text");
        let with = |bytes: &[u8]| [before.as_bytes(), bytes, after.as_bytes()].concat();
        let reply = post(path, &with(b"a\xed\xa0\xbd"));
        assert!(message(&reply).starts_with(&expected), "{path}: {}", reply.text());
        let reply = post(path, &with(b"a\xff"));
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert!(message(&reply).contains(&format!("{field} is not UTF-8")), "{}", reply.text());
    }
    let pair = br#"{"input": ["\ud83d\ude00"]}"#;
    assert_eq!(post("/v1/embeddings", pair).status, 200, "a whole pair is a character");
}

#[test]
fn every_dialect_names_an_invalid_field_in_its_message() {
    let server = Server::start();
    for (path, body, field) in [
        ("/embed", json!({"inputs": ["a", 7]}), "inputs[1]"),
        ("/api/embed", json!({"input": ["a", 7]}), "input[1]"),
        ("/v2/embed", json!({"texts": ["a", 7]}), "texts[1]"),
        ("/v2/embed", json!({"texts": ["a"], "truncate": "x"}), "truncate"),
    ] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, 422);
        assert!(message(&reply).contains(field), "{path}: {}", reply.text());
    }
}

#[test]
fn a_byte_order_mark_and_the_identity_encoding_in_any_case_are_accepted() {
    let server = Server::start();
    let send = |encoding: &str, body: &[u8]| {
        server.send("POST", "/v1/embeddings", &[("Content-Encoding", encoding)], body)
    };
    for encoding in ["identity", "Identity", "IDENTITY", "identity, Identity", ""] {
        assert_eq!(send(encoding, b"\xef\xbb\xbf{\"input\": \"x\"}").status, 200, "{encoding}");
    }
    for encoding in ["gzip", "identity, gzip", "Identity-like"] {
        send(encoding, b"{\"input\": \"x\"}").refusal(415, "INPUT_INVALID_ENCODING");
    }
    let twice = b"\xef\xbb\xbf\xef\xbb\xbf{\"input\": \"x\"}";
    send("identity", twice).refusal(400, "INPUT_INVALID_JSON");
}

#[test]
fn probes_share_a_forward_pass() {
    let server = Server::start();
    let passes = || {
        let metrics = server.get("/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with("kokeshi_forward_seconds_count"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    assert_eq!(server.get("/ready").status, 200);
    // Others may have to wait for the cores, so that half a second passes.
    let (before, started) = (passes(), std::time::Instant::now());
    for _ in 0..50 {
        assert!(server.get("/ready").text().starts_with("ready\n"));
    }
    let spans = started.elapsed().as_millis() as u64 / 500 + 1;
    assert!(passes() - before <= spans, "{} in {spans}", passes() - before);
}

#[test]
fn a_full_queue_refuses_lists_and_single_texts_at_once() {
    let server = Server::with(limited(|limits| limits.queue_tokens = 1));
    let long = json!({"input": vec!["word ".repeat(1500); 3]});
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
