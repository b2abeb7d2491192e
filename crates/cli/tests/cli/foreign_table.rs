//! `kokeshi migrate` of a PostgreSQL table that another program writes to.

use crate::foreign::{passed, step, texts, v2, vectors};
use crate::index::success;
use crate::{Run, Sandbox, tiny_v3};
use kokeshi_store::Address;
use kokeshi_testkit::SetOnDrop;
use kokeshi_testkit::pgvector::Vector;
use kokeshi_testkit::postgres::{Client, NoTls};
use kokeshi_testkit::servers::Server;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A table of an application, with vectors of v2.
fn table(server: &Server, sandbox: &Sandbox) -> Client {
    let mut client = connected(server);
    let sql = "CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA app; \
               CREATE TABLE app.\"Docs\" (id bigserial PRIMARY KEY, body text, book text NOT NULL, \
               embedding vector(48)); CREATE INDEX ON app.\"Docs\" (book); \
               CREATE INDEX ON app.\"Docs\" USING hnsw (embedding vector_l2_ops)";
    client.batch_execute(sql).expect("a table");
    let texts = texts();
    let bodies: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let old = vectors(sandbox, &v2(), &[], &bodies);
    for ((text, book), vector) in texts.iter().zip(old) {
        let sql = "INSERT INTO app.\"Docs\" (body, book, embedding) VALUES ($1, $2, $3)";
        client.execute(sql, &[text, book, &Vector::from(vector)]).expect("a row");
    }
    client
}

fn plan_of_table(sandbox: &Sandbox, store: &str, more: &[&str]) -> Run {
    plan_to("starter", sandbox, store, more)
}

fn plan_to(model: &str, sandbox: &Sandbox, store: &str, more: &[&str]) -> Run {
    let old = v2();
    let plan = ["migrate", "plan", "--store", store, "--table", "app.Docs", "--to", "new"];
    let models = ["--model", model, "--candidate", &old];
    sandbox.run(plan.iter().chain(&models).chain(more))
}

fn count(client: &mut Client, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM app.\"Docs\" WHERE {condition}");
    client.query_one(&sql, &[]).expect("a count").get(0)
}

