//! `kokeshi migrate` of foreign collections in vector databases, which an application keeps using.

use crate::foreign::{passed, step, texts, v2, vectors};
use crate::index::success;
use crate::{Run, Sandbox, tiny_v3};
use kokeshi_testkit::SetOnDrop;
use kokeshi_testkit::servers::{Application, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An application that has 30 points with vectors of v2 in the collection `articles`.
pub(crate) fn application(server: &Server, sandbox: &Sandbox, alias: Option<&str>) -> Application {
    let mut application = Application::start(server);
    ask(
        &mut application,
        &json!({ "do": "make", "name": "articles", "width": 48, "alias": alias }),
    );
    let texts = texts();
    let bodies: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let vectors = vectors(sandbox, &v2(), &[], &bodies);
    let points: Vec<Value> = (texts.iter().zip(vectors).enumerate())
        .map(|(at, ((text, book), vector))| point(at, text, book, &vector))
        .collect();
    put(&mut application, "articles", &points);
    application
}

/// Positions descend while ids ascend, so that the two orders differ.
fn point(id: usize, text: &str, book: &str, vector: &[f32]) -> Value {
    json!({ "id": id, "body": text, "book": book, "number": 1000 - id, "vector": vector })
}

fn ask(application: &mut Application, command: &Value) -> Value {
    serde_json::from_str(&application.ask(&command.to_string())).expect("JSON")
}

fn put(application: &mut Application, name: &str, points: &[Value]) {
    ask(application, &json!({ "do": "put", "name": name, "points": points }));
}

/// All points by their ids, each without its vector, and the vectors.
fn all(
    application: &mut Application,
    name: &str,
) -> (BTreeMap<u64, Value>, BTreeMap<u64, Vec<f32>>) {
    let reply = ask(application, &json!({ "do": "all", "name": name }));
    let (mut fields, mut vectors) = (BTreeMap::new(), BTreeMap::new());
    for mut point in reply.as_array().expect("points").clone() {
        let id = point["id"].as_u64().expect("an id");
        let vector = serde_json::from_value(point["vector"].take()).expect("a vector");
        assert!(fields.insert(id, point).is_none(), "{id} is there twice");
        vectors.insert(id, vector);
    }
    (fields, vectors)
}

fn plan(sandbox: &Sandbox, server: &Server, from: &str, more: &[&str]) -> Run {
    plan_to("starter", sandbox, server, from, more)
}

fn plan_to(model: &str, sandbox: &Sandbox, server: &Server, from: &str, more: &[&str]) -> Run {
    let (old, store) = (v2(), server.address());
    let plan = ["migrate", "plan", "--store", &store, "--from", from, "--to", "new"];
    let models = ["--model", model, "--candidate", &old];
    sandbox.run(plan.iter().chain(&models).chain(more))
}

/// The vectors of the texts of each book, from one pass over it, in the order of their positions.
fn expected(sandbox: &Sandbox, points: &BTreeMap<u64, Value>) -> BTreeMap<u64, Vec<f32>> {
    let mut books: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (id, point) in points {
        books.entry(point["book"].as_str().expect("a book")).or_default().push(*id);
    }
    let mut expected = BTreeMap::new();
    for ids in books.values() {
        let ids: Vec<u64> = ids.iter().rev().copied().collect();
        let text = |id: &u64| points[id]["body"].as_str().expect("a text").to_owned();
        let texts: Vec<String> = ids.iter().map(text).collect();
        let more = ["--task", "retrieval.passage", "--late-chunking"];
        expected.extend(ids.into_iter().zip(vectors(sandbox, "starter", &more, &texts)));
    }
    expected
}

fn assert_near(a: &BTreeMap<u64, Vec<f32>>, b: &BTreeMap<u64, Vec<f32>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (id, a) in a {
        let off = a.iter().zip(&b[id]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b[id].len() && off <= 1e-6, "vectors of {id} are {off} apart");
    }
}

/// Both collections are alike, except for the width of their vectors and an index of kokeshi's.
fn assert_alike(application: &mut Application, width: usize) {
    let [old, new] = ["articles", "new"].map(|name| {
        let shape = ask(application, &json!({ "do": "shape", "name": name })).to_string();
        shape.replace(&width.to_string(), "48").replace(r#","book":"keyword""#, "")
    });
    assert_eq!(new, old);
}

/// From the plan to the end, while the application writes.
fn vectors_are_replaced(kind: &'static str, text: &str, more: &[&str]) {
    let Some(server) = crate::server(kind) else { return };
    let has_aliases = kind != "chroma";
    let (sandbox, from) = (Sandbox::new(), if has_aliases { "docs" } else { "articles" });
    let mut application = application(&server, &sandbox, has_aliases.then_some("docs"));
    let fields = ["--text", text, "--document", "book", "--order", "number"];
    let all_fields = [&fields[..], more].concat();
    let refused = plan(&sandbox, &server, "nothing", &all_fields);
    assert!(refused.failure(4).contains("no collection `nothing`"), "{}", refused.stderr);
    if !more.is_empty() {
        let refused = plan(&sandbox, &server, from, &fields);
        assert!(refused.failure(4).contains("--vector NAME"), "{}", refused.stderr);
    }
    // Texts are found by their field's name, or in what the engine calls a text.
    let found = plan(&sandbox, &server, from, &[more, &["-o", "found.toml"]].concat());
    passed(&found);
    let wanted = format!("in `{text}`; each row is a document");
    assert!(found.text().contains(&wanted), "{}", found.text());
    let planned = plan(&sandbox, &server, from, &all_fields);
    passed(&planned);
    for part in ["each chunk alone: cosine", "so it was this one", "2 documents, 30 chunks"] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    let before = all(&mut application, "articles");
    let run = step(&sandbox, "run", &[]);
    assert!(success(&run).contains("wrote 2 documents with 30 chunks"), "{}", run.stderr);
    let new = all(&mut application, "new");
    assert!(new.0 == before.0, "{:?}", new.0);
    assert_near(&new.1, &expected(&sandbox, &before.0));
    assert!(all(&mut application, "articles") == before, "the old points have changed");
    assert_alike(&mut application, 384);
    // Meanwhile, the application changes a text, adds one and removes one.
    let vector = &before.1[&3];
    let points = [point(3, "Changed.", "first", vector), point(40, "Added.", "first", vector)];
    put(&mut application, "articles", &points);
    ask(&mut application, &json!({ "do": "delete", "name": "articles", "ids": [6] }));
    let refused = step(&sandbox, "verify", &[]);
    assert!(
        refused.text().contains("1 changed in the old collection since: first"),
        "{}",
        refused.text()
    );
    let refused = step(&sandbox, "switch", &[]);
    assert!(refused.failure(4).contains("`run` and `verify` come first"), "{}", refused.stderr);
    let run = step(&sandbox, "run", &[]);
    assert!(success(&run).contains("wrote 1 document with 10 chunks"), "{}", run.stderr);
    let verified = step(&sandbox, "verify", &[]);
    passed(&verified);
    assert!(verified.text().contains("30 chunks of 2 documents"), "{}", verified.text());
    let before = all(&mut application, "articles");
    let new = all(&mut application, "new");
    assert!(new.0 == before.0, "{:?}", new.0);
    assert_near(&new.1, &expected(&sandbox, &before.0));
    if has_aliases {
        switched_under_a_reader(&sandbox, &server, &mut application);
    } else {
        let calls = step(&sandbox, "switch", &["--dry-run"]);
        assert!(calls.quiet().contains("nothing: readers open `new`"), "{}", calls.text());
        for one in ["switch", "rollback", "run", "verify", "switch"] {
            passed(&step(&sandbox, one, &[]));
        }
    }
    passed(&step(&sandbox, "clean", &["--yes"]));
    assert!(all(&mut application, if has_aliases { "docs" } else { "new" }) == new);
    let again =
        plan(&sandbox, &server, "articles", &[&all_fields[..], &["-o", "again.toml"]].concat());
    assert!(again.failure(4).contains("no collection `articles`"), "{}", again.stderr);
}

/// Switches, rolls back and switches again while a reader uses the alias.
fn switched_under_a_reader(sandbox: &Sandbox, server: &Server, application: &mut Application) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        let reader = scope.spawn(|| {
            let mut reader = Application::start(server);
            let mut seen = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let (_, vectors) = all(&mut reader, "docs");
                let mut widths: Vec<usize> = vectors.values().map(Vec::len).collect();
                assert_eq!(widths.len(), 30);
                widths.dedup();
                assert_eq!(widths.len(), 1, "vectors of both models at once");
                seen[usize::from(widths == [384])] += 1;
            }
            seen
        });
        for round in ["switch", "rollback", "run", "verify", "switch"] {
            let run = step(sandbox, round, &[]);
            assert_eq!(run.status, Some(0), "{round}: {}{}", run.text(), run.stderr);
        }
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("a reader without an error");
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    });
    assert_eq!(all(application, "docs").1[&1].len(), 384);
}

