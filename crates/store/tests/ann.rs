//! The ANN index finds nearly all, and changes no exact result.

mod fixtures;

use kokeshi_store::{
    AnnBuild, AnnIndex, BuildStep, Chunk, ChunkLocation, Document, Error, Filter, Hit, Provenance,
    Query, Sqlite, Storage, Store, UnusedReason,
};
use rusqlite::Connection;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const WIDTH: usize = 64;
const TOPICS: u64 = 50;
const COUNT: u64 = 3000;

/// A unit vector near one of a few topics.
fn vector(seed: u64) -> Vec<f32> {
    let noise = |seed: u64| fixtures::noise(seed, WIDTH);
    let topic = noise(1_000_000 + seed % TOPICS);
    let sum: Vec<f32> = topic.iter().zip(noise(seed)).map(|(a, b)| a + 0.7 * b).collect();
    fixtures::unit(&sum)
}

fn document(path: &str, seeds: impl IntoIterator<Item = u64>) -> Document {
    fixtures::document(path, seeds, vector)
}

fn provenance() -> Provenance {
    fixtures::provenance(WIDTH, Storage::F16)
}

/// A store whose collection `notes` has [`COUNT`] chunks in documents of 100.
fn store() -> (TempDir, Sqlite) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Sqlite::create(&folder.path().join("notes.db")).expect("a store");
    store.create("notes", &provenance()).expect("a collection");
    let all: Vec<Document> = (0..COUNT / 100)
        .map(|number| document(&format!("d{number}"), 100 * number..100 * (number + 1)))
        .collect();
    store.upsert("notes", &all).expect("written");
    (folder, store)
}

fn build(store: &mut Sqlite) -> AnnBuild {
    store.build_ann("notes", &|_| true).expect("an index")
}

fn ann(store: &Sqlite) -> Option<AnnIndex> {
    store.ann("notes").expect("a readable record")
}

fn found(store: &Sqlite, vector: &[f32], limit: usize, exact: bool) -> Vec<Hit> {
    let filter = Filter::default();
    let query = Query { vector, words: None, limit, filter: &filter, exact };
    store.search("notes", &query).expect("hits")
}

fn scored(hits: Vec<Hit>) -> Vec<(String, f32)> {
    hits.into_iter().map(|hit| (hit.text, hit.score)).collect()
}

/// Recall@10 for vectors that are not stored.
fn recall(store: &Sqlite) -> f64 {
    let queries = 100;
    let hits = |query: u64| {
        let vector = vector(9_000_000 + query);
        let exact: HashSet<_> =
            found(store, &vector, 10, true).into_iter().map(|hit| hit.text).collect();
        found(store, &vector, 10, false).iter().filter(|hit| exact.contains(&hit.text)).count()
    };
    (0..queries).map(hits).sum::<usize>() as f64 / (10 * queries) as f64
}

/// The files of indexes.
fn files(folder: &TempDir) -> Vec<PathBuf> {
    let Ok(all) = fs::read_dir(folder.path().join("notes.db.near/1")) else { return Vec::new() };
    let all = all.map(|file| file.expect("a file").path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "mdb")).collect()
}

/// The store, opened again without caches.
fn reopened(folder: &TempDir) -> Sqlite {
    Sqlite::open(&folder.path().join("notes.db")).expect("a store")
}

fn sql(folder: &TempDir, text: &str) {
    let connection = Connection::open(folder.path().join("notes.db")).expect("a database");
    connection.execute_batch(text).expect("a change");
}

#[test]
fn equal_vectors_cost_no_more_than_others_and_are_found() {
    const EQUAL: u64 = 2500;
    let (_others_folder, mut others) = store();
    let (_folder, mut store) = store();
    let copies =
        |number: u64| fixtures::document(&format!("copy{number}"), 0..EQUAL / 5, |_| vector(77));
    let copies: Vec<Document> = (0..5).map(copies).collect();
    store.upsert("notes", &copies).expect("written");
    let (usual, built) = (build(&mut others), build(&mut store));
    assert_eq!(built.vectors, (COUNT + EQUAL) as usize);
    assert!(built.recall >= 0.97, "{built:?}");
    assert!(built.seconds < 5.0 * usual.seconds + 1.0, "{built:?}, without copies {usual:?}");
    let both = |store: &Sqlite, seed: u64, limit: usize| {
        [true, false].map(|exact| scored(found(store, &vector(seed), limit, exact)))
    };
    let [exact, approximate] = both(&store, 77, 50);
    assert_eq!(exact, approximate);
    // The others are found when the copies are gone.
    let paths: Vec<String> = copies.into_iter().map(|document| document.path).collect();
    store.remove("notes", &paths).expect("removed");
    let [exact, approximate] = both(&store, 77, 5);
    assert_eq!(exact, approximate);
}

