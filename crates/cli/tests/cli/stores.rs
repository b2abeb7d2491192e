//! The commands of collections with real servers: see `kokeshi_testkit::servers`.

use crate::Sandbox;
use crate::index::{content, essay, notes, start, success};
use kokeshi_store::{Address, Store};
use kokeshi_testkit::Random;
use kokeshi_testkit::servers::Server;
use std::fs;
use std::time::{Duration, Instant};

/// Opens the store; a server that was killed may need a while to recover.
fn opened(server: &Server) -> Box<dyn Store> {
    let (address, started) = (Address::from(server.address().as_str()), Instant::now());
    loop {
        match kokeshi_remote::open(&address) {
            Ok(store) => return store,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "a store: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn a_folder_becomes_searchable(kind: &'static str) {
    let Some(server) = crate::server(kind) else { return };
    let (sandbox, store) = (notes(), server.address());
    let run = |arguments: &[&str]| sandbox.run(arguments.iter().chain(&["--store", &store]));
    let first = run(&["index", "notes"]);
    assert!(success(&first).contains("indexed 2 documents (2 chunks, "), "{}", first.stderr);
    let again = run(&["index"]);
    assert!(success(&again).contains("indexed 0 documents"), "{}", again.stderr);
    assert!(success(&again).contains("2 unchanged"), "{}", again.stderr);
    let found = run(&["search", "how long does shipping take?", "--json", "-n", "1"]).json();
    let path = found["hits"][0]["path"].as_str().expect("a path").to_owned();
    assert!(path.ends_with("notes/ship.txt"), "{path}");
    let within = run(&["search", "how long does shipping take?", "notes/lamp.md", "-l"]);
    assert_eq!(within.text().lines().count(), 1, "{}", within.text());
    assert!(within.text().contains("lamp.md"), "{}", within.text());
    let status = run(&["status", "--json"]).json();
    let collection = &status["collections"][0];
    assert_eq!((&collection["documents"], &collection["files_to_look_at"]), (&2.into(), &0.into()));
    assert_eq!(collection["model"], "starter");
    let mixed = run(&["index", "notes", "--dimensions", "128"]);
    assert!(mixed.failure(4).contains("its dimensions is 384, not 128"), "{}", mixed.stderr);
    let hybrid = run(&["search", "shipping", "--hybrid"]);
    assert!(hybrid.failure(4).contains("cannot search by words"), "{}", hybrid.stderr);
    let bits = run(&["index", "notes", "--storage", "bits", "--collection", "b"]);
    assert!(bits.failure(4).contains("has no vectors stored as `bits`"), "{}", bits.stderr);
    assert!(success(&run(&["forget", "notes/ship.txt"])).contains("removed 1 document"));
    assert_eq!(run(&["search", "shipping", "-l"]).text().lines().count(), 1);
    assert!(success(&run(&["forget", "--all", "--yes"])).contains("removed collection `default`"));
    let shown = [first, again, mixed, hybrid, bits, run(&["status"]), run(&["search", "x"])];
    for run in shown {
        let output = run.stderr.clone() + run.text();
        assert!(!output.contains("kokeshi-test"), "a password is shown: {output}");
    }
}

#[test]
fn a_folder_becomes_searchable_in_postgres() {
    a_folder_becomes_searchable("postgres");
}

#[test]
fn a_folder_becomes_searchable_in_chroma() {
    a_folder_becomes_searchable("chroma");
}

#[test]
fn a_folder_becomes_searchable_in_milvus() {
    a_folder_becomes_searchable("milvus");
}

#[test]
fn a_folder_becomes_searchable_in_qdrant() {
    a_folder_becomes_searchable("qdrant");
}

/// Kills `kokeshi index` at random moments, and sometimes the server: after one more run, the
/// collection equals one that was indexed undisturbed.
fn kills_lose_and_duplicate_nothing(kind: &'static str, rounds: u64) {
    const FILES: u64 = 40;
    let Some(mut server) = crate::server(kind) else { return };
    let address = server.address();
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("d")).expect("a folder");
    let write = |file: u64, seed: u64| sandbox.write(&format!("d/{file}.md"), essay(seed));
    (0..FILES).for_each(|file| write(file, file));
    // A tiny model, so that most of a run is reading and writing, where a kill could hurt.
    let model = crate::tiny_v3().display().to_string();
    let index = ["index", "d", "--threads", "1", "--model", &model, "--store", &address];
    let mut generator = Random::new(1);
    let mut random = |bound: u64| generator.below(bound as usize) as u64;
    let started = Instant::now();
    assert!(start(&sandbox, &index).wait().expect("an end").success());
    let duration = started.elapsed().as_millis() as u64;
    for round in 0..rounds {
        for _ in 0..FILES / 2 {
            write(random(FILES), 1000 + 100 * round + random(100));
        }
        if round % 3 == 0 {
            let _ = fs::remove_file(sandbox.path(&format!("d/{}.md", random(FILES))));
        }
        let mut child = start(&sandbox, &index);
        std::thread::sleep(Duration::from_millis(random(duration)));
        if round % 4 == 3 {
            server.crash();
        }
        child.kill().expect("a kill");
        child.wait().expect("an end");
    }
    // The lock of a killed process ends once the server notices.
    std::thread::sleep(Duration::from_millis(500));
    drop(opened(&server));
    assert!(start(&sandbox, &index).wait().expect("an end").success());
    let fresh = ["index", "d", "--threads", "1", "--model", &model, "--store", "fresh.db"];
    assert!(start(&sandbox, &fresh).wait().expect("an end").success());
    let fresh = kokeshi_store::Sqlite::open(&sandbox.path("fresh.db")).expect("a store");
    assert_eq!(content(&*opened(&server), "default"), content(&fresh, "default"));
}

#[test]
fn kills_lose_and_duplicate_nothing_in_postgres() {
    kills_lose_and_duplicate_nothing("postgres", 8);
}

#[test]
fn kills_lose_and_duplicate_nothing_in_chroma() {
    kills_lose_and_duplicate_nothing("chroma", 8);
}

#[test]
fn kills_lose_and_duplicate_nothing_in_milvus() {
    kills_lose_and_duplicate_nothing("milvus", 8);
}

#[test]
fn a_server_that_does_not_answer_is_reported_at_once() {
    let sandbox = notes();
    for (engine, store) in [
        ("postgres", "postgres://me:sesame@127.0.0.1:1/db"),
        ("chroma", "chroma://:sesame@127.0.0.1:1"),
        ("milvus", "milvus://me:sesame@127.0.0.1:1"),
        ("qdrant", "qdrant://127.0.0.1:1"),
    ] {
        let started = Instant::now();
        let run = sandbox.run(["index", "notes", "--store", store]);
        let error = run.failure(4);
        if crate::ENGINES.contains(&engine) {
            assert!(error.contains(" does not answer: ") && error.contains("hint: "), "{error}");
        } else {
            let missing = format!(
                ": it lacks the feature `{engine}`\nhint: build with `--features {engine}`"
            );
            assert!(
                error.contains("this build cannot open ") && error.contains(&missing),
                "{error}"
            );
        }
        assert!(!error.contains("sesame"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    let run = sandbox.run(["index", "notes", "--store", "mysql://me:sesame@127.0.0.1/db"]);
    let error = run.failure(4);
    assert!(error.contains("`mysql` is not a database that kokeshi supports"), "{error}");
    assert!(!error.contains("sesame"), "{error}");
}

#[cfg(not(feature = "ann"))]
#[test]
fn a_build_without_ann_names_the_feature() {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes"]));
    let run = sandbox.run(["ann", "--store", "notes/.kokeshi/index.db"]);
    let error = run.failure(4);
    assert!(error.contains("cannot build an ANN index: it lacks the feature `ann`"), "{error}");
    assert!(error.contains("--features ann"), "{error}");
}
