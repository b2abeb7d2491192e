//! `kokeshi migrate` of data of other programs: files of rows, and tables that they keep writing.

use crate::index::{notes, said};
use crate::{Run, Sandbox};
use kokeshi_store::Address;
use kokeshi_testkit::fixture;
use kokeshi_testkit::servers::Server;
use pgvector::Vector;
use postgres::{Client, NoTls};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    place: &Sandbox,
    model: &str,
    more: &[&str],
    texts: &[String],
) -> Vec<Vec<f32>> {
    let lines: Vec<String> = texts.iter().map(|text| json!({ "text": text }).to_string()).collect();
    place.write("texts.jsonl", lines.join("\n"));
    let embed = ["embed", "--input", "texts.jsonl", "--format", "json", "--model", model];
    let embedded = place.run(embed.iter().chain(more));
    let embedded: Value = serde_json::from_str(embedded.text()).expect("JSON");
    let vector = |one: &Value| serde_json::from_value(one["embedding"].clone()).expect("a vector");
    embedded["data"].as_array().expect("vectors").iter().map(vector).collect()
}

pub(crate) fn step(place: &Sandbox, step: &str, more: &[&str]) -> Run {
    place.run(["migrate", step, "new.plan.toml"].iter().chain(more))
}

pub(crate) fn passed(run: &Run) {
    assert_eq!(run.status, Some(0), "{}{}", run.text(), run.stderr);
}

#[test]
fn rows_of_a_file_become_a_collection() {
    let place = notes();
    let texts = texts();
    let alone: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let old = vectors(&place, &v2(), &[], &alone);
    let rows: Vec<String> = (texts.iter().zip(&old).enumerate())
        .map(|(at, ((text, document), vector))| {
            json!({ "id": at, "text": text, "doc_id": document, "vector": vector, "year": at })
                .to_string()
        })
        .collect();
    place.write("old.jsonl", rows.join("\n"));
    let plan = |more: &[&str]| {
        let model = v2();
        let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
        let made = ["--model", "starter", "--candidate", &model];
        place.run(plan.iter().chain(&made).chain(more))
    };
    let refused = plan(&["--text", "body"]);
    assert!(
        refused.failure(1).contains("no text in `body`; it has `id`, `text`"),
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
    assert!(said(&step(&place, "run", &[])).contains("wrote 2 documents with 30 chunks"));
    let verified = step(&place, "verify", &[]);
    passed(&verified);
    assert!(verified.text().contains("30 of 30 chunks of 2 documents"), "{}", verified.text());
    assert!(step(&place, "switch", &["--dry-run"]).quiet().contains("nothing: readers open `new`"));
    passed(&step(&place, "switch", &[]));
    let search = ["search", "ships", "--store", "new.db", "--collection", "new", "--json"];
    let found = place.run(search.iter().chain(&["--where", "year=7"])).json();
    let hit = &found["hits"][0];
    assert_eq!((&hit["path"], &hit["metadata"]["id"]), (&json!("second"), &json!("7")), "{found}");
    let refused = step(&place, "rollback", &[]);
    assert!(refused.failure(1).contains("are elsewhere"), "{}", refused.stderr);
    passed(&step(&place, "clean", &[]));
    assert!(place.path("old.jsonl").exists());
}

#[test]
fn a_file_that_changed_after_it_was_verified_is_not_switched_to() {
    let place = Sandbox::new();
    let row = |id: usize, text: &str| json!({ "id": id, "text": text }).to_string() + "\n";
    place.write("old.jsonl", row(1, "One.") + &row(2, "Two."));
    let plan = ["migrate", "plan", "--source", "old.jsonl", "--store", "new.db", "--to", "new"];
    let planned = place.run(plan.iter().chain(&["--model", "starter"]));
    passed(&planned);
    assert!(planned.text().contains("none: there are no vectors"), "{}", planned.text());
    passed(&step(&place, "run", &[]));
    passed(&step(&place, "verify", &[]));
    place.write("old.jsonl", row(1, "One.") + &row(2, "Two, changed."));
    let refused = step(&place, "switch", &[]);
    assert!(refused.failure(1).contains("it was verified with"), "{}", refused.stderr);
    let verified = step(&place, "verify", &[]);
    assert!(
        verified.text().contains("1 changed in the old collection since: 2"),
        "{}",
        verified.text()
    );
    assert!(said(&step(&place, "run", &[])).contains("wrote 1 document"));
    passed(&step(&place, "verify", &[]));
    passed(&step(&place, "switch", &[]));
}

/// A table of an application, with vectors of v2.
fn table(server: &Server, place: &Sandbox) -> Client {
    let mut client = Client::connect(&server.address(), NoTls).expect("a connection");
    let sql = "CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA app; \
               CREATE TABLE app.\"Docs\" (id bigserial PRIMARY KEY, body text, book text NOT NULL, \
               embedding vector(48)); CREATE INDEX ON app.\"Docs\" (book); \
               CREATE INDEX ON app.\"Docs\" USING hnsw (embedding vector_l2_ops)";
    client.batch_execute(sql).expect("a table");
    let texts = texts();
    let alone: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let old = vectors(place, &v2(), &[], &alone);
    for ((text, book), vector) in texts.iter().zip(old) {
        let sql = "INSERT INTO app.\"Docs\" (body, book, embedding) VALUES ($1, $2, $3)";
        client.execute(sql, &[text, book, &Vector::from(vector)]).expect("a row");
    }
    client
}

fn plan_of_table(place: &Sandbox, store: &str, more: &[&str]) -> Run {
    let model = v2();
    let plan = ["migrate", "plan", "--store", store, "--table", "app.Docs", "--to", "new"];
    let made = ["--model", "starter", "--candidate", &model];
    place.run(plan.iter().chain(&made).chain(more))
}

fn count(client: &mut Client, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM app.\"Docs\" WHERE {condition}");
    client.query_one(&sql, &[]).expect("a count").get(0)
}

