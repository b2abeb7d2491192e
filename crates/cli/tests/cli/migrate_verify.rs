//! `kokeshi migrate verify`: the faults that it notices.

use crate::Sandbox;
use crate::index::{notes, success};
use crate::migrate::{V2, documents, open, planned, step, v2};
use kokeshi_store::{Document, Store};

/// The checks that fail after `fault` has changed the new collection of a verified migration.
fn noticed(fault: impl FnOnce(&mut dyn Store, &Sandbox)) -> String {
    let sandbox = planned("index.db");
    assert_eq!(step(&sandbox, "index.db", "run").status, Some(0));
    assert_eq!(step(&sandbox, "index.db", "verify").status, Some(0));
    fault(&mut *open("index.db", &sandbox), &sandbox);
    let verified = step(&sandbox, "index.db", "verify");
    assert_eq!(verified.status, Some(1), "{}", verified.text());
    let switch = step(&sandbox, "index.db", "switch");
    assert!(switch.failure(4).contains("cannot be switched"), "{}", switch.stderr);
    let failed = verified.text().lines().filter(|line| line.starts_with("FAILED"));
    failed.collect::<Vec<_>>().join("\n")
}

/// Changes every document of the new collection.
fn change(store: &mut dyn Store, change: impl Fn(&mut Document)) {
    let mut all: Vec<Document> = documents(store, "new").into_values().collect();
    all.iter_mut().for_each(change);
    store.upsert("new", &all).expect("written");
}

#[test]
fn missing_documents_are_noticed() {
    let failed = noticed(|store, _| {
        let path = store.list("new").expect("a list").remove(0).path;
        store.remove("new", &[path]).expect("removed");
    });
    assert!(
        failed.contains("no document is missing: 1 missing: ") && failed.contains("lamp.md"),
        "{failed}"
    );
}

#[test]
fn duplicated_chunks_are_noticed() {
    let failed = noticed(|store, _| {
        change(store, |document| document.chunks.extend_from_within(..));
    });
    assert!(failed.contains("no chunk is duplicated: 2 documents"), "{failed}");
}

#[test]
fn truncated_texts_are_noticed() {
    let failed = noticed(|store, _| {
        change(store, |document| {
            let text = &mut document.chunks[0].text;
            text.truncate(text.len() / 2);
        });
    });
    assert!(failed.contains("no text is cut: 2 documents"), "{failed}");
}

#[test]
fn vectors_of_any_length_are_noticed() {
    let failed = noticed(|store, _| {
        change(store, |document| {
            document.chunks.iter_mut().flat_map(|c| &mut c.vector).for_each(|x| *x *= 3.0);
        });
    });
    assert!(failed.contains("vectors have unit length: 2 documents"), "{failed}");
}

/// The vector that `kokeshi embed` computes of a text.
fn embedded(sandbox: &Sandbox, text: &str, options: &[&str]) -> Vec<f32> {
    let run = sandbox.run(["embed", text].iter().chain(options));
    crate::vector(&run.jsonl()[0])
}

#[test]
fn the_wrong_task_is_noticed_and_named() {
    let failed = noticed(|store, sandbox| {
        change(store, |document| {
            for chunk in &mut document.chunks {
                chunk.vector = embedded(sandbox, &chunk.text, &["--task", "retrieval.query"]);
            }
        });
    });
    assert!(failed.contains("0 of 2 chunks"), "{failed}");
    assert!(failed.contains("they are those of the task `retrieval.query`"), "{failed}");
}

#[test]
fn vectors_of_another_model_are_noticed() {
    let rotated = noticed(|store, _| {
        change(store, |document| {
            for chunk in &mut document.chunks {
                chunk.vector.rotate_left(1);
            }
        });
    });
    // Vectors of another model of the same width, as a program might write them by mistake.
    let sandbox = notes();
    let model = |at: usize| v2(V2[at]);
    success(&sandbox.run(["index", "notes", "--model", &model(0), "--store", "index.db"]));
    let planned = sandbox.run([
        "migrate",
        "plan",
        "--to",
        "new",
        "--model",
        &model(2),
        "--store",
        "index.db",
    ]);
    assert_eq!(planned.status, Some(0), "{}", planned.stderr);
    assert_eq!(step(&sandbox, "index.db", "run").status, Some(0));
    assert_eq!(step(&sandbox, "index.db", "verify").status, Some(0));
    change(&mut *open("index.db", &sandbox), |document| {
        for chunk in &mut document.chunks {
            chunk.vector = embedded(&sandbox, &chunk.text, &["--model", &model(0)]);
        }
    });
    let verified = step(&sandbox, "index.db", "verify");
    assert_eq!(verified.status, Some(1), "{}", verified.text());
    for failed in [&rotated, verified.text()] {
        assert!(failed.contains("0 of 2 chunks of 2 documents; the lowest cosine is"), "{failed}");
    }
}
