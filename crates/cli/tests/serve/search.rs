//! Searching and writing collections over HTTP.

use crate::Server;
use crate::collections::{kokeshi, succeed};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FILES: [(&str, &str); 4] = [
    ("lamp.md", "---\nlang: en\n---\n\n# The lamp\n\nIt is too dark. We bought it in May.\n"),
    ("ship.txt", "The ship left the harbour at noon.\n\nIt was a quiet day.\n"),
    (
        "rows.jsonl",
        "{\"text\": \"Bread needs flour.\", \"lang\": \"en\"}\n{\"text\": \"Die Lampe ist zu dunkel.\", \"lang\": \"de\"}\n",
    ),
    ("copy.txt", "The ship left the harbour at noon.\n\nIt was a quiet day.\n"),
];

/// A folder `notes` with files that are indexed.
fn indexed(folder: &TempDir) {
    let notes = folder.path().join("notes");
    fs::create_dir(&notes).expect("a folder");
    for (name, text) in FILES {
        fs::write(notes.join(name), text).expect("a file");
    }
    succeed(&notes, &["index", "."]);
}

/// A server of the collection of `notes`.
fn server() -> Server {
    let store = "notes/.kokeshi/index.db";
    let args = ["--store", store, "--collection", "notes=default", "--precision", "f32"];
    Server::start_with(&args, &[], indexed)
}

const DOCUMENTS: &str = "/v1/collections/notes/documents";

/// The hits of `kokeshi search`.
fn searched(notes: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = kokeshi(notes, &[&["search", "--json"], arguments].concat());
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    found["hits"].as_array().expect("hits").clone()
}

/// What a hit has both over HTTP and in the program's output.
const FIELDS: [&str; 11] = [
    "path",
    "format",
    "lines",
    "bytes",
    "page",
    "chunk",
    "score",
    "text",
    "metadata",
    "identical",
    "why",
];

/// A value with numbers of 32 bits: the program prints scores with all digits of 64.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().expect("a number") as f32),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), rounded(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn hits_over_http_are_those_of_the_program() {
    let server = server();
    let notes = server.file("notes");
    for (arguments, body) in [
        (&["a dim light"][..], json!({ "query": "a dim light" })),
        (&["a dim light", "-n", "2"], json!({ "query": "a dim light", "limit": 2 })),
        (&["harbour", "--where", "lang=de"], json!({ "query": "harbour", "filter": "lang=de" })),
        (&["harbour", "--path", "*.txt"], json!({ "query": "harbour", "path": "*.txt" })),
        (&["flour", "--hybrid"], json!({ "query": "flour", "hybrid": true })),
        (&["flour", "--exact"], json!({ "query": "flour", "exact": true })),
        (&["flour", "--min-score", "0.3"], json!({ "query": "flour", "min_score": 0.3 })),
    ] {
        let expected = searched(&notes, arguments);
        let found = server.post("/v1/search", &body).success();
        let hits = found["hits"].as_array().expect("hits");
        assert_eq!(hits.len(), expected.len(), "{arguments:?}");
        for (hit, expected) in hits.iter().zip(&expected) {
            for field in FIELDS {
                let both = [hit, expected].map(|hit| hit.get(field).map(rounded));
                assert_eq!(both[0], both[1], "{field} of {arguments:?}");
            }
            assert_eq!(hit["best"]["text"], expected["best"], "{arguments:?}");
        }
    }
}

#[test]
fn what_is_answered_as_stored_is_there_after_a_kill_and_an_indexer_keeps_it() {
    let mut server = server();
    let added = json!({ "documents": [{ "id": "faq", "text": "The battery does not charge." }] });
    assert_eq!(server.post(DOCUMENTS, &added).success()["written"], 1);
    server.child.kill().expect("killed");
    let notes = server.file("notes");
    fs::remove_file(notes.join("copy.txt")).expect("removed");
    succeed(&notes, &["index", "."]);
    let hits = searched(&notes, &["charging a battery", "-n", "1"]);
    assert_eq!((&hits[0]["path"], &hits[0]["stale"]), (&json!("faq"), &Value::Null));
    assert!(searched(&notes, &["harbour"]).iter().all(|hit| hit["path"] != "copy.txt"));
}

#[test]
fn a_search_during_a_switch_is_answered_and_follows_it() {
    let server = server();
    let notes = server.file("notes");
    let search = || server.post("/v1/search", &json!({ "query": "a dim light" })).success();
    let model = kokeshi_testkit::fixture("v3-tiny/original").display().to_string();
    let plan = ["migrate", "plan", "--to", "new", "--model", &model];
    succeed(&notes, &plan);
    for step in ["run", "verify"] {
        succeed(&notes, &["migrate", step, "new.plan.toml"]);
    }
    assert_eq!(search()["model"], "starter");
    std::thread::scope(|scope| {
        let switch = scope.spawn(|| succeed(&notes, &["migrate", "switch", "new.plan.toml"]));
        let started = Instant::now();
        while search()["model"] == "starter" {
            assert!(started.elapsed() < Duration::from_secs(60), "it does not follow");
        }
        switch.join().expect("switched");
    });
    let added = json!({ "documents": [{ "id": "faq", "text": "The battery does not charge." }] });
    assert_eq!(server.post(DOCUMENTS, &added).success()["written"], 1);
    let list = server.get("/v1/collections").success();
    assert_eq!(
        (&list["data"][0]["name"], &list["data"][0]["collection"]),
        (&json!("notes"), &json!("new"))
    );
}

#[test]
fn lives_while_documents_are_streamed() {
    let server = server();
    let mut stream = server.connect();
    let head = format!(
        "POST {DOCUMENTS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut slowest = Duration::ZERO;
    for part in 0..20 {
        let line = |at: usize| {
            let document = json!({ "id": format!("{part}-{at}"), "text": format!("Text {at} of part {part}.") });
            document.to_string() + "\n"
        };
        let lines: String = (0..50).map(line).collect();
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        stream.write_all(chunk.as_bytes()).expect("sent");
        let started = Instant::now();
        assert_eq!(server.get("/live").status, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    stream.write_all(b"0\r\n\r\n").expect("sent");
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).expect("an answer");
    // Interim responses may come first.
    let text = String::from_utf8_lossy(&raw);
    let answer = text.rsplit("HTTP/1.1 ").next().expect("an answer");
    assert!(answer.starts_with("200") && answer.contains("\"written\":1000"), "{text}");
    let found = server.post("/v1/search", &json!({ "query": "Text 7 of part 3." })).success();
    assert_eq!(found["hits"][0]["path"], "3-7");
}

#[test]
fn a_client_that_is_still_sending_documents_gets_the_refusal() {
    let server = server();
    let line = json!({ "id": "a", "text": "A text.", "metadata": { "pad": "x".repeat(1000) } });
    let body = "no JSON\n".to_owned() + &format!("{line}\n").repeat(20_000);
    let mut stream = server.connect();
    let head = format!(
        "POST {DOCUMENTS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("the server reads all of it");
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).expect("an answer");
    let text = String::from_utf8_lossy(&raw);
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("line 1: "), "{text}");
}
