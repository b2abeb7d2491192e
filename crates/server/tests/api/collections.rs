//! Searching and writing collections.

use crate::routes::assert_described;
use crate::{Reply, Server, starter};
use kokeshi::{LoadOptions, Model};
use kokeshi_collections::{NamedModel, OpenCollection, Settings};
use kokeshi_server::{Binding, Config, Limits, ServedCollections, StoredCollection};
use kokeshi_store::{Address, Source, Sqlite, Store};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const TEXTS: [(&str, &str, &str); 4] = [
    ("lamp", "The lamp is too dark. It was bought in May.", "en"),
    ("ship", "The ship left the harbour at noon.", "en"),
    ("bread", "Bread needs flour, water and salt.", "en"),
    ("licht", "Die Lampe ist zu dunkel.", "de"),
];
/// A query whose best hit is the first text, and whose second is the last.
const LAMP: &str = "The lamp was bought in May and is too dark";
const DOCUMENTS: &str = "/v1/collections/docs/documents";

/// A server of the collection `docs`, and its store.
struct Served {
    server: Server,
    folder: TempDir,
}

impl Served {
    fn start() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("index.db");
        create(&path, "docs");
        let read = path.clone();
        let collections = ServedCollections {
            store: Some(Address::File(path)),
            read_bindings: Box::new(move || Ok(vec![binding("docs", &read), unstored()])),
        };
        Self { server: Server::following(vec![starter()], Some(collections), config), folder }
    }

    /// With the texts above.
    fn filled() -> Self {
        let served = Self::start();
        let reply = served.server.post(DOCUMENTS, &documents(&TEXTS)).success();
        assert_eq!(reply["written"], 4, "{reply}");
        served
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("index.db")
    }

    fn count(&self) -> usize {
        let store = Sqlite::open(&self.path()).expect("a store");
        store.count("docs").expect("counts").documents
    }

    #[track_caller]
    fn lines(&self, body: &str) -> Reply {
        self.server.send_as("application/x-ndjson", DOCUMENTS, body.as_bytes())
    }

    /// The paths of the hits.
    #[track_caller]
    fn paths(&self, body: &Value) -> Vec<String> {
        let found = self.server.post("/v1/search", body).success();
        let hits = found["hits"].as_array().expect("hits");
        hits.iter().map(|hit| hit["path"].as_str().expect("a path").to_owned()).collect()
    }
}

fn create(path: &Path, name: &str) {
    let mut store = Sqlite::create(path).expect("a store");
    let model = Model::starter(&LoadOptions::default()).expect("a model");
    let (named, revision) = ("starter".to_owned(), "1".to_owned());
    let model = NamedModel { name: named, revision, model: Arc::new(model) };
    let settings = Settings::default();
    OpenCollection::to_index(&mut store, name, None, &settings, model).expect("a collection");
}

fn binding(name: &str, path: &Path) -> Binding {
    let store = Sqlite::open(path).expect("a store");
    let found = store.collection(name).expect("a store").expect("a collection");
    Binding {
        name: name.to_owned(),
        collection: found.name,
        model: starter(),
        passage_task: found.provenance.passage_task.clone(),
        query_task: found.provenance.query_task.clone(),
        dimensions: found.provenance.dimensions,
        stored: Some(StoredCollection {
            target: name.to_owned(),
            id: found.id,
            provenance: found.provenance,
        }),
    }
}

/// A name that follows a migration.
fn unstored() -> Binding {
    Binding {
        name: "moved".to_owned(),
        collection: "elsewhere".to_owned(),
        model: starter(),
        passage_task: None,
        query_task: None,
        dimensions: 384,
        stored: None,
    }
}

fn document((id, text, lang): &(&str, &str, &str)) -> Value {
    json!({ "id": id, "text": text, "metadata": { "lang": lang } })
}

fn documents(texts: &[(&str, &str, &str)]) -> Value {
    json!({ "documents": texts.iter().map(document).collect::<Vec<_>>() })
}

