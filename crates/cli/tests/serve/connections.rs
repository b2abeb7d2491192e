//! Connections: slow clients, limits, and clients that disconnect.

use crate::Server;
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn slow_headers_and_bodies_time_out() {
    let server = Server::start(&["--header-timeout", "0.5", "--body-timeout", "0.5"]);
    let started = Instant::now();
    let mut slow = server.connect();
    slow.write_all(b"POST /v1/embeddings HTTP/1.1\r\nHost:").expect("a part of a head");
    let mut reply = Vec::new();
    // Either a reply or the end of the connection.
    let _ = slow.read_to_end(&mut reply);
    let mut slow = server.connect();
    let head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head).expect("a part of a body");
    let mut reply = [0; 12];
    slow.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 408");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn connections_over_the_limit_are_refused_at_once_but_probes_are_not() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut idle = server.connect();
    let started = Instant::now();
    let refused = server.post("/v1/embeddings", &json!({"input": "x"}));
    refused.refusal(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!((server.get("/live").status, server.get("/ready").status), (200, 200));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // The first connection is served.
    crate::write_request(&mut idle, "POST", "/v1/embeddings", &[], b"{\"input\":\"x\"}");
    let mut raw = Vec::new();
    idle.read_to_end(&mut raw).expect("an answer");
    assert_eq!(crate::Reply::parse(&raw).status, 200);
    drop(idle);
    while server.post("/v1/embeddings", &json!({"input": "x"})).status != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it refuses although it is below the limit"
        );
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
#[ignore = "takes a minute; CI runs it"]
fn states_of_many_long_texts_do_not_delay_short_queries() {
    let server = Server::start(&["--threads", "1"]);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = "word ".repeat(4000);
    let pass = Instant::now();
    server.post("/embed_all", &json!({"inputs": text})).success();
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
    // Requests of clients that disconnect end.
    server.wait_for(&format!("kokeshi_requests_in_flight {}", clients + 1));
    drop(streams);
    server.wait_for("kokeshi_requests_in_flight 1");
}

#[test]
fn the_request_of_a_client_that_disconnects_is_cancelled() {
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

#[test]
fn a_client_that_closes_its_sending_half_gets_its_answer() {
    let server = Server::start(&[]);
    let ask = |body: &str| {
        let mut stream = server.connect();
        crate::write_request(&mut stream, "POST", "/v1/embeddings", &[], body.as_bytes());
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let answer = ask("{\"input\":\"x\"}");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.200}");
    // One that waits for longer may get interim responses before.
    let long = json!({"input": vec!["word ".repeat(2500); 2]}).to_string();
    let answer = ask(&long);
    let answer = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.200}");
}

#[test]
fn long_texts_do_not_delay_a_short_query() {
    let server = Server::start(&[]);
    let (mib, eight) = ("a b, ".repeat((1 << 20) / 5), "a".repeat(8 << 20));
    let truncated = json!({"input": eight, "truncate": true});
    let bodies = [
        ("/v1/embeddings", truncated),
        ("/v1/embeddings", json!({"input": vec![&mib; 8], "truncate": true})),
        ("/v1/segment", json!({"content": mib.repeat(8)})),
        ("/v1/classify", json!({"input": vec![&mib; 8], "labels": ["x", "y"]})),
    ];
    let alone = Instant::now();
    assert_eq!(server.post("/v1/embeddings", &json!({"input": "hi"})).status, 200);
    let alone = alone.elapsed();
    let streams = bodies.map(|(path, body)| {
        let mut stream = server.connect();
        crate::write_request(&mut stream, "POST", path, &[], body.to_string().as_bytes());
        stream
    });
    server.wait_for("kokeshi_requests_in_flight 5");
    for _ in 0..10 {
        let started = Instant::now();
        assert_eq!(server.post("/v1/embeddings", &json!({"input": "hi"})).status, 200);
        let delay = started.elapsed().saturating_sub(alone);
        assert!(delay < Duration::from_secs(3), "{delay:?}");
    }
    // Requests of clients that have gone end.
    drop(streams);
    server.wait_for("kokeshi_requests_in_flight 1");
}

#[test]
#[ignore = "slow; `.ci/run` runs it"]
fn a_client_that_does_not_read_its_answers_loses_its_connection() {
    let server = Server::start(&["--write-timeout", "0.5", "--max-connections", "1"]);
    let mut greedy = server.connect();
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    greedy.write_all(&ask).expect("requests");
    let started = Instant::now();
    let embed = || server.post("/v1/embeddings", &json!({"input": "x"})).status;
    assert_eq!(embed(), 429, "the only connection is taken");
    while embed() != 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "the connection is still open");
        std::thread::sleep(Duration::from_millis(50));
    }
    // A slow reader gets its whole answer.
    let server = Server::start(&["--write-timeout", "0.5"]);
    let mut slow = server.connect();
    let body = json!({"input": vec!["x"; 2048]}).to_string();
    crate::write_request(&mut slow, "POST", "/v1/embeddings", &[], body.as_bytes());
    let (mut answer, mut part) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        match slow.read(&mut part).expect("a part") {
            0 => break,
            bytes => answer.extend_from_slice(&part[..bytes]),
        }
    }
    assert_eq!(crate::Reply::parse(&answer).vectors().len(), 2048);
}

#[cfg(target_os = "linux")]
#[test]
fn few_answers_are_produced_for_a_client_that_does_not_read() {
    let server = Server::start(&["--write-timeout", "0.5"]);
    let document = server.get("/openapi.json").body.len();
    let mut greedy = server.connect();
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    greedy.write_all(&ask).expect("requests");
    // Until the server closes the connection.
    while greedy.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find(|line| line.contains("requests_total{path=\"/openapi.json"));
    let count = line.and_then(|line| line.rsplit(' ').next()).expect("a count");
    let answered: usize = count.parse().expect("a number");
    // What the client's system took, and 256 KiB.
    let bytes = (answered - 1) * document;
    assert!((document..1 << 20).contains(&bytes), "{answered} answers of {document} bytes");
}

#[test]
fn connections_without_a_key_make_room() {
    let key = [("KOKESHI_API_KEY", "secret")];
    let server = Server::start_with(&["--max-connections", "4"], &key, |_| ());
    let mut idle: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let embed = || {
        let headers = [("Authorization", "Bearer secret")];
        server.send("POST", "/v1/embeddings", &headers, b"{\"input\":\"x\"}").status
    };
    let started = Instant::now();
    for _ in 0..8 {
        assert_eq!(embed(), 200);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // The oldest one was closed.
    assert!(matches!(idle[0].read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn every_number_of_connections_is_possible() {
    let server = Server::start(&["--max-connections", "18446744073709551615"]);
    assert_eq!(server.get("/live").status, 200);
}
