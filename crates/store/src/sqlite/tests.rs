//! A real file in a temporary folder.

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;

use super::*;
use crate::filter::Filter;
use crate::record::{Chunk, ChunkLocation};
use crate::storage::{Codes, Storage};
use serde_json::json;
use tempfile::TempDir;

const WIDTH: usize = 96;

fn provenance(storage: Storage, codes: Option<Codes>) -> Provenance {
    Provenance { codes, ..fixtures::provenance(WIDTH, storage) }
}

/// A store with the collection `notes`.
fn store(storage: Storage, codes: Option<Codes>) -> (TempDir, Sqlite) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Sqlite::create(&folder.path().join("index.db")).expect("a store");
    store.create("notes", &provenance(storage, codes)).expect("a collection");
    (folder, store)
}

/// A unit vector that depends on `seed` alone.
fn vector(seed: u64) -> Vec<f32> {
    fixtures::unit(&fixtures::noise(seed, WIDTH))
}

fn document(path: &str, seeds: impl IntoIterator<Item = u64>) -> Document {
    fixtures::document(path, seeds, vector)
}

fn search(store: &Sqlite, vector: &[f32], limit: usize) -> Vec<Hit> {
    let filter = Filter::default();
    let query = Query { vector, words: None, limit, filter: &filter, exact: false };
    store.search("notes", &query).expect("hits")
}

fn texts(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.text.as_str()).collect()
}

#[test]
fn every_storage_finds_the_order_of_the_exact_cosines() {
    let count = 700;
    for (storage, codes, tolerance) in [
        (Storage::F32, None, 1e-6),
        (Storage::F16, None, 1e-3),
        (Storage::Int8, None, 0.02),
        (Storage::F16, Some("bits"), 1e-3),
        (Storage::F32, Some("int8:64"), 1e-6),
    ] {
        let codes = codes.map(|codes| codes.parse().expect("codes"));
        let (_folder, mut store) = store(storage, codes);
        store.upsert("notes", &[document("a", 0..count)]).expect("written");
        for seed in [3, 77, 699] {
            let query = vector(seed);
            let dot =
                |other: u64| vector(other).iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
            let hits = search(&store, &query, 5);
            assert_eq!(hits[0].text, format!("chunk {seed} of a"), "{storage}, {codes:?}");
            assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
            for hit in hits {
                let exact = dot(hit.ordinal as u64);
                assert!((hit.score - exact).abs() <= tolerance, "{storage}: {} {exact}", hit.score);
            }
        }
    }
}

#[test]
fn the_first_search_reads_the_file_and_finds_what_later_ones_find_in_memory() {
    // Rows of several blocks; the last one is not full and some rows are free.
    for (storage, codes) in [
        (Storage::F32, None),
        (Storage::F16, Some("int8:64")),
        (Storage::Int8, Some("bits")),
        (Storage::Bits, None),
    ] {
        let codes = codes.map(|codes| codes.parse().expect("codes"));
        let (_folder, mut store) = store(storage, codes);
        store
            .upsert("notes", &[document("a", 0..1500), document("b", 1500..1700)])
            .expect("written");
        store.upsert("notes", &[document("a", 5..1400)]).expect("written");
        let filter = Filter::new(&["a".to_owned()], Vec::new()).expect("a filter");
        for (filter, seed) in [(&Filter::default(), 1600), (&filter, 7)] {
            let near = vector(seed);
            let query = Query { vector: &near, words: None, limit: 40, filter, exact: false };
            let found = |store: &Sqlite| -> Vec<(String, f32)> {
                let hits = store.search("notes", &query).expect("hits");
                hits.into_iter().map(|hit| (hit.text, hit.score)).collect()
            };
            let fresh = Sqlite::open(store.path()).expect("a store");
            let first = found(&fresh);
            assert_eq!(
                (first.len(), first[0].0.starts_with(&format!("chunk {seed} "))),
                (40, true)
            );
            assert_eq!((&found(&fresh), &found(&fresh)), (&first, &first), "{storage}");
        }
    }
}