#[test]
fn documents_are_added_replaced_found_and_removed() {
    let served = Served::filled();
    let server = &served.server;
    let again = server.post(DOCUMENTS, &documents(&TEXTS)).success();
    assert_eq!((&again["written"], &again["unchanged"]), (&json!(0), &json!(4)));
    assert_eq!(again["usage"]["total_tokens"], 0);
    let query = json!({ "collection": "docs", "query": LAMP, "limit": 2 });
    assert_eq!(served.paths(&query), ["lamp", "licht"]);
    let replaced = documents(&[("lamp", "Snow fell all night.", "en"), ("blank", " ", "en")]);
    let reply = server.post(DOCUMENTS, &replaced).success();
    assert_eq!((&reply["written"], &reply["blank"]), (&json!(2), &json!(1)));
    assert_eq!(served.paths(&query)[0], "licht");
    let remove = |ids: Value| {
        let body = json!({ "ids": ids }).to_string();
        server.send("DELETE", DOCUMENTS, &[], body.as_bytes()).success()["removed"].clone()
    };
    assert_eq!(remove(json!(["licht", "blank", "absent"])), 2);
    assert_eq!(remove(json!(["licht"])), 0);
    assert_eq!(served.paths(&query).len(), 2);
    assert!(!served.paths(&query).contains(&"licht".to_owned()));
    let list = server.get("/v1/collections").success();
    let docs = &list["data"][0];
    assert_eq!(
        (&docs["name"], &docs["documents"], &docs["chunks"]),
        (&json!("docs"), &json!(3), &json!(3))
    );
    assert_eq!(docs["provenance"]["model"], "starter");
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "only what is in the store");
}

#[test]
fn a_search_has_conditions_and_describes_its_hits() {
    let served = Served::filled();
    let server = &served.server;
    let api = server.get("/openapi.json").success();
    let reply = server.post("/v1/search", &json!({ "query": LAMP }));
    assert_described(&api, "post", "/v1/search", &reply);
    assert_described(&api, "get", "/v1/collections", &server.get("/v1/collections"));
    let found = reply.success();
    assert_eq!((&found["collection"], &found["model"]), (&json!("docs"), &json!("starter")));
    let hit = &found["hits"][0];
    assert_eq!((&hit["path"], &hit["lines"]), (&json!("lamp"), &json!([1, 1])));
    assert_eq!((&hit["metadata"], &hit["chunk"]), (&json!({ "lang": "en" }), &json!(0)));
    let (text, best) = (hit["text"].as_str().expect("a text"), &hit["best"]);
    let sentence = best["text"].as_str().expect("a text").trim();
    assert!(["The lamp is too dark.", "It was bought in May."].contains(&sentence), "{hit}");
    let range = |name: &str, at: usize| best[name][at].as_u64().expect("a number") as usize;
    assert_eq!(&text[range("bytes", 0)..range("bytes", 1)], best["text"].as_str().expect("text"));
    assert!(hit.get("why").is_none());
    let search = |more: Value| {
        let mut body = json!({ "query": LAMP, "best_sentences": false });
        let fields = more.as_object().expect("fields").clone();
        body.as_object_mut().expect("an object").extend(fields);
        served.paths(&body)
    };
    assert_eq!(search(json!({ "filter": "lang=de" })), ["licht"]);
    assert_eq!(search(json!({ "filter": ["lang=en", "lang!=de"] })).len(), 3);
    assert_eq!(search(json!({ "path": ["l*", "!licht"] })), ["lamp"]);
    assert_eq!(search(json!({ "min_score": 0.99 })), [""; 0]);
    assert_eq!(search(json!({ "limit": 1 })), ["lamp"]);
    let hybrid = json!({ "query": "flour", "hybrid": true, "best_sentences": false });
    let reply = server.post("/v1/search", &hybrid);
    assert_described(&api, "post", "/v1/search", &reply);
    let hit = &reply.success()["hits"][0];
    assert_eq!((&hit["path"], &hit["why"]["words"]["rank"]), (&json!("bread"), &json!(1)));
    assert!(hit.get("best").is_none());
}

#[test]
fn a_vector_finds_what_its_text_does_whatever_its_length() {
    let served = Served::filled();
    let text = LAMP;
    let vector = &served.server.vectors(&json!({ "model": "docs", "input": text }))[0];
    let doubled: Vec<f32> = vector.iter().map(|x| 2.0 * x).collect();
    let hits = |body: &Value| served.server.post("/v1/search", body).success()["hits"].clone();
    let by_text = hits(&json!({ "query": text }));
    assert_eq!(hits(&json!({ "vector": vector }))[0]["text"], by_text[0]["text"]);
    let by_vector = hits(&json!({ "vector": doubled }));
    for (one, other) in
        by_text.as_array().expect("hits").iter().zip(by_vector.as_array().expect("hits"))
    {
        let scores = [one, other].map(|hit| hit["score"].as_f64().expect("a score"));
        assert!((scores[0] - scores[1]).abs() < 1e-6, "{scores:?}");
        assert_eq!((&one["path"], &one["best"]), (&other["path"], &other["best"]));
    }
}

#[test]
fn hits_with_the_same_text_are_one() {
    let served = Served::start();
    let same =
        [("a", "The lamp is dark.", "en"), ("b", "The lamp is dark.", "en"), ("c", "Snow.", "en")];
    served.server.post(DOCUMENTS, &documents(&same)).success();
    let found = served.server.post("/v1/search", &json!({ "query": "lamp", "limit": 2 })).success();
    let hits = found["hits"].as_array().expect("hits");
    assert_eq!(hits.len(), 2, "{found}");
    assert_eq!(hits[0]["identical"].as_array().map(Vec::len), Some(1), "{found}");
    let api = served.server.get("/openapi.json").success();
    let reply = served.server.post("/v1/search", &json!({ "query": "lamp" }));
    assert_described(&api, "post", "/v1/search", &reply);
}

