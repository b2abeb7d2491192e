//! `kokeshi migrate switch`: readers never see half of a collection.

use crate::index::{notes, success};
use crate::migrate::{V2, open, plan, planned, step, v2};
use kokeshi_store::{Filter, Query};
use kokeshi_testkit::SetOnDrop;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Readers use an alias from the start, which every store can switch.
fn an_alias_switches(store: &str) {
    let sandbox = notes();
    success(&sandbox.run(["index", "notes", "--model", &v2(V2[0]), "--store", store]));
    open(store, &sandbox).set_alias("live", "default").expect("an alias");
    assert_eq!(plan(&sandbox, store, &["--from", "live"]).status, Some(0));
    assert_eq!(step(&sandbox, store, "run").status, Some(0));
    assert_eq!(step(&sandbox, store, "verify").status, Some(0));
    let mixed = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    let widths: BTreeMap<usize, Vec<f32>> = [48, 384].map(|n| (n, vec![0.1; n])).into();
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        let reader = scope.spawn(|| {
            let (store, mut searches) = (open(store, &sandbox), [0; 2]);
            while !done.load(Ordering::Relaxed) {
                // A reader looks up which model it needs, and then searches with it.
                let found = store.collection("live").expect("no error").expect("always there");
                let vector = &widths[&found.provenance.dimensions];
                let filter = Filter::default();
                let query = Query { vector, words: None, limit: 9, filter: &filter, exact: true };
                let hits = store.search(&found.name, &query).expect("no error");
                mixed.fetch_or(hits.len() != 2, Ordering::Relaxed);
                searches[usize::from(found.name == "new")] += 1;
            }
            searches
        });
        for round in ["switch", "rollback", "run", "verify", "switch"] {
            let run = step(&sandbox, store, round);
            assert_eq!(run.status, Some(0), "{round}: {}", run.stderr);
        }
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        let searches = reader.join().expect("a reader without an error");
        assert!(searches.iter().all(|&count| count > 0), "{searches:?}");
    });
    assert!(!mixed.load(Ordering::Relaxed), "a search found half of a collection");
}

/// Readers use the collection's own name, which is renamed while they read.
fn a_name_switches(store: &str) {
    let sandbox = planned(store);
    assert_eq!(step(&sandbox, store, "run").status, Some(0));
    assert_eq!(step(&sandbox, store, "verify").status, Some(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        let reader = scope.spawn(|| {
            let mut searches = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let found = sandbox.run(["search", "lamp", "--store", store, "--json"]).json();
                assert_eq!(found["hits"].as_array().map(Vec::len), Some(2), "{found}");
                searches[usize::from(found["model"] == "starter")] += 1;
            }
            searches
        });
        for round in ["switch", "rollback", "run", "verify", "switch", "rollback"] {
            let run = step(&sandbox, store, round);
            assert_eq!(run.status, Some(0), "{round}: {}", run.stderr);
            std::thread::sleep(Duration::from_millis(100));
        }
        done.store(true, Ordering::Relaxed);
        let searches = reader.join().expect("a reader without an error");
        assert!(searches.iter().all(|&count| count > 0), "{searches:?}");
    });
}

#[test]
fn readers_of_a_name_notice_no_switch_in_a_file() {
    a_name_switches("index.db");
}

#[test]
fn readers_of_a_name_notice_no_switch_in_postgres() {
    if let Some(server) = crate::server("postgres") {
        a_name_switches(&server.address());
    }
}

#[test]
fn readers_of_an_alias_notice_no_switch_in_a_file() {
    an_alias_switches("index.db");
}

#[test]
fn readers_of_an_alias_notice_no_switch_in_postgres() {
    if let Some(server) = crate::server("postgres") {
        an_alias_switches(&server.address());
    }
}

#[test]
fn readers_of_an_alias_notice_no_switch_in_chroma() {
    if let Some(server) = crate::server("chroma") {
        an_alias_switches(&server.address());
    }
}

#[test]
fn readers_of_an_alias_notice_no_switch_in_milvus() {
    if let Some(server) = crate::server("milvus") {
        an_alias_switches(&server.address());
    }
}