#[test]
fn bits_find_the_nearest_and_estimate_its_cosine() {
    let (_folder, mut store) = store(Storage::Bits, None);
    store.upsert("notes", &[document("a", 0..200)]).expect("written");
    let hits = search(&store, &vector(42), 3);
    assert_eq!((hits[0].ordinal, hits[0].score), (42, 1.0));
    assert!(hits[1].score < 0.7);
}

#[test]
fn a_document_replaces_the_earlier_one_and_its_slots_are_reused() {
    let (_folder, mut store) = store(Storage::F16, Some("bits".parse().expect("codes")));
    store.upsert("notes", &[document("a", 0..10), document("b", 10..20)]).expect("written");
    store.upsert("notes", &[document("a", 20..23)]).expect("written");
    assert_eq!(store.count("notes").expect("counts"), Counts { documents: 2, chunks: 13 });
    assert!(texts(&search(&store, &vector(3), 20)).iter().all(|text| *text != "chunk 3 of a"));
    assert_eq!(search(&store, &vector(21), 1)[0].text, "chunk 21 of a");
    store.upsert("notes", &[document("c", 30..37)]).expect("written");
    let slots = "SELECT max(slot) FROM chunks";
    let last: usize = store.connection.query_row(slots, [], |row| row.get(0)).expect("a slot");
    assert_eq!(last, 19);
    assert_eq!(store.remove("notes", &["a".to_owned(), "x".to_owned()]).expect("removed"), 1);
    assert_eq!(search(&store, &vector(21), 50).len(), 17);
    let entries = store.list("notes").expect("entries");
    let names: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.chunks)).collect();
    assert_eq!(names, [("b", 10), ("c", 7)]);
    assert!(store.check().expect("a check").is_empty());
}

#[test]
fn filters_apply_before_the_limit() {
    let (_folder, mut store) = store(Storage::F32, None);
    let mut german = document("de/a.md", 0..50);
    german.metadata = json!({"lang": "de"}).as_object().expect("an object").clone();
    german.chunks[7].metadata = json!({"lang": "en"}).as_object().expect("an object").clone();
    store.upsert("notes", &[german, document("en/b.md", 50..100)]).expect("written");
    let found = |paths: &[&str], conditions: &[&str], words: Option<&str>| {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let conditions = conditions.iter().map(|text| text.parse().expect("a condition")).collect();
        let filter = Filter::new(&paths, conditions).expect("a filter");
        let near = vector(60);
        let query = Query { vector: &near, words, limit: 100, filter: &filter, exact: false };
        store.search("notes", &query).expect("hits").len()
    };
    assert_eq!(found(&["de"], &[], None), 50);
    assert_eq!(found(&["*.md", "!de"], &[], None), 50);
    assert_eq!(found(&[], &["lang=de"], None), 49);
    assert_eq!(found(&[], &["lang!=de"], Some("chunk")), 51);
    assert_eq!(found(&["nothing"], &[], Some("chunk")), 0);
}

#[test]
fn a_hybrid_search_fuses_meaning_and_words_of_any_script() {
    let (_folder, mut store) = store(Storage::F32, None);
    let mut document = document("a", 0..120);
    document.chunks[119].text = "Der Leuchtturmwärter trägt 灯台守 im Namen".to_owned();
    // It ranks last by its vector.
    document.chunks[119].vector = vector(5).iter().map(|x| -x).collect();
    store.upsert("notes", &[document]).expect("written");
    let filter = Filter::default();
    let near = vector(5);
    for words in ["LEUCHTTURMWARTER", "灯台"] {
        let query =
            Query { vector: &near, words: Some(words), limit: 2, filter: &filter, exact: false };
        let hits = store.search("notes", &query).expect("hits");
        let [first, second] = &hits[..] else { panic!("two hits") };
        assert_eq!((first.ordinal, first.words), (5, None), "{words}");
        assert_eq!(first.dense.map(|part| part.rank), Some(1));
        assert_eq!((second.ordinal, second.words.map(|part| part.rank)), (119, Some(1)));
    }
    let query = Query { vector: &near, words: Some("?!"), limit: 2, filter: &filter, exact: false };
    assert_eq!(store.search("notes", &query).expect("hits").len(), 2);
}

