//! `kokeshi migrate` of foreign data: files of rows, and collections of points.

use crate::index::{notes, success};
use crate::{Run, Sandbox};
use kokeshi_testkit::fixture;
use kokeshi_testkit::servers::Server;
use serde_json::{Value, json};

pub(crate) fn v2() -> String {
    fixture("v2-tiny/std_wordpiece").display().to_string()
}

/// Texts, each with its document.
pub(crate) fn texts() -> Vec<(String, &'static str)> {
    let subjects = ["lamps", "ships", "bread", "the sea", "letters", "winter"];
    let text =
        |at: usize| format!("Row {at} is about {} and {}.", subjects[at % 6], subjects[at / 6]);
    (0..30).map(|at| (text(at), if at % 3 == 0 { "first" } else { "second" })).collect()
}

/// The vectors of `texts` by a model.
pub(crate) fn vectors(
    sandbox: &Sandbox,
    model: &str,
    more: &[&str],
    texts: &[String],
) -> Vec<Vec<f32>> {
    let lines: Vec<String> = texts.iter().map(|text| json!({ "text": text }).to_string()).collect();
    sandbox.write("texts.jsonl", lines.join("\n"));
    let embed = ["embed", "--input", "texts.jsonl", "--format", "json", "--model", model];
    let embedded = sandbox.run(embed.iter().chain(more));
    let embedded: Value = serde_json::from_str(embedded.text()).expect("JSON");
    let vector = |one: &Value| serde_json::from_value(one["embedding"].clone()).expect("a vector");
    embedded["data"].as_array().expect("vectors").iter().map(vector).collect()
}

pub(crate) fn step(sandbox: &Sandbox, step: &str, more: &[&str]) -> Run {
    sandbox.run(["migrate", step, "new.plan.toml"].iter().chain(more))
}

#[track_caller]
pub(crate) fn passed(run: &Run) {
    assert_eq!(run.status, Some(0), "{}{}", run.text(), run.stderr);
}

#[test]
fn rows_of_a_file_become_a_collection() {
    let sandbox = notes();
    let texts = texts();
    let bodies: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let old = vectors(&sandbox, &v2(), &[], &bodies);
    let rows: Vec<String> = (texts.iter().zip(&old).enumerate())
        .map(|(at, ((text, document), vector))| {
            json!({ "id": at, "text": text, "doc_id": document, "vector": vector, "year": at })
                .to_string()
        })
        .collect();
    sandbox.write("old.jsonl", rows.join("\n"));
    let plan = |more: &[&str]| {
        let model = v2();
        let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
        let models = ["--model", "starter", "--candidate", &model];
        sandbox.run(plan.iter().chain(&models).chain(more))
    };
    let refused = plan(&["--text", "body"]);
    assert!(
        refused.failure(4).contains("no text in `body`; it has `id`, `text`"),
        "{}",
        refused.stderr
    );
    let planned = plan(&[]);
    passed(&planned);
    for part in [
        "in `text`; rows with the same `doc_id` are a document",
        "each chunk alone: cosine",
        "so it was this one",
        "2 documents, 30 chunks",
    ] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    assert!(success(&step(&sandbox, "run", &[])).contains("wrote 2 documents with 30 chunks"));
    let verified = step(&sandbox, "verify", &[]);
    passed(&verified);
    assert!(verified.text().contains("30 of 30 chunks of 2 documents"), "{}", verified.text());
    assert!(
        step(&sandbox, "switch", &["--dry-run"]).quiet().contains("nothing: readers open `new`")
    );
    passed(&step(&sandbox, "switch", &[]));
    let search = ["search", "ships", "--store", "new.db", "--collection", "new", "--json"];
    let found = sandbox.run(search.iter().chain(&["--where", "year=7"])).json();
    let hit = &found["hits"][0];
    assert_eq!((&hit["path"], &hit["metadata"]["id"]), (&json!("second"), &json!("7")), "{found}");
    let refused = step(&sandbox, "rollback", &[]);
    assert!(refused.failure(4).contains("are in another store"), "{}", refused.stderr);
    passed(&step(&sandbox, "clean", &[]));
    assert!(sandbox.path("old.jsonl").exists());
}

