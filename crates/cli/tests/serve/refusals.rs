//! Bad requests get one clear answer, and the server goes on.

use crate::Server;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn wrong_types_are_422_and_name_the_field() {
    let server = Server::v3(&[]);
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
        let error = server.post("/v1/embeddings", &body).refused(422, "INPUT_VALIDATION");
        assert_eq!(error["errors"][0]["field"], field, "{error}");
        assert_eq!(error["error"]["param"], field);
    }
    for body in [json!({}), json!({"model": "jina-embeddings-v3"})] {
        let error = server.post("/v1/embeddings", &body).refused(422, "INPUT_VALIDATION");
        assert!(error["detail"].as_str().expect("a text").contains("`input`"), "{error}");
    }
}

#[test]
fn other_refusals_have_the_codes_of_the_service() {
    let server = Server::v3(&["--max-items", "3", "--max-body", "100kB"]);
    let post = |body: &Value| server.post("/v1/embeddings", body);
    let error = post(&json!({"model": "gpt", "input": "x"})).refused(400, "INPUT_MODEL_NOT_FOUND");
    assert!(error["detail"].as_str().expect("a text").contains("`jina-embeddings-v3`"));
    let error = post(&json!({"input": ["a", "b", "c", "d"]})).refused(400, "INPUT_TOO_MANY_ITEMS");
    let wanted = "\"input\" length 4 is larger than the largest allowed size 3";
    assert_eq!(error["detail"], wanted);
    let long = json!({"input": ["a", "word ".repeat(9000)]});
    let error = post(&long).refused(400, "INPUT_TOO_LONG");
    let detail = error["detail"].as_str().expect("a text");
    assert!(detail.contains("text 1") && detail.contains("8192"), "{detail}");
    let error =
        post(&json!({"input": [[1, 2], [4_000_000_000_u32]]})).refused(400, "INPUT_TOKEN_IDS");
    assert!(error["detail"].as_str().expect("text").contains("check_embedding_ctx_length=False"));
    post(&json!({"input": "x".repeat(200_000)})).refused(413, "INPUT_TOO_LARGE");
    server.get("/v1/embeddings").refused(405, "METHOD_NOT_ALLOWED");
    server.get("/nothing").refused(404, "RESOURCE_NOT_FOUND");
    server.get("/v1/models/%ff").refused(400, "INPUT_INVALID");
    server.send("DELETE", "/v1/classifiers/%ff", &[], b"").refused(400, "INPUT_INVALID");
    let raw = |body: &[u8]| server.send("POST", "/v1/embeddings", &[], body);
    for body in [
        &b"{"[..],
        b"",
        b"nonsense",
        b"{\"input\": \"\xff\"}",
        b"{\"input\": \"x\", \"unknown\": \"\xff\"}",
        b"{\"input\":\"x\"} more",
    ] {
        raw(body).refused(400, "INPUT_INVALID_JSON");
    }
    raw(b"{\"input\": \"x\", \"unknown\": \"\xff\"}").refused(400, "INPUT_INVALID_JSON");
    raw("[".repeat(50_000).as_bytes()).refused(400, "INPUT_INVALID_JSON");
    let deep = format!("{{\"input\":{}", "[".repeat(50_000));
    raw(deep.as_bytes()).refused(400, "INPUT_INVALID_JSON");
    for body in [&b"[\"starter\", \"x\"]"[..], b"\"x\"", b"null", b"1"] {
        let error = raw(body).refused(422, "INPUT_VALIDATION");
        assert_eq!(error["detail"], "expected an object");
    }
    raw(b"{\"model\": 1, \"input\": [").refused(400, "INPUT_INVALID_JSON");
    let zipped = [("Content-Encoding", "gzip")];
    let answer = server.send("POST", "/v1/embeddings", &zipped, b"{\"input\":\"x\"}");
    answer.refused(415, "INPUT_INVALID_ENCODING");
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn slow_headers_and_bodies_end() {
    let server = Server::start(&["--header-timeout", "0.5", "--body-timeout", "0.5"]);
    let started = Instant::now();
    let mut slow = server.connect();
    slow.write_all(b"POST /v1/embeddings HTTP/1.1\r\nHost:").expect("a part of a head");
    let mut answer = Vec::new();
    // Either an answer or the end of the connection.
    let _ = slow.read_to_end(&mut answer);
    let mut slow = server.connect();
    let head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head).expect("a part of a body");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn a_full_queue_refuses_at_once_a_list_as_a_single_text() {
    let server = Server::start(&["--queue-tokens", "1"]);
    let long = json!({"input": vec!["word ".repeat(8000); 8]});
    let refused = std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.post("/v1/embeddings", &long));
        server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
        let inputs = [json!("x"), json!(["x", "y"])];
        let refused = inputs.map(|input| server.post("/v1/embeddings", &json!({"input": input})));
        assert_eq!(server.get("/ready").status, 200, "busy is not stuck");
        assert_eq!(busy.join().expect("an answer").status, 200);
        refused
    });
    for answer in refused {
        answer.refused(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()));
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_at_once_and_probes_are_not() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut idle = server.connect();
    let started = Instant::now();
    let refused = server.post("/v1/embeddings", &json!({"input": "x"}));
    refused.refused(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!((server.get("/live").status, server.get("/ready").status), (200, 200));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // The one that came first is served.
    crate::write_request(&mut idle, "POST", "/v1/embeddings", &[], b"{\"input\":\"x\"}");
    let mut raw = Vec::new();
    idle.read_to_end(&mut raw).expect("an answer");
    assert_eq!(crate::Answer::read(&raw).status, 200);
    drop(idle);
    while server.post("/v1/embeddings", &json!({"input": "x"})).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "there is room, and it refuses");
    }
}