#[test]
fn a_column_of_a_table_moves_and_comes_back() {
    let Some(server) = crate::server("postgres") else { return };
    let (place, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &place);
    let more = ["--store", store.as_str()];
    for (wrong, wanted) in [
        (&["--text", "words"][..], "no column `words`, it has `id`, `body`"),
        (&["--text", "body", "--id", "book"], "does not identify rows"),
        (&["--text", "body", "--document", "body"], "has no index"),
        (&["--text", "body", "--from", "vectors"], "it has `embedding`"),
    ] {
        let refused = plan_of_table(&place, &store, wrong);
        assert!(refused.failure(1).contains(wanted), "{}", refused.stderr);
    }
    let planned = plan_of_table(&place, &store, &[]);
    passed(&planned);
    for part in [
        "in `body`; each row is a document",
        "each chunk alone: cosine",
        "so it was this one",
        "30 documents, 30 chunks",
    ] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    let run = step(&place, "run", &more);
    assert!(said(&run).contains("wrote 30 documents with 30 chunks"), "{}", run.stderr);
    // Meanwhile, the application writes: a changed text loses its new vector, one written with a
    // vector keeps it, a new row has none yet, and a row is removed.
    let own = vectors(&place, "starter", &["--task", "retrieval.passage"], &["Theirs.".to_owned()]);
    client
        .batch_execute(
            "UPDATE app.\"Docs\" SET body = 'Changed.' WHERE id = 3; \
             INSERT INTO app.\"Docs\" (body, book) VALUES ('Added.', 'third'); \
             DELETE FROM app.\"Docs\" WHERE id = 4; UPDATE app.\"Docs\" SET book = 'x' WHERE id = 6",
        )
        .expect("changes");
    let sql = "UPDATE app.\"Docs\" SET body = 'Theirs.', new = $1 WHERE id = 5";
    client.execute(sql, &[&Vector::from(own[0].clone())]).expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 2);
    let refused = step(&place, "verify", &more);
    assert!(refused.text().contains("FAILED"), "{}", refused.text());
    assert!(said(&step(&place, "run", &more)).contains("wrote 2 documents with 2 chunks"));
    let verified = step(&place, "verify", &more);
    passed(&verified);
    let indexes =
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw (new vector_l2_ops)%'";
    assert_eq!(client.query_one(indexes, &[]).expect("a count").get::<_, i64>(0), 1);
    let dry = ["--store", store.as_str(), "--dry-run"];
    let calls = step(&place, "switch", &dry).quiet().to_owned();
    for part in [
        "RENAME COLUMN \"embedding\" TO \"embedding_before\"",
        "RENAME COLUMN \"new\" TO \"embedding\"",
    ] {
        assert!(calls.contains(part), "{part}: {calls}");
    }
    switched_under_a_reader(&place, &server, &more);
    let width = |client: &mut Client| -> i32 {
        let sql =
            "SELECT vector_dims(embedding) FROM app.\"Docs\" WHERE embedding IS NOT NULL LIMIT 1";
        client.query_one(sql, &[]).expect("a width").get(0)
    };
    assert_eq!(width(&mut client), 256);
    // Readers use it: no vector is removed any longer.
    client.batch_execute("UPDATE app.\"Docs\" SET body = 'Later.' WHERE id = 9").expect("a change");
    assert_eq!(count(&mut client, "embedding IS NULL"), 0);
    passed(&step(&place, "clean", &["--store", store.as_str(), "--yes"]));
    let sql = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'app.\"Docs\"'::regclass AND NOT \
               attisdropped AND attname IN ('embedding_before', 'new')";
    assert_eq!(client.query_one(sql, &[]).expect("a count").get::<_, i64>(0), 0);
    let sql = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'kokeshi%'";
    assert_eq!(client.query_one(sql, &[]).expect("a count").get::<_, i64>(0), 0, "a trigger stays");
}