#[test]
fn writes_of_another_process_are_visible_at_once_and_never_partial() {
    let (folder, mut writer) = store(Storage::F16, None);
    let reader = Sqlite::open(&folder.path().join("index.db")).expect("a store");
    assert!(search(&reader, &vector(1), 5).is_empty());
    writer.upsert("notes", &[document("a", 0..3)]).expect("written");
    // From the file, then from memory.
    for _ in 0..3 {
        assert_eq!(search(&reader, &vector(1), 5).len(), 3);
    }
    writer.upsert("notes", &[document("a", 4..5)]).expect("written");
    assert_eq!(texts(&search(&reader, &vector(1), 5)), ["chunk 4 of a"]);
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let (_folder, mut store) = store(Storage::F16, None);
    store.upsert("notes", &[document("a", 0..5)]).expect("written");
    let mut short = document("b", 5..7);
    short.chunks[1].vector.pop();
    let error = store.upsert("notes", &[document("a", 8..9), short]).expect_err("too short");
    assert!(
        matches!(error, Error::WidthMismatch { found, wanted } if found + 1 == wanted),
        "{error}"
    );
    assert_eq!(store.count("notes").expect("counts"), Counts { documents: 1, chunks: 5 });
    let narrow = [0.0; 3];
    let filter = Filter::default();
    let query = Query { vector: &narrow, words: None, limit: 1, filter: &filter, exact: false };
    assert!(matches!(store.search("notes", &query), Err(Error::WidthMismatch { found: 3, .. })));
}

#[test]
fn a_full_disk_loses_only_the_current_batch() {
    let (_folder, mut store) = store(Storage::F32, None);
    store.upsert("notes", &[document("a", 0..50)]).expect("written");
    // Beyond this limit, SQLite reports a full disk.
    let limit = "SELECT page_count + 8 FROM pragma_page_count";
    let pages: i64 = store.connection.query_row(limit, [], |row| row.get(0)).expect("a count");
    let set = format!("PRAGMA max_page_count = {pages}");
    store.connection.query_row(&set, [], |_| Ok(())).expect("a limit");
    let error = store.upsert("notes", &[document("b", 0..5000)]).expect_err("no space");
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert_eq!(store.count("notes").expect("counts"), Counts { documents: 1, chunks: 50 });
    store.upsert("notes", &[document("c", 0..1)]).expect("a small batch still fits");
    assert!(store.check().expect("a check").is_empty());
}

