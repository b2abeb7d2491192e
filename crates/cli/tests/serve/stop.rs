//! The log, traces, and stopping.

use crate::{Reply, Server, write_request};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

#[test]
fn the_log_is_json_with_ids_and_texts_only_if_configured() {
    let secret = "a very private text";
    for (args, is_logged) in
        [(&["--log-format", "json"][..], false), (&["--log-format", "json", "--log-inputs"], true)]
    {
        let server = Server::start(args);
        let body = json!({"input": secret}).to_string();
        let sent = [("X-Request-Id", "my-id.7")];
        let reply = server.send("POST", "/v1/embeddings", &sent, body.as_bytes());
        assert_eq!(reply.header("x-request-id"), Some("my-id.7"));
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
        assert_eq!(log.contains(secret), is_logged, "{log}");
    }
}

#[test]
fn a_log_of_json_is_json_from_the_first_line_and_at_a_failed_start() {
    let server = Server::start(&["--log-format", "json"]);
    server.get("/v1/nothing/%1b");
    server.wait_for_log("/v1/nothing");
    let log = server.log.lock().expect("a log").clone();
    assert!(log.lines().count() >= 3, "{log}");
    let folder = tempfile::tempdir().expect("a folder");
    let failed = |args: &[&str]| {
        let output = crate::command(args, &[], &folder).output().expect("an end");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (status, missing) =
        failed(&["--log-format", "json", "--api-key-file", "none.toml", "--check"]);
    assert_eq!(status, Some(4), "{missing}");
    assert!(missing.contains("none.toml"), "{missing}");
    let (_, bad) = failed(&["--log-format", "json", "--config", "none.toml"]);
    for line in log.lines().chain(missing.lines()).chain(bad.lines()) {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: {line}");
        });
        assert!(entry["level"].is_string() && entry["message"].is_string(), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn after_a_signal_accepted_requests_are_finished_and_new_ones_refused() {
    // Other tests may keep the cores busy for longer than the default timeout.
    let mut server = Server::start(&["--drain-timeout", "300"]);
    let long = json!({"input": vec!["word ".repeat(1000); 3]}).to_string();
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
        let reply = server.post("/v1/embeddings", &json!({"input": "x"}));
        if reply.status == 503 {
            reply.refusal(503, "SERVICE_UNAVAILABLE");
            assert!(reply.header("retry-after").is_some());
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it still accepts requests");
    }
    server.get("/ready").refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(server.get("/live").status, 200);
    for stream in &mut streams {
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).expect("an answer");
        assert_eq!(Reply::parse(&raw).success()["data"].as_array().map(Vec::len), Some(3));
    }
    let status = server.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

#[cfg(unix)]
#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn a_slow_reader_gets_its_whole_response_although_the_server_stops() {
    let mut server = Server::start(&[]);
    // States of 12 MB: more than the buffers of sockets hold.
    let long = json!({"inputs": "word ".repeat(3500)}).to_string();
    let mut stream = server.connect();
    write_request(&mut stream, "POST", "/embed_all", &[], long.as_bytes());
    server.wait_for("kokeshi_requests_total{path=\"/embed_all\",status=\"200\"} 1");
    server.terminate();
    std::thread::sleep(Duration::from_secs(4));
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).expect("an answer");
    let reply = Reply::parse(&raw).success();
    assert!(reply[0].as_array().is_some_and(|states| states.len() >= 3500));
    let status = server.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

#[cfg(unix)]
#[test]
fn stopping_takes_no_longer_than_the_drain_timeout() {
    let mut server = Server::start(&["--drain-timeout", "0.2"]);
    let long = json!({"input": vec!["word ".repeat(8000); 100]}).to_string();
    let mut stream = server.connect();
    write_request(&mut stream, "POST", "/v1/embeddings", &[], long.as_bytes());
    server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
    server.terminate();
    let started = Instant::now();
    let status = server.child.wait().expect("an end");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(status.code(), Some(4), "the status reports an unanswered request");
}

#[test]
fn spans_are_exported_in_the_trace_of_the_client() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", collector.local_addr().expect("an address"));
    let server = Server::start(&["--otlp-endpoint", &endpoint]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let sent = [("traceparent", parent.as_str())];
    let reply = server.send("POST", "/v1/embeddings", &sent, b"{\"input\":\"x\"}");
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
    assert_eq!(id["value"]["stringValue"].as_str(), reply.header("x-request-id"));
    assert!(attributes.iter().any(|one| one["value"]["intValue"] == "200"), "{span}");
}