#[cfg(unix)]
#[test]
fn a_low_limit_of_open_files_is_raised() {
    let server = Server::start_limited("ulimit -S -n 40");
    let connections: Vec<_> = (0..60).map(|_| server.connect()).collect();
    let started = Instant::now();
    assert_eq!(server.post("/v1/embeddings", &json!({"input": "x"})).status, 200);
    // Idle connections would make room after --header-timeout.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    drop(connections);
}

#[test]
fn states_of_many_long_texts_keep_no_short_query_waiting() {
    let server = Server::start(&["--threads", "1"]);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = "word ".repeat(8000);
    let pass = Instant::now();
    server.post("/embed_all", &json!({"inputs": text})).good();
    let pass = pass.elapsed();
    let long = json!({"inputs": vec![text; 2]}).to_string();
    let clients = cores + 4;
    let streams: Vec<_> = (0..clients)
        .map(|_| {
            let mut stream = server.connect();
            crate::write_request(&mut stream, "POST", "/embed_all", &[], long.as_bytes());
            stream
        })
        .collect();
    // Their texts are checked, and the first passes run.
    server.wait_for(&format!("kokeshi_requests_in_flight {}", clients + 1));
    std::thread::sleep(2 * pass);
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(server.post("/v1/embeddings", &json!({"input": "x"})).status, 200);
        assert!(started.elapsed() < pass / 2, "{:?} of {pass:?}", started.elapsed());
    }
    // Clients that go away end their work.
    server.wait_for(&format!("kokeshi_requests_in_flight {}", clients + 1));
    drop(streams);
    server.wait_for("kokeshi_requests_in_flight 1");
}

#[test]
fn a_client_that_goes_away_takes_its_work_with_it() {
    let server = Server::start(&[]);
    let long = json!({"input": vec!["word ".repeat(8000); 64]}).to_string();
    let mut stream = server.connect();
    crate::write_request(&mut stream, "POST", "/v1/embeddings", &[], long.as_bytes());
    server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
    drop(stream);
    server.wait_for("kokeshi_queue_requests{model=\"starter\"} 0");
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("kokeshi_texts_total{model=\"starter\""), "nothing was answered");
}