#[test]
fn invalid_fields_of_a_search_are_named() {
    let served = Served::filled();
    for (body, field) in [
        (json!({}), "query"),
        (json!({ "query": " " }), "query"),
        (json!({ "query": 7 }), "query"),
        (json!({ "query": "x", "vector": [1.0] }), "query"),
        (json!({ "vector": [1.0] }), "vector"),
        (json!({ "vector": vec![0.0; 384] }), "vector"),
        (json!({ "vector": vec![1.0; 384], "hybrid": true }), "hybrid"),
        (json!({ "vector": ["x"] }), "vector[0]"),
        (json!({ "query": "x", "limit": 0 }), "limit"),
        (json!({ "query": "x", "limit": 1001 }), "limit"),
        (json!({ "query": "x", "filter": "lang" }), "filter"),
        (json!({ "query": "x", "filter": ["a=b", 7] }), "filter[1]"),
        (json!({ "query": "x", "filter": vec!["a=b"; 65] }), "filter"),
        (json!({ "query": "x", "path": "[" }), "path"),
    ] {
        let error = served.server.post("/v1/search", &body).refusal(422, "INPUT_VALIDATION");
        assert_eq!(error["errors"][0]["field"], field, "{error}");
    }
    let long = json!({ "query": "word ".repeat(9000) });
    served.server.post("/v1/search", &long).refusal(400, "INPUT_TOO_LONG");
    for (name, known) in [("absent", "it has `docs`"), ("moved", "it has `docs`")] {
        let body = json!({ "collection": name, "query": "x" });
        let error = served.server.post("/v1/search", &body).refusal(404, "RESOURCE_NOT_FOUND");
        assert!(error["detail"].as_str().expect("a text").contains(known), "{error}");
        let path = format!("/v1/collections/{name}/documents");
        served.server.post(&path, &documents(&TEXTS)).refusal(404, "RESOURCE_NOT_FOUND");
    }
    let error = Server::start().post("/v1/search", &json!({ "query": "x" }));
    let error = error.refusal(404, "RESOURCE_NOT_FOUND");
    assert_eq!(error["detail"], "this server serves no collections");
}

#[test]
fn invalid_documents_are_refused_and_nothing_is_stored() {
    let served = Served::start();
    let one = |document: Value| json!({ "documents": [{ "id": "a", "text": "A." }, document] });
    for (document, field) in [
        (json!({ "id": " ", "text": "B." }), "documents[1].id"),
        (json!({ "id": "b".repeat(1025), "text": "B." }), "documents[1].id"),
        (json!({ "id": 7, "text": "B." }), "documents[1].id"),
        (json!({ "id": "b", "text": null }), "documents[1].text"),
        (json!({ "id": "b", "text": "B.", "metadata": [] }), "documents[1].metadata"),
        (
            json!({ "id": "b", "text": "B.", "metadata": { "x": "y".repeat(70_000) } }),
            "documents[1].metadata",
        ),
    ] {
        let error = served.server.post(DOCUMENTS, &one(document)).refusal(422, "INPUT_VALIDATION");
        assert_eq!(error["errors"][0]["field"], field, "{error}");
    }
    assert_eq!(served.count(), 0);
    let long = "x".repeat((1 << 20) + 1);
    let reply = served.server.post(DOCUMENTS, &one(json!({ "id": "b", "text": long })));
    reply.refusal(400, "INPUT_TOO_LONG");
    assert_eq!(served.count(), 0);
}

#[test]
fn lines_are_stored_batch_by_batch_and_a_refusal_says_how_many_are() {
    let served = Served::start();
    let line =
        |at: usize| json!({ "id": format!("d{at}"), "text": format!("Text {at}.") }).to_string();
    let mut lines: Vec<String> = (1..=150).map(line).collect();
    lines[139] = "{\"id\": \"x\"}".to_owned();
    let error = served.lines(&lines.join("\n")).refusal(422, "INPUT_VALIDATION");
    let detail = error["detail"].as_str().expect("a text");
    assert!(detail.starts_with("line 140: "), "{detail}");
    assert!(detail.ends_with("; the first 128 lines of the body are stored"), "{detail}");
    assert_eq!(served.count(), 128);
    lines[139] = line(140);
    let reply = served.lines(&(lines.join("\r\n\r\n") + "\n")).success();
    assert_eq!((&reply["written"], &reply["unchanged"]), (&json!(22), &json!(128)), "{reply}");
    assert_eq!(served.count(), 150);
    assert_eq!(served.lines("").success()["written"], 0);
    served.lines("[1]").refusal(422, "INPUT_VALIDATION");
    let limits = Limits { body_bytes: 200, ..Limits::default() };
    let served = Served::with(Config { limits, ..Config::default() });
    assert_eq!(
        served.lines(&lines[..100].join("\n")).success()["written"],
        100,
        "no limit of a body"
    );
    served.lines(&"x".repeat(300)).refusal(413, "INPUT_TOO_LARGE");
}