/// Switches, rolls back and switches again during reads.
fn switched_under_a_reader(place: &Sandbox, server: &Server, more: &[&str]) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut client = Client::connect(&server.address(), NoTls).expect("a connection");
            let mut seen = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let sql = "SELECT min(vector_dims(embedding)), max(vector_dims(embedding)) FROM app.\"Docs\"";
                let row = client.query_one(sql, &[]).expect("no error");
                let (least, most): (i32, i32) = (row.get(0), row.get(1));
                assert_eq!(least, most, "vectors of both models at once");
                seen[usize::from(most == 256)] += 1;
            }
            seen
        });
        for round in ["switch", "rollback", "run", "verify", "switch"] {
            let run = step(place, round, more);
            assert_eq!(run.status, Some(0), "{round}: {}{}", run.text(), run.stderr);
        }
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("a reader without an error");
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    });
}

#[test]
fn rows_of_one_document_are_embedded_in_one_pass() {
    let Some(server) = crate::server("postgres") else { return };
    let (place, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &place);
    let more = ["--store", store.as_str()];
    // The order of a document is from its last row to its first.
    let ranks = "ALTER TABLE app.\"Docs\" ADD COLUMN rank int NOT NULL DEFAULT 0; \
                 UPDATE app.\"Docs\" SET rank = -id";
    client.batch_execute(ranks).expect("ranks");
    let fields = ["--text", "body", "--document", "book", "--order", "rank"];
    let planned = plan_of_table(&place, &store, &fields);
    passed(&planned);
    assert!(planned.text().contains("2 documents, 30 chunks"), "{}", planned.text());
    passed(&step(&place, "run", &more));
    passed(&step(&place, "verify", &more));
    let first = texts().into_iter().rev().filter(|(_, book)| *book == "first");
    let first: Vec<String> = first.map(|(text, _)| text).collect();
    let late = ["--task", "retrieval.passage", "--late-chunking"];
    let expected = vectors(&place, "starter", &late, &first);
    let sql = "SELECT new FROM app.\"Docs\" WHERE book = 'first' ORDER BY rank";
    let found: Vec<Vec<f32>> = (client.query(sql, &[]).expect("vectors").iter())
        .map(|row| row.get::<_, Vector>(0).to_vec())
        .collect();
    assert_eq!(found, expected);
    // One text of the document changes and one is removed: the vectors of the others depend on
    // them.
    client
        .batch_execute("UPDATE app.\"Docs\" SET body = 'Changed.' WHERE id = 2")
        .expect("a change");
    assert!(said(&step(&place, "run", &more)).contains("wrote 1 document with 20 chunks"));
    client.batch_execute("DELETE FROM app.\"Docs\" WHERE id = 4").expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 9);
    assert!(said(&step(&place, "run", &more)).contains("wrote 1 document with 9 chunks"));
    // A row that moves to another document invalidates both, and a new position invalidates all of
    // its own.
    client.batch_execute("UPDATE app.\"Docs\" SET book = 'second' WHERE id = 1").expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 9);
    assert!(said(&step(&place, "run", &more)).contains("wrote 2 documents with 29 chunks"));
    client.batch_execute("UPDATE app.\"Docs\" SET rank = 9 WHERE id = 7").expect("a change");
    assert!(said(&step(&place, "run", &more)).contains("wrote 1 document with 8 chunks"));
    let verified = step(&place, "verify", &more);
    passed(&verified);
    assert!(verified.text().contains("29 of 29 chunks of 2 documents"), "{}", verified.text());
}