#[test]
fn a_column_of_a_table_moves_and_comes_back() {
    let Some(server) = crate::server("postgres") else { return };
    let (sandbox, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &sandbox);
    let more = ["--store", store.as_str()];
    for (wrong, wanted) in [
        (&["--text", "words"][..], "no column `words`; it has `id`, `body`"),
        (&["--text", "body", "--id", "book"], "does not identify rows"),
        (&["--text", "body", "--document", "body"], "has no index"),
        (&["--text", "body", "--from", "vectors"], "it has `embedding`"),
    ] {
        let refused = plan_of_table(&sandbox, &store, wrong);
        assert!(refused.failure(4).contains(wanted), "{}", refused.stderr);
    }
    let planned = plan_of_table(&sandbox, &store, &[]);
    passed(&planned);
    for part in [
        "in `body`; each row is a document",
        "each chunk alone: cosine",
        "so it was this one",
        "30 documents, 30 chunks",
    ] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    let run = step(&sandbox, "run", &more);
    assert!(success(&run).contains("wrote 30 documents with 30 chunks"), "{}", run.stderr);
    // Meanwhile, the application writes: a changed text loses its new vector, one written with a
    // vector keeps it, a new row has none yet, and a row is removed.
    let own = vectors(&sandbox, "starter", &["--task", "retrieval.passage"], &["Live.".to_owned()]);
    client
        .batch_execute(
            "UPDATE app.\"Docs\" SET body = 'Changed.' WHERE id = 3; \
             INSERT INTO app.\"Docs\" (body, book) VALUES ('Added.', 'third'); \
             DELETE FROM app.\"Docs\" WHERE id = 4; UPDATE app.\"Docs\" SET book = 'x' WHERE id = 6",
        )
        .expect("changes");
    let sql = "UPDATE app.\"Docs\" SET body = 'Live.', new = $1 WHERE id = 5";
    client.execute(sql, &[&Vector::from(own[0].clone())]).expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 2);
    let refused = step(&sandbox, "verify", &more);
    assert!(refused.text().contains("FAILED"), "{}", refused.text());
    assert!(success(&step(&sandbox, "run", &more)).contains("wrote 2 documents with 2 chunks"));
    let verified = step(&sandbox, "verify", &more);
    passed(&verified);
    let indexes =
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw (new vector_l2_ops)%'";
    assert_eq!(client.query_one(indexes, &[]).expect("a count").get::<_, i64>(0), 1);
    let dry = ["--store", store.as_str(), "--dry-run"];
    let calls = step(&sandbox, "switch", &dry).quiet().to_owned();
    for part in [
        "RENAME COLUMN \"embedding\" TO \"embedding_before\"",
        "RENAME COLUMN \"new\" TO \"embedding\"",
    ] {
        assert!(calls.contains(part), "{part}: {calls}");
    }
    switched_under_a_reader(&sandbox, &server, &more);
    let width = |client: &mut Client| -> i32 {
        let sql =
            "SELECT vector_dims(embedding) FROM app.\"Docs\" WHERE embedding IS NOT NULL LIMIT 1";
        client.query_one(sql, &[]).expect("a width").get(0)
    };
    assert_eq!(width(&mut client), 384);
    // Readers use it: no vector is removed any longer.
    client.batch_execute("UPDATE app.\"Docs\" SET body = 'Later.' WHERE id = 9").expect("a change");
    assert_eq!(count(&mut client, "embedding IS NULL"), 0);
    passed(&step(&sandbox, "clean", &["--store", store.as_str(), "--yes"]));
    let sql = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'app.\"Docs\"'::regclass AND NOT \
               attisdropped AND attname IN ('embedding_before', 'new')";
    assert_eq!(client.query_one(sql, &[]).expect("a count").get::<_, i64>(0), 0);
    let sql = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'kokeshi%'";
    assert_eq!(
        client.query_one(sql, &[]).expect("a count").get::<_, i64>(0),
        0,
        "a trigger is left"
    );
}

/// Switches, rolls back and switches again during reads.
fn switched_under_a_reader(sandbox: &Sandbox, server: &Server, more: &[&str]) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        let reader = scope.spawn(|| {
            let mut client = Client::connect(&server.address(), NoTls).expect("a connection");
            let mut seen = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let sql = "SELECT min(vector_dims(embedding)), max(vector_dims(embedding)) FROM app.\"Docs\"";
                let row = client.query_one(sql, &[]).expect("no error");
                let (least, most): (i32, i32) = (row.get(0), row.get(1));
                assert_eq!(least, most, "vectors of both models at once");
                seen[usize::from(most == 384)] += 1;
            }
            seen
        });
        for round in ["switch", "rollback", "run", "verify", "switch"] {
            let run = step(sandbox, round, more);
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
    let (sandbox, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &sandbox);
    let more = ["--store", store.as_str()];
    // The order of a document is from its last row to its first.
    let ranks = "ALTER TABLE app.\"Docs\" ADD COLUMN rank int NOT NULL DEFAULT 0; \
                 UPDATE app.\"Docs\" SET rank = -id";
    client.batch_execute(ranks).expect("ranks");
    let fields = ["--text", "body", "--document", "book", "--order", "rank"];
    let planned = plan_of_table(&sandbox, &store, &fields);
    passed(&planned);
    assert!(planned.text().contains("2 documents, 30 chunks"), "{}", planned.text());
    passed(&step(&sandbox, "run", &more));
    passed(&step(&sandbox, "verify", &more));
    let first = texts().into_iter().rev().filter(|(_, book)| *book == "first");
    let first: Vec<String> = first.map(|(text, _)| text).collect();
    let late = ["--task", "retrieval.passage", "--late-chunking"];
    let expected = vectors(&sandbox, "starter", &late, &first);
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
    assert!(success(&step(&sandbox, "run", &more)).contains("wrote 1 document with 20 chunks"));
    client.batch_execute("DELETE FROM app.\"Docs\" WHERE id = 4").expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 9);
    assert!(success(&step(&sandbox, "run", &more)).contains("wrote 1 document with 9 chunks"));
    // A row that moves to another document invalidates both, and a new position invalidates all of
    // its own.
    client.batch_execute("UPDATE app.\"Docs\" SET book = 'second' WHERE id = 1").expect("a change");
    assert_eq!(count(&mut client, "new IS NULL"), 9);
    assert!(success(&step(&sandbox, "run", &more)).contains("wrote 2 documents with 29 chunks"));
    client.batch_execute("UPDATE app.\"Docs\" SET rank = 9 WHERE id = 7").expect("a change");
    assert!(success(&step(&sandbox, "run", &more)).contains("wrote 1 document with 8 chunks"));
    let verified = step(&sandbox, "verify", &more);
    passed(&verified);
    assert!(verified.text().contains("29 of 29 chunks of 2 documents"), "{}", verified.text());
}