#[test]
fn an_index_finds_nearly_all_and_exact_search_does_not_use_it() {
    let (folder, mut store) = store();
    assert_eq!(ann(&store), None);
    let before = scored(found(&store, &vector(7), 20, true));
    let steps = AtomicUsize::new(0);
    let built = store.build_ann("notes", &|step: BuildStep| {
        assert!(step.done <= step.total, "{step:?}");
        steps.fetch_add(1, Ordering::Relaxed);
        true
    });
    let built = built.expect("an index");
    assert!(steps.into_inner() > 200);
    assert_eq!((built.vectors, built.queries), (COUNT as usize, 200));
    assert!(built.recall >= 0.97 && built.recall <= 1.0, "{built:?}");
    assert!(recall(&store) >= 0.97, "{}", recall(&store));
    assert_eq!(scored(found(&store, &vector(7), 20, true)), before);
    let known = ann(&reopened(&folder)).expect("an index");
    assert_eq!((known.vectors, known.newer, known.unused), (COUNT as usize, 0, None));
    assert_eq!(known.bytes, fs::metadata(&files(&folder)[0]).expect("a file").len());
    assert!((known.recall - built.recall).abs() < 1e-9);
    // Scores are those of the stored vectors, to the last bit.
    let exact = scored(found(&store, &vector(7), 20, true));
    for hit in scored(found(&store, &vector(7), 20, false)) {
        assert!(exact.contains(&hit) || hit.1 <= exact[19].1, "{hit:?}");
    }
}

#[test]
fn search_uses_the_index_and_scans_where_that_is_better() {
    let (folder, mut store) = store();
    build(&mut store);
    // Opens the index, which compares it with the store, before the vectors change.
    assert_eq!(ann(&store).expect("an index").unused, None);
    // The index lacks these vectors, and the record of that is removed: a search that finds them
    // has scanned.
    store.upsert("notes", &[document("d5", 50_001..50_101)]).expect("rewritten");
    sql(&folder, "DELETE FROM written");
    let (target, all) = (vector(50_050), Filter::default());
    let filter = Filter::new(&["d5".to_owned()], Vec::new()).expect("a filter");
    let plain = Query { vector: &target, words: None, limit: 10, filter: &all, exact: false };
    let first = |query: &Query<'_>| store.search("notes", query).expect("hits")[0].text.clone();
    assert_ne!(first(&plain), "chunk 50050 of d5");
    assert_eq!(first(&Query { exact: true, ..plain }), "chunk 50050 of d5");
    assert_eq!(first(&Query { filter: &filter, ..plain }), "chunk 50050 of d5");
    assert_eq!(first(&Query { limit: 1001, ..plain }), "chunk 50050 of d5");
    let hybrid = store.search("notes", &Query { words: Some("d3"), ..plain }).expect("hits");
    assert_eq!(hybrid.len(), 10);
    assert!(hybrid.iter().any(|hit| hit.words.is_some() && hit.text.ends_with(" of d3")));
}

#[test]
fn removed_chunks_are_not_found_and_new_ones_are() {
    let (folder, mut store) = store();
    build(&mut store);
    let removed = vector(250);
    assert_eq!(found(&store, &removed, 1, false)[0].text, "chunk 250 of d2");
    store.remove("notes", &["d2".to_owned()]).expect("removed");
    assert_ne!(found(&store, &removed, 1, false)[0].text, "chunk 250 of d2");
    // Rewritten chunks reuse the slots, and maybe the ids, of earlier ones, with other vectors.
    store.upsert("notes", &[document("d5", 50_000..50_100)]).expect("rewritten");
    store.upsert("notes", &[document("new", 60_000..60_100)]).expect("written");
    for store in [&store, &reopened(&folder)] {
        for seed in [50_000, 50_031, 50_099, 60_000, 60_077] {
            let hit = &found(store, &vector(seed), 1, false)[0];
            assert!(hit.text.starts_with(&format!("chunk {seed} ")), "{seed}: {}", hit.text);
            assert!(hit.score > 0.999, "{seed}: {}", hit.score);
        }
        let gone = found(store, &vector(520), 200, false);
        assert!(
            gone.iter().all(|hit| hit.text != "chunk 520 of d5" && !hit.text.ends_with(" of d2"))
        );
        let known = ann(store).expect("an index");
        assert_eq!((known.newer, known.unused), (200, None));
        assert!(recall(store) >= 0.97, "{}", recall(store));
    }
    let built = build(&mut store);
    assert_eq!(built.vectors, COUNT as usize);
    assert_eq!(ann(&store).expect("an index").newer, 0);
    assert_eq!(files(&folder).len(), 1);
    assert!(store.check().expect("a check").is_empty());
}