#[test]
fn kills_and_a_server_that_stops_lose_nothing_in_a_table() {
    const ROUNDS: u64 = 10;
    let Some(mut server) = crate::server("postgres") else { return };
    let (place, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &place);
    let more = "INSERT INTO app.\"Docs\" (body, book) SELECT 'Text number ' || n || ' of many, which is a \
                little longer than the others.', 'third' FROM generate_series(1, 2000) AS n";
    client.batch_execute(more).expect("rows");
    passed(&plan_of_table(&place, &store, &["--text", "body"]));
    let run = ["migrate", "run", "new.plan.toml", "--threads", "1", "--store", &store];
    let start = || place.command(crate::PROGRAM, run).stderr(Stdio::null()).spawn().expect("a run");
    let begun = Instant::now();
    assert!(start().wait().expect("an end").success());
    let whole = begun.elapsed().as_millis() as u64;
    let vectors = |server: &Server| -> Vec<(i64, Vec<f32>)> {
        let mut client = connected(server);
        let rows = client.query("SELECT id, new FROM app.\"Docs\" ORDER BY id", &[]).expect("rows");
        rows.iter().map(|row| (row.get(0), row.get::<_, Vector>(1).to_vec())).collect()
    };
    let undisturbed = vectors(&server);
    assert_eq!(undisturbed.len(), 2030);
    for round in 0..ROUNDS {
        let sql = format!("UPDATE app.\"Docs\" SET new = NULL WHERE id % 3 <> {}", round % 3);
        connected(&server).batch_execute(&sql).expect("vectors are taken away");
        let mut child = start();
        // Spread over the whole run, in random order.
        std::thread::sleep(Duration::from_millis(round * 7 % ROUNDS * whole / ROUNDS));
        match round % 5 {
            2 => server.restart(),
            4 => server.crash(),
            _ => {}
        }
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("an end");
    }
    drop(connected(&server));
    // The first run continues where the last one was killed; vectors removed behind it are for the
    // next run.
    passed(&step(&place, "run", &["--store", &store]));
    passed(&step(&place, "run", &["--store", &store]));
    assert!(vectors(&server) == undisturbed, "a row is missing or other than before");
    passed(&step(&place, "verify", &["--store", &store]));
}

