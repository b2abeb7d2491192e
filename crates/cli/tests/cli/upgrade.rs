//! Files that an earlier version wrote, in `fixtures/earlier`: see its README.

use crate::index::success;
use crate::migrate::{documents, open};
use crate::{Run, Sandbox};
use kokeshi_testkit::fixture;
use rusqlite::Connection;
use std::fs;

fn earlier(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for name in names {
        fs::copy(fixture(&format!("earlier/{name}")), sandbox.path(name)).expect("a copy");
    }
    sandbox
}

fn search(sandbox: &Sandbox) -> Run {
    sandbox.run(["search", "How long does delivery take?", "--store", "index.db", "--json"])
}

/// Moves an index whose model is no longer here to the bundled one, and searches it.
fn migrated(sandbox: &Sandbox) {
    let refused = search(sandbox);
    let error = refused.failure(4);
    assert!(error.contains("kokeshi migrate plan"), "{error}");
    let before = documents(&*open("index.db", sandbox), "default");
    let plan = ["migrate", "plan", "--to", "new", "--model", "starter", "--store", "index.db"];
    let planned = sandbox.run(plan);
    assert_eq!(planned.status, Some(0), "{}", planned.stderr);
    for next in ["run", "verify", "switch"] {
        let run = sandbox.run(["migrate", next, "new.plan.toml"]);
        assert_eq!(run.status, Some(0), "{next}: {}{}", run.text(), run.stderr);
    }
    let after = documents(&*open("index.db", sandbox), "default");
    let texts = |all: &std::collections::BTreeMap<String, kokeshi_store::Document>| -> Vec<String> {
        all.values().flat_map(|document| &document.chunks).map(|chunk| chunk.text.clone()).collect()
    };
    assert_eq!(texts(&before), texts(&after));
    assert_eq!(search(sandbox).json()["hits"][0]["path"], "ship.txt");
}

#[test]
fn an_index_of_an_earlier_starter_is_searched_or_moved() {
    let sandbox = earlier(&["index.db"]);
    let status = sandbox.run(["status", "--store", "index.db"]);
    assert!(status.quiet().contains("3 documents, 4 chunks"), "{}", status.text());
    let all = documents(&*open("index.db", &sandbox), "default");
    assert_eq!(all.keys().collect::<Vec<_>>(), ["lamp.md", "menu.csv", "ship.txt"]);
    let lengths = all
        .values()
        .flat_map(|document| &document.chunks)
        .map(|chunk| chunk.vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>());
    assert!(lengths.into_iter().all(|length| (length - 1.0).abs() < 1e-2));
    let found = search(&sandbox);
    match found.status {
        Some(0) => assert_eq!(found.json()["hits"][0]["path"], "ship.txt"),
        _ => migrated(&sandbox),
    }
}

#[test]
fn an_index_of_a_starter_that_is_gone_is_refused_and_moves_to_the_new_one() {
    let sandbox = earlier(&["index.db"]);
    let connection = Connection::open(sandbox.path("index.db")).expect("a store");
    let sql = "UPDATE collections SET revision = 'sha256:0123456789abcdef01234567'";
    assert_eq!(connection.execute(sql, []).expect("changed"), 1);
    drop(connection);
    migrated(&sandbox);
}

#[test]
fn vectors_that_an_earlier_starter_wrote_are_a_source_of_a_migration() {
    let sandbox = earlier(&["vectors.jsonl", "vectors.npy"]);
    let mut rows = String::new();
    for (number, line) in
        fs::read_to_string(sandbox.path("vectors.jsonl")).expect("a file").lines().enumerate()
    {
        let mut row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let vector = row["embedding"].take();
        assert_eq!(vector.as_array().map(Vec::len), Some(256));
        let text = format!("text {number}");
        rows +=
            &format!("{}\n", serde_json::json!({ "id": number, "text": text, "vector": vector }));
    }
    sandbox.write("old.jsonl", rows);
    let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
    let planned = sandbox.run(plan.iter().chain(&["--model", "starter"]));
    assert_eq!(planned.status, Some(0), "{}", planned.stderr);
    for next in ["run", "verify", "switch"] {
        let run = sandbox.run(["migrate", next, "new.plan.toml"]);
        assert_eq!(run.status, Some(0), "{next}: {}{}", run.text(), run.stderr);
    }
    assert_eq!(documents(&*open("new.db", &sandbox), "new").len(), 2);
    let array = fs::read(sandbox.path("vectors.npy")).expect("a file");
    assert!(array.starts_with(b"\x93NUMPY") && array.len() > 2 * 256 * 4);
}

#[test]
fn a_ledger_of_an_earlier_version_is_continued() {
    let sandbox = earlier(&["switched.db", "switched.plan.toml"]);
    let status = sandbox.run(["migrate", "status", "switched.plan.toml"]);
    assert!(status.quiet().contains("new: switched; 1 pass done; wrote 3 documents"));
    let step = |step: &str, more: &[&str]| {
        sandbox.run(["migrate", step, "switched.plan.toml"].iter().chain(more))
    };
    assert!(success(&step("rollback", &[])).contains("`default` is `default-before` again"));
    let name = || open("switched.db", &sandbox).collection("default").expect("a store");
    assert_eq!(name().expect("a collection").name, "default-before");
    let again = earlier(&["switched.db", "switched.plan.toml"]);
    let cleaned = again.run(["migrate", "clean", "switched.plan.toml", "--yes"]);
    assert!(success(&cleaned).contains("removed `default-before`"), "{}", cleaned.stderr);
    let left = open("switched.db", &again).collections().expect("collections");
    assert_eq!(left.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["new"]);
}

#[test]
fn a_classifier_and_a_key_file_of_an_earlier_version_are_read() {
    let sandbox = earlier(&["classifier.json", "keys.toml"]);
    let classify = ["classify", "--classifier", "classifier.json", "my parcel is lost", "--json"];
    let run = sandbox.run(classify);
    match run.status {
        Some(0) => {
            let label = &run.json()["texts"][0]["predictions"][0]["label"];
            assert_eq!(label, "shipping");
        }
        // Its weights are for the vectors of one model only.
        _ => assert!(run.failure(4).contains("starter"), "{}", run.stderr),
    }
    let check = sandbox.run(["serve", "--api-key-file", "keys.toml", "--check", "--port", "0"]);
    assert_eq!(check.status, Some(0), "{}", check.stderr);
}

#[test]
fn files_of_newer_versions_are_refused_with_both_versions() {
    let sandbox = earlier(&["index.db", "classifier.json"]);
    let connection = Connection::open(sandbox.path("index.db")).expect("a store");
    connection
        .execute_batch(
            "PRAGMA user_version = 99; UPDATE meta SET value = '9.9' WHERE key = 'version'",
        )
        .expect("changed");
    drop(connection);
    for command in [&["search", "x"][..], &["status"], &["index"], &["migrate", "status"]] {
        let run = sandbox.run(command.iter().chain(&["--store", "index.db"]));
        let error = run.failure(4);
        assert!(error.contains("schema 99, written by kokeshi 9.9"), "{command:?}: {error}");
    }
    let newer = fs::read_to_string(sandbox.path("classifier.json")).expect("a file");
    sandbox.write("classifier.json", newer.replace("\"version\":1", "\"version\":99"));
    let run = sandbox.run(["classify", "--classifier", "classifier.json", "x"]);
    assert!(run.failure(4).contains("99"), "{}", run.stderr);
}