#[test]
fn a_file_that_changed_after_it_was_verified_is_not_switched_to() {
    let sandbox = Sandbox::new();
    let row = |id: usize, text: &str| json!({ "id": id, "text": text }).to_string() + "\n";
    sandbox.write("old.jsonl", row(1, "One.") + &row(2, "Two."));
    let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
    let planned = sandbox.run(plan.iter().chain(&["--model", "starter"]));
    passed(&planned);
    assert!(planned.text().contains("none: there are no vectors"), "{}", planned.text());
    passed(&step(&sandbox, "run", &[]));
    passed(&step(&sandbox, "verify", &[]));
    sandbox.write("old.jsonl", row(1, "One.") + &row(2, "Two, changed."));
    let refused = step(&sandbox, "switch", &[]);
    assert!(refused.failure(4).contains("it was verified with"), "{}", refused.stderr);
    let verified = step(&sandbox, "verify", &[]);
    assert!(
        verified.text().contains("1 changed in the old collection since: 2"),
        "{}",
        verified.text()
    );
    assert!(success(&step(&sandbox, "run", &[])).contains("wrote 1 document"));
    passed(&step(&sandbox, "verify", &[]));
    passed(&step(&sandbox, "switch", &[]));
}

/// A JSON request to a vector database's public API.
fn send(url: &str, method: &str, body: &Value) -> Value {
    let request = ureq::http::Request::builder().method(method).uri(url);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let mut answer = ureq::run(request.expect("a request")).expect("an answer");
    serde_json::from_str(&answer.body_mut().read_to_string().expect("a body")).expect("JSON")
}

/// A foreign collection becomes a collection of kokeshi's in the same server.
fn points_become_a_collection(
    server: &Server,
    sandbox: &Sandbox,
    (text, options): (&str, &[&str]),
    seventh: &str,
) {
    let (model, store) = (v2(), server.address());
    let plan = |from: &str, text: &str| {
        let plan = ["migrate", "plan", "--source", &store, "--from", from, "--text", text];
        let more = ["--document", "book", "--store", &store, "--to", "new"];
        let models = ["--model", "starter", "--candidate", &model];
        sandbox.run(plan.iter().chain(&more).chain(&models).chain(options))
    };
    let refused = plan("nothing", text);
    assert!(refused.failure(4).contains("no collection `nothing`"), "{}", refused.stderr);
    let refused = plan("articles", "words");
    assert!(refused.failure(4).contains("has no text in `words`; it has "), "{}", refused.stderr);
    let planned = plan("articles", text);
    passed(&planned);
    for part in ["each chunk alone: cosine", "so it was this one", "2 documents, 30 chunks"] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    for one in ["run", "verify", "switch", "clean"] {
        passed(&step(sandbox, one, &[]));
    }
    let search = ["search", "ships", "--store", &store, "--collection", "new", "--json"];
    let found = sandbox.run(search.iter().chain(&["--where", seventh])).json();
    assert_eq!(found["hits"][0]["path"], "second", "{found}");
}

#[test]
fn points_of_chroma_become_a_collection() {
    let Some(server) = crate::server("chroma") else { return };
    let sandbox = Sandbox::new();
    let base = format!(
        "http://127.0.0.1:{}/api/v2/tenants/default_tenant/databases/default_database/collections",
        server.port()
    );
    let id = send(&base, "POST", &json!({ "name": "articles" }))["id"].clone();
    let (texts, id) = (texts(), id.as_str().expect("an id").to_owned());
    let bodies: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let metadata = texts.iter().enumerate();
    let body = json!({
        "ids": (0..texts.len()).map(|at| format!("id-{at}")).collect::<Vec<_>>(),
        "documents": bodies,
        "embeddings": vectors(&sandbox, &v2(), &[], &bodies),
        "metadatas": metadata.map(|(at, (_, book))| json!({ "book": book, "number": at })).collect::<Vec<_>>(),
    });
    send(&format!("{base}/{id}/add"), "POST", &body);
    points_become_a_collection(&server, &sandbox, ("document", &[]), "number=7");
}

#[test]
fn points_of_milvus_become_a_collection() {
    let Some(server) = crate::server("milvus") else { return };
    let sandbox = Sandbox::new();
    drop(crate::shadow_copy::application(&server, &sandbox, Some("docs")));
    let more = ["--vector", "embedding", "--order", "number"];
    points_become_a_collection(&server, &sandbox, ("body", &more), "number=993");
}

#[test]
fn points_of_qdrant_become_a_collection() {
    let Some(server) = crate::server("qdrant") else { return };
    let sandbox = Sandbox::new();
    let base = format!("http://127.0.0.1:{}/collections/articles", server.port());
    send(&base, "PUT", &json!({ "vectors": { "size": 48, "distance": "Cosine" } }));
    let texts = texts();
    let bodies: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let points: Vec<Value> = (texts.iter().zip(vectors(&sandbox, &v2(), &[], &bodies)).enumerate())
        .map(|(at, ((text, book), vector))| {
            json!({
                "id": at,
                "vector": vector,
                "payload": { "body": text, "book": book, "number": at },
            })
        })
        .collect();
    send(&format!("{base}/points?wait=true"), "PUT", &json!({ "points": points }));
    points_become_a_collection(&server, &sandbox, ("body", &[]), "number=7");
}