/// A connection to a server that may still be recovering.
fn connected(server: &Server) -> Client {
    let begun = Instant::now();
    loop {
        match Client::connect(&server.address(), NoTls) {
            Ok(client) => return client,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
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
    place: &Sandbox,
    (text, options): (&str, &[&str]),
    seventh: &str,
) {
    let (model, store) = (v2(), server.address());
    let plan = |from: &str, text: &str| {
        let plan = ["migrate", "plan", "--source", &store, "--from", from, "--text", text];
        let more = ["--document", "book", "--store", &store, "--to", "new"];
        let made = ["--model", "starter", "--candidate", &model];
        place.run(plan.iter().chain(&more).chain(&made).chain(options))
    };
    let refused = plan("nothing", text);
    assert!(refused.failure(1).contains("no collection `nothing`"), "{}", refused.stderr);
    let refused = plan("theirs", "words");
    assert!(refused.failure(1).contains("has no text in `words`; it has "), "{}", refused.stderr);
    let planned = plan("theirs", text);
    passed(&planned);
    for part in ["each chunk alone: cosine", "so it was this one", "2 documents, 30 chunks"] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    for one in ["run", "verify", "switch", "clean"] {
        passed(&step(place, one, &[]));
    }
    let search = ["search", "ships", "--store", &store, "--collection", "new", "--json"];
    let found = place.run(search.iter().chain(&["--where", seventh])).json();
    assert_eq!(found["hits"][0]["path"], "second", "{found}");
}

#[test]
fn points_of_chroma_become_a_collection() {
    let Some(server) = crate::server("chroma") else { return };
    let place = Sandbox::new();
    let base = format!(
        "http://127.0.0.1:{}/api/v2/tenants/default_tenant/databases/default_database/collections",
        server.port()
    );
    let id = send(&base, "POST", &json!({ "name": "theirs" }))["id"].clone();
    let (texts, id) = (texts(), id.as_str().expect("an id").to_owned());
    let alone: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let metadata = texts.iter().enumerate();
    let body = json!({
        "ids": (0..texts.len()).map(|at| format!("id-{at}")).collect::<Vec<_>>(),
        "documents": alone,
        "embeddings": vectors(&place, &v2(), &[], &alone),
        "metadatas": metadata.map(|(at, (_, book))| json!({ "book": book, "number": at })).collect::<Vec<_>>(),
    });
    send(&format!("{base}/{id}/add"), "POST", &body);
    points_become_a_collection(&server, &place, ("document", &[]), "number=7");
}

#[test]
fn points_of_milvus_become_a_collection() {
    let Some(server) = crate::server("milvus") else { return };
    let place = Sandbox::new();
    drop(crate::shadow_copy::application(&server, &place, Some("docs")));
    let more = ["--vector", "embedding", "--order", "number"];
    points_become_a_collection(&server, &place, ("body", &more), "number=993");
}

#[test]
fn points_of_qdrant_become_a_collection() {
    let Some(server) = crate::server("qdrant") else { return };
    let place = Sandbox::new();
    let base = format!("http://127.0.0.1:{}/collections/theirs", server.port());
    send(&base, "PUT", &json!({ "vectors": { "size": 48, "distance": "Cosine" } }));
    let texts = texts();
    let alone: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let points: Vec<Value> = (texts.iter().zip(vectors(&place, &v2(), &[], &alone)).enumerate())
        .map(|(at, ((text, book), vector))| {
            json!({
                "id": at,
                "vector": vector,
                "payload": { "body": text, "book": book, "number": at },
            })
        })
        .collect();
    send(&format!("{base}/points?wait=true"), "PUT", &json!({ "points": points }));
    points_become_a_collection(&server, &place, ("body", &[]), "number=7");
}

#[test]
fn a_table_becomes_a_collection_of_a_file() {
    let Some(server) = crate::server("postgres") else { return };
    let (place, source) = (Sandbox::new(), server.address());
    drop(table(&server, &place));
    let model = v2();
    let plan = [
        "migrate", "plan", "--source", &source, "--table", "app.Docs", "--text", "body", "--to",
        "new",
    ];
    let more = ["--store", "new.db", "--model", "starter", "--candidate", &model];
    let planned = place.run(plan.iter().chain(&more));
    passed(&planned);
    assert!(!planned.text().contains("kokeshi-test"), "a password is shown: {}", planned.text());
    let refused = step(&place, "run", &[]);
    assert!(refused.failure(1).contains("KOKESHI_SOURCE"), "{}", refused.stderr);
    for one in ["run", "verify", "switch", "clean"] {
        passed(&step(&place, one, &["--source", &source]));
    }
    let store = kokeshi_remote::open(&Address::File(place.path("new.db"))).expect("a store");
    assert_eq!(store.count("new").expect("a count").chunks, 30);
}
