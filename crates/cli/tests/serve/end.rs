//! The probes, the log, and the end.

use crate::{Answer, Server, write_request};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

#[test]
fn metrics_count_requests_texts_tokens_and_passes() {
    let server = Server::start(&[]);
    let body = json!({"input": ["a", "b"], "task": "separation"});
    let tokens = server.post("/v1/embeddings", &body).good()["usage"]["total_tokens"].clone();
    server.post("/v1/embeddings", &json!({"input": 7})).refused(422, "INPUT_VALIDATION");
    server.get("/some/path");
    let text = server.get("/metrics").text();
    for line in [
        "kokeshi_requests_total{path=\"/v1/embeddings\",status=\"200\"} 1".to_owned(),
        "kokeshi_requests_total{path=\"/v1/embeddings\",status=\"422\"} 1".to_owned(),
        "kokeshi_requests_total{path=\"other\",status=\"404\"} 1".to_owned(),
        "kokeshi_errors_total{code=\"INPUT_VALIDATION\"} 1".to_owned(),
        "kokeshi_texts_total{model=\"starter\",task=\"separation\"} 2".to_owned(),
        format!("kokeshi_tokens_total{{model=\"starter\",task=\"separation\"}} {tokens}"),
        "kokeshi_queue_wait_seconds_count{model=\"starter\"} 1".to_owned(),
        "kokeshi_queue_tokens{model=\"starter\"} 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("kokeshi_forward_seconds_bucket{model=\"starter\""), "{text}");
}

#[test]
fn the_log_is_json_with_ids_and_without_texts_unless_asked() {
    let secret = "a very private text";
    for (args, told) in
        [(&["--log-format", "json"][..], false), (&["--log-format", "json", "--log-inputs"], true)]
    {
        let server = Server::start(args);
        let body = json!({"input": secret}).to_string();
        let sent = [("X-Request-Id", "my-id.7")];
        let answer = server.send("POST", "/v1/embeddings", &sent, body.as_bytes());
        assert_eq!(answer.header("x-request-id"), Some("my-id.7"));
        let started = Instant::now();
        let line = loop {
            let log = server.log.lock().expect("a log").clone();
            let found = log.lines().find(|line| line.contains("\"status\"")).map(str::to_owned);
            if let Some(line) = found {
                break line;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{log}");
        };
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["request_id"], &line["status"]), (&json!("my-id.7"), &json!(200)));
        assert_eq!(line["path"], "/v1/embeddings");
        let log = server.log.lock().expect("a log").clone();
        assert_eq!(log.contains(secret), told, "{log}");
    }
}

#[test]
fn the_description_names_every_path_and_the_page_downloads_nothing() {
    let server = Server::start(&[]);
    let api = server.get("/openapi.json").good();
    for path in [
        "/v1/embeddings",
        "/v1/classify",
        "/v1/train",
        "/v1/segment",
        "/embed",
        "/api/embed",
        "/v2/embed",
    ] {
        let operation = &api["paths"][path]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let name = schema.as_str().and_then(|name| name.rsplit('/').next()).expect(path);
        assert!(api["components"]["schemas"][name]["properties"].is_object(), "{path}");
    }
    let body = &api["components"]["schemas"]["EmbeddingsBody"]["properties"];
    for field in [
        "model",
        "input",
        "task",
        "dimensions",
        "late_chunking",
        "normalized",
        "truncate",
        "embedding_type",
        "encoding_format",
        "encoding_type",
    ] {
        assert!(body[field].is_object(), "{field}");
    }
    let page = server.get("/docs");
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
}

#[cfg(unix)]
#[test]
fn a_signal_to_stop_lets_every_accepted_request_end_and_refuses_new_ones() {
    // Other tests may keep the cores busy for longer than the default.
    let mut server = Server::start(&["--drain-timeout", "300"]);
    let long = json!({"input": vec!["word ".repeat(4000); 12]}).to_string();
    let mut streams: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            write_request(&mut stream, "POST", "/v1/embeddings", &[], long.as_bytes());
            stream
        })
        .collect();
    server.wait_for("kokeshi_queue_requests{model=\"starter\"} 4");
    server.terminate();
    let started = Instant::now();
    loop {
        let answer = server.post("/v1/embeddings", &json!({"input": "x"}));
        if answer.status == 503 {
            answer.refused(503, "SERVICE_UNAVAILABLE");
            assert!(answer.header("retry-after").is_some());
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it still accepts");
    }
    server.get("/ready").refused(503, "SERVICE_UNAVAILABLE");
    assert_eq!(server.get("/live").status, 200);
    for stream in &mut streams {
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).expect("an answer");
        assert_eq!(Answer::read(&raw).good()["data"].as_array().map(Vec::len), Some(12));
    }
    let status = server.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

#[cfg(unix)]
#[test]
fn a_client_that_reads_late_gets_its_answer_whole_although_the_server_stops() {
    let mut server = Server::start(&[]);
    // States of 20 MB: more than sockets hold.
    let long = json!({"inputs": "word ".repeat(6000)}).to_string();
    let mut stream = server.connect();
    write_request(&mut stream, "POST", "/embed_all", &[], long.as_bytes());
    server.wait_for("kokeshi_requests_total{path=\"/embed_all\",status=\"200\"} 1");
    server.terminate();
    std::thread::sleep(Duration::from_secs(4));
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).expect("an answer");
    let answer = Answer::read(&raw).good();
    assert!(answer[0].as_array().is_some_and(|states| states.len() >= 6000));
    let status = server.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

#[cfg(unix)]
#[test]
fn the_end_does_not_wait_longer_than_it_may() {
    let mut server = Server::start(&["--drain-timeout", "0.2"]);
    let long = json!({"input": vec!["word ".repeat(8000); 100]}).to_string();
    let mut stream = server.connect();
    write_request(&mut stream, "POST", "/v1/embeddings", &[], long.as_bytes());
    server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
    server.terminate();
    let started = Instant::now();
    let status = server.child.wait().expect("an end");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(status.code(), Some(1), "it says that a request was given up");
}

#[test]
fn spans_reach_a_collector_and_belong_to_the_clients_trace() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", collector.local_addr().expect("an address"));
    let server = Server::start(&["--otlp-endpoint", &endpoint]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let sent = [("traceparent", parent.as_str())];
    let answer = server.send("POST", "/v1/embeddings", &sent, b"{\"input\":\"x\"}");
    let (mut stream, _) = collector.accept().expect("a message");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let (mut raw, mut part) = (Vec::new(), [0; 4096]);
    let message = loop {
        let read = stream.read(&mut part).expect("a message");
        raw.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some(Ok(message)) =
            text.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body))
        {
            let message: Value = message;
            assert!(text.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{text}");
            break message;
        }
        assert!(read > 0, "no message: {text}");
    };
    let span = &message["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(
        (&span["traceId"], &span["parentSpanId"]),
        (&json!(trace), &json!("00f067aa0ba902b7"))
    );
    assert_eq!((&span["name"], &span["kind"]), (&json!("POST /v1/embeddings"), &json!(2)));
    let attributes = span["attributes"].as_array().expect("attributes");
    let id = attributes.iter().find(|one| one["key"] == "kokeshi.request_id").expect("an id");
    assert_eq!(id["value"]["stringValue"].as_str(), answer.header("x-request-id"));
    assert!(attributes.iter().any(|one| one["value"]["intValue"] == "200"), "{span}");
}