#[test]
fn vectors_in_qdrant_are_replaced() {
    vectors_are_replaced("qdrant", "body", &["--vector", "text"]);
}

#[test]
fn vectors_in_milvus_are_replaced() {
    vectors_are_replaced("milvus", "body", &["--vector", "embedding"]);
}

#[test]
fn vectors_in_chroma_are_replaced() {
    vectors_are_replaced("chroma", "document", &[]);
}

/// What others write only to the new collection is kept.
fn live_writes_win(kind: &'static str, text: &str, more: &[&str]) {
    let Some(server) = crate::server(kind) else { return };
    let sandbox = Sandbox::new();
    let mut application = application(&server, &sandbox, None);
    passed(&plan(&sandbox, &server, "articles", &[&["--text", text][..], more].concat()));
    let run = step(&sandbox, "run", &[]);
    assert!(success(&run).contains("wrote 30 documents with 30 chunks"), "{}", run.stderr);
    let own = vectors(
        &sandbox,
        "starter",
        &["--task", "retrieval.passage"],
        &["Live.".to_owned(), "More.".to_owned()],
    );
    let live = [point(5, "Live.", "x", &own[0]), point(50, "More.", "x", &own[1])];
    put(&mut application, "new", &live);
    // A change of the old collection reaches the new one, except where others have written.
    let old = vec![0.5_f32; 48];
    put(
        &mut application,
        "articles",
        &[point(5, "Other.", "x", &old), point(7, "Changed.", "x", &old)],
    );
    let run = step(&sandbox, "run", &[]);
    assert!(success(&run).contains("wrote 1 document with 1 chunk"), "{}", run.stderr);
    let verified = step(&sandbox, "verify", &[]);
    passed(&verified);
    for part in ["1 of them rewritten by others", "1 more only in the new collection"] {
        assert!(verified.text().contains(part), "{part}: {}", verified.text());
    }
    let (fields, vectors) = all(&mut application, "new");
    let texts = [5, 7, 50].map(|id| fields[&id]["body"].as_str().expect("a text"));
    assert_eq!(texts, ["Live.", "Changed.", "More."]);
    assert!(vectors[&5].iter().zip(&own[0]).all(|(a, b)| (a - b).abs() <= 1e-6));
    passed(&step(&sandbox, "run", &["--prune"]));
    assert!(!all(&mut application, "new").0.contains_key(&50));
}

