//! A real milvus-lite server.

use crate::fixtures::{Case, document, provenance, vector};
use crate::servers::{self, Shared, address};
use kokeshi_remote::open;
use kokeshi_store::{Address, Document, Error, Filter, Query, Storage};
use serde_json::json;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

static SERVER: Shared = Shared::new("milvus");
/// Maximum length of a text in Milvus, in bytes.
const MAX_TEXT: usize = 65_535;

fn with(case: impl FnOnce(&Address)) {
    SERVER.with(|server| case(&address(server)));
}

conforms!(with);

#[test]
fn a_restarting_server_loses_and_duplicates_nothing() {
    SERVER.with(|server| {
        let case = Case { address: &address(server), name: "restarts" };
        servers::a_restarting_server_loses_and_duplicates_nothing(&case, server);
    });
}

/// After the server has restarted, a table must be loaded again.
#[test]
fn an_open_store_outlives_its_server() {
    SERVER.with(|server| {
        let mut store = open(&address(server)).expect("a store");
        store.create("outlives", &provenance(Storage::F32)).expect("a collection");
        store.upsert("outlives", &[document("a", 0..9)]).expect("written");
        for _ in 0..2 {
            server.crash();
            let (near, filter) = (vector(7), Filter::default());
            let query =
                Query { vector: &near, words: None, limit: 3, filter: &filter, exact: false };
            let hits = store.search("outlives", &query).expect("hits");
            assert_eq!((hits.len(), hits[0].ordinal), (3, 7));
            server.restart();
            assert_eq!(store.remove("outlives", &["b".to_owned()]).expect("removed"), 0);
            assert_eq!(store.count("outlives").expect("counts").chunks, 9);
        }
    });
}

/// An answer contains at most 4 MiB; these texts are ten times that.
#[test]
fn texts_longer_than_an_answer_are_read_in_parts() {
    with(|address| {
        let mut store = open(address).expect("a store");
        store.create("long", &provenance(Storage::F32)).expect("a collection");
        let mut written = document("line\nbreak\t{x}", 0..700);
        for chunk in &mut written.chunks {
            chunk.text = "x".repeat(MAX_TEXT - 5) + &chunk.text[..5];
        }
        store.upsert("long", std::slice::from_ref(&written)).expect("written");
        let read = store.documents("long", std::slice::from_ref(&written.path)).expect("read");
        let texts = |document: &Document| -> Vec<String> {
            document.chunks.iter().map(|chunk| chunk.text.clone()).collect()
        };
        assert!(texts(&read[0]) == texts(&written));
        let (near, filter) = (vector(1), Filter::default());
        let query = Query { vector: &near, words: None, limit: 600, filter: &filter, exact: false };
        let hits = store.search("long", &query).expect("hits");
        assert_eq!((hits.len(), hits[0].ordinal, hits[0].text.len()), (600, 1, MAX_TEXT));
        store.drop_collection("long").expect("removed");
    });
}

#[test]
fn a_document_over_a_limit_of_milvus_is_named() {
    with(|address| {
        let mut store = open(address).expect("a store");
        store.create("limits", &provenance(Storage::F32)).expect("a collection");
        let mut long = document("long.md", 0..2);
        long.chunks[1].text = "ä".repeat(MAX_TEXT / 2 + 1);
        let mut tagged = document("tagged.md", 0..1);
        let tags: Vec<usize> = (0..5000).collect();
        tagged.metadata.insert("tags".to_owned(), json!(tags));
        for (document, amount) in [(long, "65536 bytes"), (tagged, "5000 entries")] {
            let path = document.path.clone();
            let error = store.upsert("limits", &[document]).expect_err("over a limit");
            assert!(matches!(error, Error::OverLimit { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(amount) && message.contains(&path), "{message}");
        }
        store.upsert("limits", &[document("next.md", 0..2)]).expect("written");
    });
}

#[test]
fn a_path_names_a_database() {
    SERVER.with(|server| {
        let address =
            |database: &str| Address::from(format!("{}{database}", server.address()).as_str());
        let mut store = open(&address("/default")).expect("a store");
        store.create("based", &provenance(Storage::F32)).expect("a collection");
        assert!(
            open(&address("")).expect("a store").collection("based").expect("an answer").is_some()
        );
        let error = open(&address("/nowhere")).and_then(|store| store.collections());
        let error = error.expect_err("no database");
        assert!(matches!(&error, Error::Server { .. }), "{error}");
        assert!(error.to_string().contains("nowhere"), "{error}");
    });
}

/// A server that accepts connections and does not answer.
#[test]
fn a_silent_server_is_an_error_after_a_time_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("a port").port();
    thread::spawn(move || {
        let connections: Vec<_> = silent.incoming().collect();
        drop(connections);
    });
    let start = Instant::now();
    let address = Address::from(format!("milvus://me:sesame@127.0.0.1:{port}").as_str());
    let error = open(&address).err().expect("no store");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}
