//! A real PostgreSQL with pgvector.

use crate::fixtures::{Case, WIDTH, document, provenance, vector};
use crate::servers::{self, Shared, address};
use kokeshi_remote::open;
use kokeshi_store::{Address, Error, Filter, Provenance, Query, Storage};
use kokeshi_testkit::servers::Server;
use postgres::{Client, NoTls};
use std::collections::HashSet;

static SERVER: Shared = Shared::new("postgres");

fn with(case: impl FnOnce(&Address)) {
    SERVER.with(|server| case(&address(server)));
}

conforms!(with);

#[test]
fn a_restarting_server_loses_and_duplicates_nothing() {
    SERVER.with(|server| {
        let address = address(server);
        let case = Case { address: &address, name: "restarts" };
        servers::a_restarting_server_loses_and_duplicates_nothing(&case, server);
    });
}

#[test]
fn a_wrong_password_and_an_absent_server_are_distinct_and_no_password_is_displayed() {
    SERVER.with(|server| {
        let wrong = server.address_with("sesame");
        let error = open(&Address::from(wrong.as_str())).err().expect("refused");
        assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
        let absent = wrong.replace(&format!(":{}", server.port()), ":1");
        let other = open(&Address::from(absent.as_str())).err().expect("unreachable");
        assert!(matches!(other, Error::Unreachable { .. }), "{other}");
        for error in [error, other] {
            assert!(!error.to_string().contains("sesame"), "{error}");
            assert!(error.to_string().contains("postgres://kokeshi:***@127.0.0.1:"), "{error}");
        }
    });
}

#[test]
fn one_writer_at_a_time_holds_the_lock() {
    with(|address| {
        let (one, other) = (open(address).expect("a store"), open(address).expect("a store"));
        let lock = one.lock().expect("a lock");
        assert!(matches!(other.lock(), Err(Error::Busy { .. })));
        drop(lock);
        // The server notices the end of a connection a little later.
        let free = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            other.lock().is_ok()
        });
        assert!(free, "the lock was not released");
    });
}

#[test]
fn a_lock_whose_connection_is_ended_is_taken_again_before_a_write() {
    SERVER.with(|server| {
        let address = address(server);
        let (mut one, mut other) =
            (open(&address).expect("a store"), open(&address).expect("a store"));
        let end =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'";
        let lock = one.lock().expect("a lock");
        client(server).batch_execute(end).expect("an end");
        one.create("kept", &provenance(Storage::F32)).expect("a collection");
        assert!(matches!(other.lock(), Err(Error::Busy { .. })), "it was not taken again");
        client(server).batch_execute(end).expect("an end");
        let taken = other.lock().expect("the lock");
        let refused = one.drop_collection("kept").expect_err("no lock");
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        other.drop_collection("kept").expect("removed");
        drop((lock, taken));
    });
}

#[test]
fn no_lock_is_left_to_the_next_client_of_a_connection() {
    SERVER.with(|server| {
        let store = open(&address(server)).expect("a store");
        let lock = store.lock().expect("a lock");
        // A lock of a session would outlive its transaction, and a pooler gives the session away.
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                   WHERE locktype = 'advisory' AND state = 'idle in transaction'";
        let held: i64 = client(server).query_one(sql, &[]).expect("a count").get(0);
        assert_eq!(held, 1);
        drop(lock);
    });
}

/// A client of the server, independent of the store.
fn client(server: &Server) -> Client {
    Client::connect(&server.address(), NoTls).expect("a connection")
}

#[test]
fn many_chunks_get_an_index_that_finds_nearly_what_a_scan_finds() {
    const COUNT: u64 = 11_000;
    SERVER.with(|server| {
        let mut store = open(&address(server)).expect("a store");
        for (name, codes) in [("indexed", None), ("indexed by bits", Some("bits"))] {
            let codes = codes.map(|codes| codes.parse().expect("codes"));
            let provenance = Provenance { codes, ..provenance(Storage::F16) };
            store.create(name, &provenance).expect("a collection");
            let documents: Vec<_> = (0..COUNT / 100)
                .map(|at| document(&at.to_string(), 100 * at..100 * at + 100))
                .collect();
            store.upsert(name, &documents).expect("written");
            store.finish(name).expect("an index");
            let found = |seed: u64, exact: bool| -> HashSet<String> {
                let filter = Filter::default();
                let near = vector(seed);
                let query = Query { vector: &near, words: None, limit: 10, filter: &filter, exact };
                let hits = store.search(name, &query).expect("hits");
                hits.into_iter().map(|hit| hit.text).collect()
            };
            let seeds = COUNT..COUNT + 20;
            let common =
                seeds.map(|seed| found(seed, false).intersection(&found(seed, true)).count());
            let recall = common.sum::<usize>() as f64 / 200.0;
            eprintln!("{name}: recall@10 of {COUNT} random vectors of width {WIDTH}: {recall}");
            // Random directions are the hardest case: no neighbour is much nearer than the others.
            assert!(recall > 0.8, "{name}: {recall}");
            let sql = "SELECT count(*) FROM pg_indexes JOIN kokeshi.collections \
                       ON indexname = 'nearest_' || id WHERE name = $1";
            let indexes: i64 = client(server).query_one(sql, &[&name]).expect("a count").get(0);
            assert_eq!(indexes, 1);
            store.drop_collection(name).expect("removed");
        }
    });
}

#[test]
fn a_database_without_pgvector_is_a_distinct_error() {
    SERVER.with(|server| {
        let sql = "CREATE ROLE visitor LOGIN PASSWORD 'visitor-test'; \
                   ALTER ROLE visitor SET search_path = public";
        let mut admin = client(server);
        admin.batch_execute(sql).expect("a user");
        admin.batch_execute("CREATE DATABASE bare").expect("a database");
        let port = server.port();
        let address = format!("postgres://visitor:visitor-test@127.0.0.1:{port}/bare");
        let error = open(&Address::from(address.as_str())).err().expect("no pgvector");
        assert!(matches!(error, Error::NoVectorSupport { .. }), "{error}");
    });
}

#[test]
fn a_character_that_postgres_lacks_is_replaced() {
    SERVER.with(|server| {
        let mut store = open(&address(server)).expect("a store");
        store.create("zero", &provenance(Storage::F32)).expect("a collection");
        let mut document = document("a\0b", 0..1);
        document.chunks[0].text = "one\0two".to_owned();
        document.metadata.insert("k\0".to_owned(), "v\0".into());
        store.upsert("zero", &[document.clone()]).expect("written");
        store.upsert("zero", &[document]).expect("written");
        let case = Case { address: &address(server), name: "zero" };
        assert_eq!(case.texts(&*store), ["one\u{fffd}two"]);
        assert_eq!(store.list("zero").expect("entries")[0].path, "a\u{fffd}b");
    });
}