#[test]
fn live_writes_win_in_qdrant() {
    live_writes_win("qdrant", "body", &["--vector", "text"]);
}

#[test]
fn live_writes_win_in_milvus() {
    // Each point is a document, by a field outside the schema.
    live_writes_win("milvus", "body", &["--vector", "embedding", "--document", "number"]);
}

#[test]
fn a_point_without_a_text_is_passed_over() {
    let Some(server) = crate::server("chroma") else { return };
    let (sandbox, model) = (Sandbox::new(), tiny_v3().display().to_string());
    let mut application = Application::start(&server);
    ask(&mut application, &json!({ "do": "make", "name": "articles", "width": 2, "alias": null }));
    let mut points: Vec<Value> =
        (1..4).map(|id| point(id, &format!("Text {id}."), "first", &[1.0, 0.0])).collect();
    points[0]["body"] = Value::Null;
    put(&mut application, "articles", &points);
    let planned = plan_to(&model, &sandbox, &server, "articles", &[]);
    passed(&planned);
    assert!(planned.text().contains("2 documents, 2 chunks"), "{}", planned.text());
    for one in ["run", "verify", "switch"] {
        passed(&step(&sandbox, one, &[]));
    }
    let ids: Vec<u64> = all(&mut application, "new").0.into_keys().collect();
    assert_eq!(ids, [2, 3]);
    points.iter_mut().for_each(|point| point["body"] = Value::Null);
    ask(&mut application, &json!({ "do": "make", "name": "mute", "width": 2, "alias": null }));
    put(&mut application, "mute", &points);
    let more = ["--text", "document", "-o", "mute.toml"];
    let refused = plan_to(&model, &sandbox, &server, "mute", &more);
    assert!(refused.failure(4).contains("it has no text in `document`"), "{}", refused.stderr);
}