#[test]
fn kills_and_a_server_that_stops_lose_nothing_in_a_table() {
    const ROUNDS: u64 = 5;
    let Some(mut server) = crate::server("postgres") else { return };
    let (sandbox, store) = (Sandbox::new(), server.address());
    let mut client = table(&server, &sandbox);
    let more = "INSERT INTO app.\"Docs\" (body, book) SELECT 'Text number ' || n || ' of many, which is a \
                little longer than the others.', 'third' FROM generate_series(1, 2000) AS n";
    client.batch_execute(more).expect("rows");
    // A tiny model, so that most of a run is reading and writing, where a kill could hurt.
    let model = tiny_v3().display().to_string();
    passed(&plan_to(&model, &sandbox, &store, &["--text", "body"]));
    let run = ["migrate", "run", "new.plan.toml", "--threads", "1", "--store", &store];
    let start =
        || sandbox.command(crate::PROGRAM, run).stderr(Stdio::null()).spawn().expect("a run");
    let started = Instant::now();
    assert!(start().wait().expect("an end").success());
    let duration = started.elapsed().as_millis() as u64;
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
        std::thread::sleep(Duration::from_millis(round * 7 % ROUNDS * duration / ROUNDS));
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
    passed(&step(&sandbox, "run", &["--store", &store]));
    passed(&step(&sandbox, "run", &["--store", &store]));
    assert!(vectors(&server) == undisturbed, "a row is missing or has changed");
    passed(&step(&sandbox, "verify", &["--store", &store]));
}

/// A connection to a server that may still be recovering.
pub(crate) fn connected(server: &Server) -> Client {
    let started = Instant::now();
    loop {
        match Client::connect(&server.address(), NoTls) {
            Ok(client) => return client,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_table_becomes_a_collection_of_a_file() {
    let Some(server) = crate::server("postgres") else { return };
    let (sandbox, source) = (Sandbox::new(), server.address());
    drop(table(&server, &sandbox));
    let model = v2();
    let plan = [
        "migrate", "plan", "--source", &source, "--table", "app.Docs", "--text", "body", "--to",
        "new",
    ];
    let more = ["--store", "new.db", "--model", "starter", "--candidate", &model];
    let planned = sandbox.run(plan.iter().chain(&more));
    passed(&planned);
    assert!(!planned.text().contains("kokeshi-test"), "a password is shown: {}", planned.text());
    let refused = step(&sandbox, "run", &[]);
    assert!(refused.failure(4).contains("KOKESHI_SOURCE"), "{}", refused.stderr);
    for one in ["run", "verify", "switch", "clean"] {
        passed(&step(&sandbox, one, &["--source", &source]));
    }
    let store = kokeshi_remote::open(&Address::File(sandbox.path("new.db"))).expect("a store");
    assert_eq!(store.count("new").expect("a count").chunks, 30);
}
