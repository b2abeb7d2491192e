//! `kokeshi migrate verify`: the faults that it notices.

use crate::Sandbox;
use crate::index::{notes, said};
use crate::migrate::{V2, documents, open, planned, step, v2};
use kokeshi_store::{Document, Store};

/// The checks that fail after `fault` has changed the new collection of a verified migration.
fn noticed(fault: impl FnOnce(&mut dyn Store, &Sandbox)) -> String {
    let place = planned("index.db");
    assert_eq!(step(&place, "index.db", "run").status, Some(0));
    assert_eq!(step(&place, "index.db", "verify").status, Some(0));
    fault(&mut *open("index.db", &place), &place);
    let verified = step(&place, "index.db", "verify");
    assert_eq!(verified.status, Some(1), "{}", verified.text());
    let switch = step(&place, "index.db", "switch");
    assert!(switch.failure(1).contains("cannot be switched"), "{}", switch.stderr);
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
    let said = noticed(|store, _| {
        let path = store.list("new").expect("a list").remove(0).path;
        store.remove("new", &[path]).expect("removed");
    });
    assert!(
        said.contains("no document is missing: 1 missing: ") && said.contains("lamp.md"),
        "{said}"
    );
}

#[test]
fn duplicated_chunks_are_noticed() {
    let said = noticed(|store, _| {
        change(store, |document| document.chunks.extend_from_within(..));
    });
    assert!(said.contains("no chunk is duplicated: 2 documents"), "{said}");
}

#[test]
fn truncated_texts_are_noticed() {
    let said = noticed(|store, _| {
        change(store, |document| {
            let text = &mut document.chunks[0].text;
            text.truncate(text.len() / 2);
        });
    });
    assert!(said.contains("no text is cut: 2 documents"), "{said}");
}

#[test]
fn vectors_of_any_length_are_noticed() {
    let said = noticed(|store, _| {
        change(store, |document| {
            document.chunks.iter_mut().flat_map(|c| &mut c.vector).for_each(|x| *x *= 3.0);
        });
    });
    assert!(said.contains("vectors have unit length: 2 documents"), "{said}");
}

/// The vector that `kokeshi embed` computes of a text.
fn embedded(place: &Sandbox, text: &str, options: &[&str]) -> Vec<f32> {
    let run = place.run(["embed", text].iter().chain(options));
    crate::vector(&run.jsonl()[0])
}

#[test]
fn the_wrong_task_is_noticed_and_named() {
    let said = noticed(|store, place| {
        change(store, |document| {
            for chunk in &mut document.chunks {
                chunk.vector = embedded(place, &chunk.text, &["--task", "retrieval.query"]);
            }
        });
    });
    assert!(said.contains("0 of 2 chunks"), "{said}");
    assert!(said.contains("they are those of the task `retrieval.query`"), "{said}");
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
    // Vectors of another model of the same width, as by mistake of a program.
    let place = notes();
    let of = |at: usize| v2(V2[at]);
    said(&place.run(["index", "notes", "--model", &of(0), "--store", "index.db"]));
    let planned =
        place.run(["migrate", "plan", "--to", "new", "--model", &of(2), "--store", "index.db"]);
    assert_eq!(planned.status, Some(0), "{}", planned.stderr);
    assert_eq!(step(&place, "index.db", "run").status, Some(0));
    assert_eq!(step(&place, "index.db", "verify").status, Some(0));
    change(&mut *open("index.db", &place), |document| {
        for chunk in &mut document.chunks {
            chunk.vector = embedded(&place, &chunk.text, &["--model", &of(0)]);
        }
    });
    let verified = step(&place, "index.db", "verify");
    assert_eq!(verified.status, Some(1), "{}", verified.text());
    for said in [&rotated, verified.text()] {
        assert!(said.contains("0 of 2 chunks of 2 documents; the lowest cosine is"), "{said}");
    }
}