#[test]
fn collections_have_aliases_and_are_removed_completely() {
    let (_folder, mut store) = store(Storage::F16, Some("bits".parse().expect("codes")));
    store.create("other", &provenance(Storage::F32, None)).expect("a collection");
    store.upsert("notes", &[document("a", 0..40)]).expect("written");
    store.upsert("other", &[document("a", 0..2)]).expect("written");
    store.set_alias("current", "notes").expect("an alias");
    assert_eq!(store.count("current").expect("counts").chunks, 40);
    store.set_alias("current", "other").expect("the alias moves");
    assert_eq!(store.count("current").expect("counts").chunks, 2);
    for (name, kind) in [("notes", "collection"), ("current", "alias")] {
        let error = store.create(name, &provenance(Storage::F32, None)).expect_err("taken");
        assert!(matches!(error, Error::NameTaken { kind: found, .. } if found == kind), "{error}");
    }
    assert!(store.set_alias("notes", "other").is_err());
    store.drop_collection("notes").expect("removed");
    let error = store.count("notes").expect_err("gone").to_string();
    assert!(error.contains("`notes`") && error.contains("`other`"), "{error}");
    let left = "SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM vectors) \
                + (SELECT count(*) FROM codes) + (SELECT count(*) FROM live)";
    let left: i64 = store.connection.query_row(left, [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 2 + 1 + 1);
    assert_eq!(store.collections().expect("collections").len(), 1);
}

#[test]
fn a_dropped_collection_is_not_mistaken_for_a_new_one() {
    let (folder, mut writer) = store(Storage::F16, None);
    let reader = Sqlite::open(&folder.path().join("index.db")).expect("a store");
    for round in 0..3 {
        let mut seeds: Vec<u64> = (100 * round + 10..100 * round + 30).collect();
        seeds.insert(7 * round as usize, round);
        writer.upsert("notes", &[document("a", seeds)]).expect("written");
        for store in [&writer, &reader] {
            for _ in 0..3 {
                let hit = search(store, &vector(round), 1).remove(0);
                assert_eq!(hit.text, format!("chunk {round} of a"));
            }
        }
        writer.drop_collection("notes").expect("removed");
        writer.create("notes", &provenance(Storage::F16, None)).expect("a collection");
    }
}

#[test]
fn files_of_other_programs_and_newer_versions_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    assert!(matches!(Sqlite::open(&path("absent")), Err(Error::Missing { .. })));
    std::fs::write(path("text"), "this is not a database, but a text of some length")
        .expect("a file");
    assert!(matches!(Sqlite::open(&path("text")), Err(Error::NotAStore { .. })));
    let other = Connection::open(path("other")).expect("a database");
    other.execute_batch("CREATE TABLE t (x)").expect("a table");
    assert!(matches!(Sqlite::open(&path("other")), Err(Error::NotAStore { .. })));
    drop(Sqlite::create(&path("newer")).expect("a store"));
    let newer = Connection::open(path("newer")).expect("a database");
    newer
        .execute_batch("PRAGMA user_version = 99; UPDATE meta SET value = '9.9.9'")
        .expect("an update");
    let error = Sqlite::open(&path("newer")).expect_err("newer").to_string();
    assert!(error.contains("schema 99") && error.contains("9.9.9"), "{error}");
}

#[test]
fn one_process_at_a_time_holds_the_lock() {
    let (folder, store) = store(Storage::F16, None);
    let other = Sqlite::open(&folder.path().join("index.db")).expect("a store");
    let lock = store.lock().expect("a lock");
    assert!(matches!(other.lock(), Err(Error::Busy { .. })));
    drop(lock);
    other.lock().expect("the lock is free again");
}

/// Hits by words alone that contain `word`.
fn by_word(store: &Sqlite, word: &str) -> Vec<String> {
    let filter = Filter::default();
    let vector = vector(9);
    let query =
        Query { vector: &vector, words: Some(word), limit: 10, filter: &filter, exact: false };
    let hits = store.search("notes", &query).expect("hits");
    hits.into_iter().filter(|hit| hit.words.is_some()).map(|hit| hit.text).collect()
}

#[test]
fn words_are_found_however_they_are_composed_also_in_stores_of_earlier_versions() {
    let (folder, mut store) = store(Storage::F16, None);
    let texts = [
        "ein Re\u{301}sume\u{301} aus Vie\u{323}\u{302}t Nam",
        "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8} 2024",
        "im Jahr ２０２３ an der STRASSE",
    ];
    let mut written = document("a", 0..3);
    for (chunk, text) in written.chunks.iter_mut().zip(texts) {
        text.clone_into(&mut chunk.text);
    }
    store.upsert("notes", &[written]).expect("written");
    let found = |store: &Sqlite| {
        for (word, text) in [
            ("résumé", texts[0]),
            ("RE\u{301}SUME\u{301}", texts[0]),
            ("Việt", texts[0]),
            ("한국", texts[1]),
            ("2023", texts[2]),
            ("Straße", texts[2]),
        ] {
            assert_eq!(by_word(store, word), [text], "{word}");
        }
    };
    found(&store);
    // What earlier versions wrote: the texts as they are.
    let connection = &store.connection;
    let sql = "INSERT INTO words (words) VALUES ('delete-all');
               INSERT INTO words (rowid, text) SELECT id, text FROM chunks;
               PRAGMA user_version = 2";
    connection.execute_batch(sql).expect("an earlier version");
    assert!(by_word(&store, "한국").is_empty());
    drop(store);
    let store = Sqlite::open(&folder.path().join("index.db")).expect("a store");
    found(&store);
    assert_eq!(store.check().expect("checked"), [""; 0]);
}