#[test]
fn while_another_program_writes_documents_are_refused_and_searches_are_not() {
    let served = Served::filled();
    let other = Sqlite::open(&served.path()).expect("a store");
    let lock = other.lock().expect("a lock");
    let new = documents(&[("new", "A new text.", "en")]);
    let busy = served.server.post(DOCUMENTS, &new);
    busy.refusal(503, "SERVICE_UNAVAILABLE");
    assert!(busy.header("retry-after").is_some());
    assert_eq!(served.paths(&json!({ "query": "a lamp" })).len(), 4);
    drop(lock);
    assert_eq!(served.server.post(DOCUMENTS, &new).success()["written"], 1);
    assert_eq!(served.count(), 5);
}

#[test]
fn a_collection_that_was_switched_is_searched_and_not_written() {
    let served = Served::filled();
    let mut store = Sqlite::open(&served.path()).expect("a store");
    let found = store.collection("docs").expect("a store").expect("a collection");
    store.create("new", &found.provenance).expect("a collection");
    let new = store.collection("new").expect("a store").expect("a collection");
    let replacement = kokeshi_store::Replacement {
        name: "docs",
        old: Some(&found.id),
        new: &new.id,
        kept: "docs-old",
    };
    store.switch(&replacement).expect("switched");
    assert_eq!(served.paths(&json!({ "query": "a lamp" })).len(), 4, "of the old one");
    let added = served.server.post(DOCUMENTS, &documents(&[("new", "A new text.", "en")]));
    added.refusal(503, "SERVICE_UNAVAILABLE");
    for name in ["docs", "docs-old"] {
        let counts = store.count(name).expect("counts");
        assert_eq!(counts.documents, if name == "docs" { 0 } else { 4 });
    }
}

#[test]
fn another_file_at_the_path_of_the_store_is_not_mistaken_for_it() {
    let served = Served::filled();
    assert_eq!(served.paths(&json!({ "query": "a lamp" })).len(), 4);
    let other = served.folder.path().join("other.db");
    std::fs::copy(served.path(), &other).expect("copied");
    let ids = vec!["lamp".to_owned(), "ship".to_owned()];
    Sqlite::open(&other).expect("a store").remove("docs", &ids).expect("removed");
    let checkpointed = Sqlite::open(&other).expect("a store").finish("docs");
    checkpointed.expect("all is in the file");
    for end in ["-wal", "-shm"] {
        let file = served.folder.path().join(format!("index.db{end}"));
        if file.exists() {
            std::fs::remove_file(file).expect("removed");
        }
    }
    std::fs::rename(&other, served.path()).expect("renamed");
    assert_eq!(served.paths(&json!({ "query": "a lamp" })).len(), 2);
}

#[test]
fn searches_and_documents_run_in_the_queue_and_count_against_the_key() {
    let served = Served::filled();
    let before = served.server.get("/metrics").text();
    let waits = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("kokeshi_queue_wait_seconds_count"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    served.paths(&json!({ "query": "a lamp" }));
    served.paths(&json!({ "query": "a lamp", "best_sentences": false }));
    let after = served.server.get("/metrics").text();
    assert_eq!(waits(&after) - waits(&before), 3, "a query, its sentences, and a query");
    let limits = Limits { queue_tokens: 1, ..Limits::default() };
    let full = Served::with(Config { limits, ..Config::default() });
    let reply = full.server.post(DOCUMENTS, &documents(&TEXTS));
    assert_eq!(reply.status, 200, "a request of nobody else fits: {}", reply.text());
}

#[test]
fn documents_wait_for_a_full_queue() {
    let limits = Limits { queue_tokens: 1, ..Limits::default() };
    let served = Served::with(Config { limits, ..Config::default() });
    let long = json!({ "input": vec!["word ".repeat(400); 8] });
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| served.server.post("/v1/embeddings", &long));
        served.server.wait_for("kokeshi_queue_requests{model=\"starter\"} 1");
        served
            .server
            .post("/v1/search", &json!({ "query": "x" }))
            .refusal(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
        assert_eq!(served.server.post(DOCUMENTS, &documents(&TEXTS)).success()["written"], 4);
        assert_eq!(busy.join().expect("an answer").status, 200);
    });
}