#[test]
fn live_writes_win_in_chroma() {
    live_writes_win("chroma", "document", &[]);
}

/// Kills runs at different moments, some while the server restarts.
fn kills_lose_nothing(kind: &'static str, text: &str, more: &[&str]) {
    const ROUNDS: u64 = 6;
    let Some(mut server) = crate::server(kind) else { return };
    let sandbox = Sandbox::new();
    let mut application = application(&server, &sandbox, None);
    let (_, old) = all(&mut application, "articles");
    for start in (100..900).step_by(100) {
        let text =
            |id| format!("Text number {id} of many, which is a little longer than the others.");
        let points: Vec<Value> =
            (start..start + 100).map(|id| point(id, &text(id), "third", &old[&1])).collect();
        put(&mut application, "articles", &points);
    }
    drop(application);
    // A tiny model, so that most of a run is reading and writing, where a kill could hurt.
    let model = tiny_v3().display().to_string();
    let fields = [&["--text", text][..], more].concat();
    passed(&plan_to(&model, &sandbox, &server, "articles", &fields));
    let run = ["migrate", "run", "new.plan.toml", "--threads", "1"];
    let start =
        || sandbox.command(crate::PROGRAM, run).stderr(Stdio::null()).spawn().expect("a run");
    for round in 0..ROUNDS {
        let mut child = start();
        // Some are killed before they begin, others in the middle.
        std::thread::sleep(Duration::from_millis(150 + 137 * round % 700));
        if round % 3 == 1 {
            server.restart();
        }
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("an end");
    }
    passed(&step(&sandbox, "run", &[]));
    passed(&step(&sandbox, "run", &[]));
    let mut application = Application::start(&server);
    let (before, new) = (all(&mut application, "articles"), all(&mut application, "new"));
    assert_alike(&mut application, 64);
    assert_eq!(new.0.len(), 830);
    assert!(new.0 == before.0, "a point is missing or has changed");
    passed(&step(&sandbox, "verify", &[]));
}

#[test]
fn kills_lose_nothing_in_milvus() {
    kills_lose_nothing("milvus", "body", &["--vector", "embedding"]);
}

#[test]
fn kills_lose_nothing_in_chroma() {
    kills_lose_nothing("chroma", "document", &[]);
}