#[test]
fn an_outgrown_index_is_not_used() {
    let (_folder, mut store) = store();
    build(&mut store);
    store.upsert("notes", &[document("many", 70_000..71_000)]).expect("written");
    assert_eq!(ann(&store).expect("an index").unused, Some(UnusedReason::Outgrown));
    assert!((recall(&store) - 1.0).abs() < 1e-9);
}

#[test]
fn chunks_written_during_a_build_are_found_after_it() {
    let (folder, mut store) = store();
    let other = std::sync::Mutex::new(reopened(&folder));
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let watch = |step: BuildStep| {
        // Once before the copy and once after it.
        let at = match step.name {
            "reading" => Some((&first, "d1", 80_000..80_100)),
            "measuring" => Some((&second, "d7", 81_000..81_100)),
            _ => None,
        };
        if let Some((times, path, seeds)) = at
            && times.fetch_add(1, Ordering::Relaxed) == 0
        {
            let mut other = other.lock().expect("a store");
            other.upsert("notes", &[document(path, seeds)]).expect("written");
        }
        true
    };
    store.build_ann("notes", &watch).expect("an index");
    for seed in [80_000, 80_099, 81_000, 81_099] {
        assert!(
            found(&store, &vector(seed), 1, false)[0].text.starts_with(&format!("chunk {seed} "))
        );
    }
    assert!(ann(&store).expect("an index").newer >= 100);
    assert!(recall(&store) >= 0.97, "{}", recall(&store));
}

#[test]
fn an_unfit_index_is_not_used_and_reported() {
    let (folder, mut store) = store();
    build(&mut store);
    let file = files(&folder).remove(0);
    let whole = fs::read(&file).expect("a file");
    let exact = scored(found(&store, &vector(11), 10, true));
    drop(store);
    let unfit = |what: &str| {
        let store = reopened(&folder);
        let unused = ann(&store).expect("an index").unused;
        assert!(
            matches!(&unused, Some(UnusedReason::Unfit(why)) if why.contains(what)),
            "{unused:?}"
        );
        assert_eq!(scored(found(&store, &vector(11), 10, false)), exact);
    };
    fs::write(&file, &whole[..whole.len() / 2]).expect("a file that is cut off");
    unfit("bytes");
    fs::write(&file, vec![0; whole.len()]).expect("a file of zeros");
    unfit("");
    fs::write(&file, &whole).expect("the file");
    sql(&folder, "UPDATE near SET maker = 'hannoy 0.0'");
    unfit("another version");
    fs::remove_dir_all(folder.path().join("notes.db.near")).expect("removed");
    let mut store = reopened(&folder);
    assert_eq!(ann(&store), None);
    assert_eq!(scored(found(&store, &vector(11), 10, false)), exact);
    build(&mut store);
    assert_eq!(ann(&store).expect("an index").unused, None);
    // As if the folder belonged to a store with other vectors.
    let other = tempfile::tempdir().expect("a folder");
    let mut foreign = Sqlite::create(&other.path().join("notes.db")).expect("a store");
    foreign.create("notes", &provenance()).expect("a collection");
    foreign.upsert("notes", &[document("x", 100_000..100_000 + COUNT)]).expect("written");
    build(&mut foreign);
    drop(store);
    let others = files(&other).remove(0);
    fs::copy(&others, &files(&folder)[0]).expect("a copy");
    let bytes = fs::metadata(&others).expect("a file").len();
    sql(&folder, &format!("UPDATE near SET bytes = {bytes}"));
    unfit("changed since it was built");
    let name = others.file_name().and_then(|name| name.to_str()).expect("a name");
    fs::rename(&files(&folder)[0], folder.path().join("notes.db.near/1").join(name))
        .expect("named");
    sql(&folder, &format!("UPDATE near SET file = '{name}'"));
    unfit("not those of the collection");
}

#[test]
fn a_stopped_build_leaves_the_earlier_index() {
    let (folder, mut store) = store();
    for name in ["reading", "linking", "measuring"] {
        let result = store.build_ann("notes", &|step: BuildStep| step.name != name);
        // A graph of this size may be linked before progress is reported.
        assert!(matches!(result, Err(Error::Stopped)) || name == "linking", "{name}: {result:?}");
        if result.is_err() {
            assert_eq!((ann(&store), files(&folder).len()), (None, 0), "{name}");
        } else {
            sql(&folder, "UPDATE near SET file = NULL");
            fs::remove_file(&files(&folder)[0]).expect("removed");
        }
    }
    build(&mut store);
    let first = files(&folder);
    store.build_ann("notes", &|step: BuildStep| step.name != "measuring").expect_err("stopped");
    assert_eq!((files(&folder), ann(&store).expect("an index").newer), (first, 0));
    // The next build removes what a killed one left.
    fs::write(folder.path().join("notes.db.near/1/1.mdb"), "half").expect("a file");
    assert!(recall(&reopened(&folder)) >= 0.97);
    build(&mut store);
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn only_one_build_runs_at_a_time() {
    let (folder, mut store) = store();
    let other = std::sync::Mutex::new(reopened(&folder));
    let watch = |_: BuildStep| {
        if let Ok(mut other) = other.lock() {
            let refused = other.build_ann("notes", &|_| true).expect_err("busy");
            assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        }
        true
    };
    store.build_ann("notes", &watch).expect("an index");
    assert!(other.into_inner().expect("a store").build_ann("notes", &|_| true).is_ok());
}

#[test]
fn an_index_is_removed_with_its_collection() {
    let (folder, mut store) = store();
    build(&mut store);
    store.drop_collection("notes").expect("removed");
    assert!(files(&folder).is_empty() && !folder.path().join("notes.db.near/1").exists());
    store.create("notes", &provenance()).expect("a collection");
    let error = store.build_ann("notes", &|_| true).expect_err("empty").to_string();
    assert!(error.contains("it has no vectors yet"), "{error}");
    store.upsert("notes", &[document("a", 0..10)]).expect("written");
    assert_eq!(ann(&store), None);
    assert_eq!(found(&store, &vector(3), 1, false)[0].text, "chunk 3 of a");
    assert_eq!(build(&mut store).vectors, 10);
    assert_eq!(found(&store, &vector(3), 20, false).len(), 10);
}

#[test]
fn vectors_that_are_not_normalized_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Sqlite::create(&folder.path().join("notes.db")).expect("a store");
    let any = Provenance { normalized: false, ..provenance() };
    store.create("notes", &any).expect("a collection");
    let error = store.build_ann("notes", &|_| true).expect_err("refused").to_string();
    assert!(error.contains("its vectors are not normalized"), "{error}");
}

#[test]
fn a_vector_without_a_direction_is_scanned() {
    let (_folder, mut store) = store();
    let mut zero = document("zero", 0..1);
    zero.chunks[0].vector = vec![0.0; WIDTH];
    store.upsert("notes", &[zero]).expect("written");
    assert_eq!(build(&mut store).vectors, COUNT as usize);
    // Opposite to the mean of all: most cosines are negative, and that of the zero vector is 0.
    let mut away = vec![0.0_f32; WIDTH];
    for seed in 0..COUNT {
        away.iter_mut().zip(vector(seed)).for_each(|(sum, x)| *sum -= x);
    }
    let exact = scored(found(&store, &away, 10, true));
    let index = scored(found(&store, &away, 10, false));
    assert_eq!(
        exact.iter().any(|hit| hit.0 == "chunk 0 of zero"),
        index.iter().any(|hit| hit.0 == "chunk 0 of zero")
    );
    assert_eq!(ann(&store).expect("an index").newer, 1);
}

#[test]
fn a_store_of_the_first_version_is_upgraded() {
    let (folder, store) = store();
    drop(store);
    sql(&folder, "DROP TABLE near; DROP TABLE written; PRAGMA user_version = 1");
    let mut store = reopened(&folder);
    build(&mut store);
    assert!(recall(&store) >= 0.97);
}
