//! The cases that every store must pass.

use crate::fixtures::{Case, all_texts, document, dot, object, provenance, vector};
use kokeshi_store::{
    ChunkLocation, Condition, Counts, Document, Error, Filter, Provenance, Query, Replacement,
    Storage, Store,
};
use kokeshi_testkit::SetOnDrop;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) fn a_collection_has_the_provenance_it_was_created_with(case: &Case<'_>) {
    let mut store = case.create();
    let wanted = provenance(store.storages()[0]);
    let again = store.create(case.name, &wanted).expect_err("taken");
    assert!(matches!(again, Error::NameTaken { kind: "collection", .. }), "{again}");
    drop(store);
    let store = case.open();
    let found = store.collection(case.name).expect("an answer").expect("a collection");
    assert_eq!((found.name.as_str(), &found.provenance), (case.name, &wanted));
    assert!(found.created > 1_700_000_000 && found.aliases.is_empty());
    let names = store.collections().expect("collections").into_iter().map(|found| found.name);
    assert_eq!(names.filter(|name| name == case.name).count(), 1);
    let other = Provenance { revision: "sha256:02".to_owned(), ..wanted };
    let mixed = found.provenance.check_same(&found.name, &other).expect_err("mixed").to_string();
    assert!(mixed.contains("test (sha256:01), not test (sha256:02)"), "{mixed}");
    assert!(store.collection("absent").expect("an answer").is_none());
    let error = store.count("absent").expect_err("unknown");
    assert!(matches!(error, Error::UnknownCollection { .. }), "{error}");
    assert!(error.to_string().contains(&format!("`{}`", case.name)), "{error}");
}

pub(crate) fn documents_are_written_replaced_and_removed(case: &Case<'_>) {
    let mut store = case.create();
    let empty = document("empty.md", []);
    let special = document("ü \"quoted\" 'path'/ä\\b.md", 30..33);
    let first = [document("a.md", 0..20), document("b.md", 20..30), empty.clone(), special.clone()];
    store.upsert(case.name, &first).expect("written");
    assert_eq!(case.texts(&*store), all_texts(&first));
    // Written again, as after a killed run.
    store.upsert(case.name, &first).expect("written");
    assert_eq!(case.texts(&*store), all_texts(&first));
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 4, chunks: 33 });
    let second = [document("a.md", 100..103), document("b.md", 20..30), empty, special];
    store.upsert(case.name, &second[..1]).expect("written");
    assert_eq!(case.texts(&*store), all_texts(&second));
    let entries = store.list(case.name).expect("entries");
    let found: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.chunks)).collect();
    let special = second[3].path.as_str();
    assert_eq!(found, [("a.md", 3), ("b.md", 10), ("empty.md", 0), (special, 3)]);
    let entry = &entries[0];
    assert_eq!((entry.hash.as_str(), entry.size), ("hash of a.md", 2));
    assert_eq!((entry.modified, entry.format.as_str()), (1_700_000_000_123_456_789, "text"));
    let names = ["b.md", "absent", special].map(str::to_owned);
    assert_eq!(store.remove(case.name, &names).expect("removed"), 2);
    assert_eq!(store.remove(case.name, &names).expect("removed"), 0);
    assert_eq!(case.texts(&*store), all_texts(&second[..1]));
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 2, chunks: 3 });
    let hits = case.search(&*store, &vector(101), 1);
    let hit = &hits[0];
    assert_eq!((hit.path.as_str(), hit.ordinal, hit.format.as_str()), ("a.md", 1, "text"));
    assert_eq!(hit.location, ChunkLocation { bytes: 1..11, lines: (2, 3), page: Some(7) });
    assert!((hit.score - 1.0).abs() < 1e-3 && hit.dense.is_some_and(|part| part.rank == 1));
}

pub(crate) fn vectors_of_another_width_are_refused(case: &Case<'_>) {
    let mut store = case.create();
    let mut short = document("b", 5..7);
    short.chunks[1].vector.pop();
    let error = store.upsert(case.name, &[document("a", 8..9), short]).expect_err("too short");
    assert!(
        matches!(error, Error::WidthMismatch { found, wanted } if found + 1 == wanted),
        "{error}"
    );
    assert_eq!(store.count(case.name).expect("counts"), Counts::default());
    let filter = Filter::default();
    let query = Query { vector: &[0.0; 3], words: None, limit: 1, filter: &filter, exact: false };
    assert!(matches!(store.search(case.name, &query), Err(Error::WidthMismatch { found: 3, .. })));
}

/// For every storage that the engine supports.
pub(crate) fn search_finds_the_order_of_the_exact_cosines(case: &Case<'_>) {
    const COUNT: u64 = 700;
    let mut store = case.open();
    for &storage in store.storages() {
        let tolerance = match storage {
            Storage::F32 => 1e-5,
            Storage::F16 => 1e-3,
            Storage::Int8 => 0.02,
            Storage::Bits => continue,
        };
        let name = format!("{} {storage}", case.name);
        store.create(&name, &provenance(storage)).expect("a collection");
        store.upsert(&name, &[document("a", 0..COUNT)]).expect("written");
        store.finish(&name).expect("finished");
        for (seed, exact) in [(3, false), (77, true), (10_000, false)] {
            let query = vector(seed);
            let mut wanted: Vec<f32> = (0..COUNT).map(|seed| dot(&vector(seed), &query)).collect();
            wanted.sort_by(|a, b| b.total_cmp(a));
            let filter = Filter::default();
            let query = Query { vector: &query, words: None, limit: 10, filter: &filter, exact };
            let hits = store.search(&name, &query).expect("hits");
            assert_eq!(hits.len(), 10);
            for (hit, wanted) in hits.iter().zip(wanted) {
                let true_score = dot(&vector(hit.ordinal as u64), query.vector);
                assert!((hit.score - true_score).abs() <= tolerance, "{storage}: {hit:?}");
                assert!((true_score - wanted).abs() <= 2.0 * tolerance, "{storage}: {wanted}");
            }
        }
        store.drop_collection(&name).expect("removed");
    }
}

pub(crate) fn filters_apply_before_the_limit(case: &Case<'_>) {
    let mut store = case.create();
    let mut german = document("de/a.md", 0..50);
    german.metadata = object(&json!({"lang": "de", "year": 1899, "tags": ["sea", "x=y"]}));
    german.chunks[7].metadata = object(&json!({"lang": "en"}));
    let mut english = document("en/b.md", 50..100);
    english.metadata = object(&json!({"lang": "en", "year": "1901", "no": null}));
    let many = (0..300).map(|at| document(&format!("many/{at}.txt"), 1000 + at..1001 + at));
    let mut documents = vec![german, english];
    documents.extend(many);
    store.upsert(case.name, &documents).expect("written");
    let near = vector(60);
    let found = |paths: &[&str], conditions: &[&str], limit: usize| {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let conditions: Vec<Condition> =
            conditions.iter().map(|text| text.parse().expect("a condition")).collect();
        let filter = Filter::new(&paths, conditions).expect("a filter");
        let query = Query { vector: &near, words: None, limit, filter: &filter, exact: false };
        let hits = store.search(case.name, &query).expect("hits");
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        hits.len()
    };
    for (paths, conditions, wanted) in [
        (&["de"][..], &[][..], 50),
        (&["*.md", "!de"], &[], 50),
        (&["!*.md"], &[], 300),
        (&["many/1*.txt"], &[], 111),
        (&["nothing"], &[], 0),
        (&[], &["lang=de"], 49),
        (&["de"], &["lang=en"], 1),
        (&[], &["lang=en"], 51),
        (&[], &["lang!=de"], 351),
        (&[], &["year<1900"], 50),
        (&[], &["year=1899.0"], 50),
        (&[], &["year=1901"], 50),
        (&[], &["year=1901.0"], 0),
        (&[], &["tags=sea"], 50),
        (&[], &["tags=x=y", "lang=de"], 49),
        (&[], &["tags=sky"], 0),
    ] {
        assert_eq!(found(paths, conditions, 1000), wanted, "{paths:?} {conditions:?}");
        assert_eq!(found(paths, conditions, 5), wanted.min(5), "{paths:?} {conditions:?}");
    }
}

/// Values that are easily taken for each other.
fn similar_values() -> Vec<Value> {
    let values = json!([
        "nan", "NaN", 9_007_199_254_740_992_u64, 9_007_199_254_740_993_u64, 9_007_199_254_740_992.0,
        "9007199254740993", "01234", "1234", 1234, 1234.0, "1.1", "1.10", 1.1, "12e9999", "99e9999",
        "inf", 0, "-0", "0", true, "true", "", " ", "a=b", "2024-03-01", "2024-03-01T10:00:00Z",
        "2024-03-02T01:00:00+02:00", ["x", "1.1", 7], [["deep"]], {"a": 1}, null,
        "\u{0}", "x\u{fffd}", u64::MAX, -5, "'; --", "\"\\",
    ]);
    let mut values = values.as_array().expect("a list").clone();
    values.push(json!("long ".repeat(60) + "x"));
    values
}

/// The definition is that of [`Filter`]; the conditions that a server evaluates must not exclude
/// what it matches.
pub(crate) fn filters_match_the_same_values_everywhere(case: &Case<'_>) {
    let mut store = case.create();
    let values = similar_values();
    let documents: Vec<Document> = (0..)
        .zip(&values)
        .map(|(at, value)| {
            let mut document = document(&format!("{at:02}.md"), at..at + 1);
            document.metadata = object(&json!({ "v": value }));
            document
        })
        .collect();
    store.upsert(case.name, &documents).expect("written");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut wanted: Vec<String> = values.iter().map(text).collect();
    wanted.extend(
        ["x", "7", "deep", "1e0", "+1234", "1234.0", "2024-03-01T23:30Z"].map(str::to_owned),
    );
    let near = vector(1);
    for value in wanted.iter().filter(|value| value.trim() == value.as_str()) {
        for relation in ["=", "!=", "<", "<=", ">", ">="] {
            let condition = format!("v{relation}{value}");
            let condition: Condition = condition.parse().expect("a condition");
            let filter = Filter::new(&[], vec![condition.clone()]).expect("a filter");
            let query =
                Query { vector: &near, words: None, limit: 100, filter: &filter, exact: false };
            let hits = store.search(case.name, &query).expect("hits");
            let mut found: Vec<String> = hits.into_iter().map(|hit| hit.path).collect();
            found.sort();
            let matches = |document: &&Document| {
                filter.matches_metadata(&object(&json!({})), &document.metadata)
            };
            let expected: Vec<String> =
                documents.iter().filter(matches).map(|document| document.path.clone()).collect();
            assert_eq!(found, expected, "{condition:?}");
        }
    }
}

pub(crate) fn an_alias_moves_in_one_step(case: &Case<'_>) {
    let mut store = case.create();
    let (other, alias) = (format!("{} two", case.name), format!("{} now", case.name));
    store.create(&other, &provenance(store.storages()[0])).expect("a collection");
    store.upsert(case.name, &[document("a", 0..40)]).expect("written");
    store.upsert(&other, &[document("a", 0..2)]).expect("written");
    store.set_alias(&alias, case.name).expect("an alias");
    assert_eq!(store.count(&alias).expect("counts").chunks, 40);
    let error = store.create(&alias, &provenance(store.storages()[0])).expect_err("taken");
    assert!(matches!(error, Error::NameTaken { kind: "alias", .. }), "{error}");
    let error = store.set_alias(case.name, &other).expect_err("taken");
    assert!(matches!(error, Error::NameTaken { kind: "collection", .. }), "{error}");
    // A reader sees one collection or the other at any time.
    let done = AtomicBool::new(false);
    let reads = thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        let reader = scope.spawn(|| {
            let store = case.open();
            let mut reads = [0, 0];
            while !done.load(Ordering::Relaxed) || reads.iter().sum::<usize>() < 4 {
                let filter = Filter::default();
                let near = vector(1);
                let query =
                    Query { vector: &near, words: None, limit: 100, filter: &filter, exact: false };
                match store.search(&alias, &query).expect("hits").len() {
                    40 => reads[0] += 1,
                    2 => reads[1] += 1,
                    other => panic!("{other} hits"),
                }
            }
            reads
        });
        for at in 0..6 {
            let to = if at % 2 == 0 { &other } else { case.name };
            store.set_alias(&alias, to).expect("the alias moves");
            thread::sleep(Duration::from_millis(50));
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader")
    });
    assert!(reads.iter().sum::<usize>() >= 4, "{reads:?}");
    let found = store.collection(&alias).expect("an answer").expect("a collection");
    assert_eq!((found.name.as_str(), found.aliases), (case.name, vec![alias.clone()]));
    store.drop_collection(&alias).expect("removed");
    for gone in [case.name, &alias] {
        assert!(store.collection(gone).expect("an answer").is_none(), "{gone}");
    }
    assert_eq!(store.count(&other).expect("counts").chunks, 2);
    store.create(case.name, &provenance(store.storages()[0])).expect("the name is free again");
    assert_eq!(store.count(case.name).expect("counts"), Counts::default());
    store.drop_collection(&other).expect("removed");
}

pub(crate) fn roots_and_times_are_recorded(case: &Case<'_>) {
    let mut store = case.create();
    let folders = store.require_folders().expect("a record of folders");
    folders.set_root(case.name, "/b", "{}").expect("recorded");
    folders.set_root(case.name, "/a", "{\"hidden\":true}").expect("recorded");
    folders.set_root(case.name, "/b", "{\"hidden\":false}").expect("recorded");
    let pairs = [("/a", "{\"hidden\":true}"), ("/b", "{\"hidden\":false}")];
    let pairs = pairs.map(|(path, options)| (path.to_owned(), options.to_owned()));
    assert_eq!(folders.roots(case.name).expect("roots"), pairs);
    assert!(folders.remove_root(case.name, "/b").expect("removed"));
    assert!(!folders.remove_root(case.name, "/b").expect("removed"));
    assert_eq!(folders.roots(case.name).expect("roots"), pairs[..1]);
    store.upsert(case.name, &[document("a", 0..3), document("b", 3..4)]).expect("written");
    let seen = [("a".to_owned(), 5_000_000_000_000_000_001, 77), ("absent".to_owned(), 1, 1)];
    let folders = store.require_folders().expect("a record of folders");
    folders.set_seen(case.name, &seen).expect("recorded");
    let entries = store.list(case.name).expect("entries");
    let times: Vec<_> = entries.iter().map(|entry| (entry.modified, entry.size)).collect();
    assert_eq!(times, [(5_000_000_000_000_000_001, 77), (1_700_000_000_123_456_789, 2)]);
    assert_eq!((entries[0].hash.as_str(), entries[0].chunks), ("hash of a", 3));
}

pub(crate) fn an_unsupported_storage_is_refused_with_the_supported_ones(case: &Case<'_>) {
    let mut store = case.open();
    let known = store.storages();
    for storage in Storage::ALL.into_iter().filter(|storage| !known.contains(storage)) {
        let error = store.create(case.name, &provenance(storage)).expect_err("unsupported");
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        let message = error.to_string();
        let (wanted, supported) = message.split_once("; it has ").expect("both sides");
        assert!(wanted.contains(storage.name()), "{message}");
        assert!(supported.contains(store.storages()[0].name()), "{message}");
        assert!(store.collection(case.name).expect("an answer").is_none());
    }
}

pub(crate) fn documents_come_back_as_they_were_written(case: &Case<'_>) {
    let mut store = kokeshi_remote::create(case.address).expect("a store");
    let storage = store.storages()[0];
    store.create(case.name, &provenance(storage)).expect("a collection");
    let mut written: Vec<Document> =
        [("a", 1), ("ä/b", 4), ("c", 9)].map(|(path, seed)| document(path, seed..seed + 3)).into();
    written[1].metadata = object(&json!({ "lang": "de", "year": 1812 }));
    written[1].chunks[2].metadata = object(&json!({ "row": 3 }));
    store.upsert(case.name, &written).expect("written");
    let paths = ["ä/b", "a", "nothing", "c"].map(str::to_owned);
    let mut read = store.documents(case.name, &paths).expect("documents");
    read.sort_by(|a, b| a.hash.cmp(&b.hash));
    written.sort_by(|a, b| a.hash.cmp(&b.hash));
    // Some engines normalize vectors again, which may change the last bit.
    let tolerance = if storage == Storage::F32 { 1e-6 } else { 2e-4 };
    let pairs = read.iter_mut().zip(&mut written);
    for (read, written) in pairs.flat_map(|(a, b)| a.chunks.iter_mut().zip(&mut b.chunks)) {
        let wanted = storage.rounded(&std::mem::take(&mut written.vector));
        let vector = std::mem::take(&mut read.vector);
        assert_eq!(vector.len(), wanted.len());
        assert!(vector.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= tolerance));
    }
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    let names = |entries: Vec<kokeshi_store::Entry>| -> Vec<String> {
        entries.into_iter().map(|entry| entry.path).collect()
    };
    let after = |path: &str| names(store.list_after(case.name, path, 2).expect("entries"));
    assert_eq!(
        (after(""), after("a"), after("c")),
        (
            vec!["a".to_owned(), "c".to_owned()],
            vec!["c".to_owned(), "ä/b".to_owned()],
            vec!["ä/b".to_owned()],
        )
    );
    assert!(after("ä/b").is_empty());
    let mut some = names(store.entries(case.name, &paths[..3]).expect("entries"));
    some.sort();
    assert_eq!(some, ["a", "ä/b"]);
}

pub(crate) fn existing_documents_are_not_inserted_again(case: &Case<'_>) {
    let mut store = kokeshi_remote::create(case.address).expect("a store");
    let storage = store.storages()[0];
    store.create(case.name, &provenance(storage)).expect("a collection");
    store.upsert(case.name, &[document("a", [1])]).expect("written");
    let others = [document("a", [2, 3]), document("b", [4])];
    assert_eq!(store.insert(case.name, &others).expect("added"), 1);
    assert_eq!(store.insert(case.name, &others).expect("added"), 0);
    let read = store.documents(case.name, &["a".to_owned()]).expect("documents");
    assert_eq!(read[0].chunks[0].text, "chunk 1 of a");
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 2, chunks: 2 });
}

pub(crate) fn a_switch_moves_a_name_to_another_collection_and_back(case: &Case<'_>) {
    let mut store = kokeshi_remote::create(case.address).expect("a store");
    let storage = store.storages()[0];
    let [old, new, name, kept] =
        ["old", "new", "name", "kept"].map(|part| format!("{}-{part}", case.name));
    for collection in [&old, &new] {
        store.create(collection, &provenance(storage)).expect("a collection");
    }
    let target = |store: &dyn Store, name: &str| {
        store.collection(name).expect("a store").map(|found| found.name)
    };
    let id = |store: &dyn Store, name: &str| {
        store.collection(name).expect("a store").expect("a collection").id
    };
    let (old_id, new_id) = (id(&*store, &old), id(&*store, &new));
    let named = |name| Replacement { name, old: Some(&old_id), new: &new_id, kept: &kept };
    store.set_alias(&name, &old).expect("an alias");
    assert!(!store.switch_calls(&name, &new, &kept).expect("calls").is_empty());
    store.switch(&named(&name)).expect("a switch");
    assert_eq!(target(&*store, &name), Some(new.clone()));
    assert_eq!(store.switch_back(&named(&name)).expect("a switch back").name, old);
    assert_eq!(target(&*store, &name), Some(old.clone()));
    // If the name is a collection's own, the collection is renamed in the same step, or the store
    // reports that it cannot do that.
    match store.switch(&named(&old)) {
        Ok(()) => {
            assert_eq!(target(&*store, &old), Some(new.clone()));
            assert_eq!(target(&*store, &kept), Some(kept.clone()));
            assert_eq!(
                target(&*store, &name),
                Some(kept.clone()),
                "the alias still points to the renamed collection"
            );
            store.switch(&named(&old)).expect("again");
            assert_eq!(target(&*store, &old), Some(new));
        }
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("aliases"), "{error}");
            assert_eq!(target(&*store, &old), Some(old.clone()));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whatever names lead to, a replacement removes its old collection only, and only if nobody reads
/// it.
pub(crate) fn a_replacement_touches_only_its_own_collections(case: &Case<'_>) {
    let mut store = kokeshi_remote::create(case.address).expect("a store");
    let storage = store.storages()[0];
    let [old, new, other, name, kept] =
        ["old", "new", "other", "name", "kept"].map(|part| format!("{}-{part}", case.name));
    for collection in [&old, &new, &other] {
        store.create(collection, &provenance(storage)).expect("a collection");
    }
    let id = |store: &dyn Store, name: &str| {
        store.collection(name).expect("a store").expect("a collection").id
    };
    let (old_id, new_id, other_id) = (id(&*store, &old), id(&*store, &new), id(&*store, &other));
    let replacement = Replacement { name: &name, old: Some(&old_id), new: &new_id, kept: &kept };
    let exists = |store: &dyn Store| {
        [&old, &new, &other].map(|name| store.collection(name).expect("a store").is_some())
    };
    // The name leads to a third collection: nothing may change.
    store.set_alias(&name, &other).expect("an alias");
    assert!(matches!(store.switch(&replacement), Err(Error::NotReplaceable { .. })));
    assert!(matches!(store.switch_back(&replacement), Err(Error::NotReplaceable { .. })));
    assert!(matches!(store.remove_replaced(&replacement), Err(Error::NotReplaceable { .. })));
    assert_eq!(
        store.collection(&name).expect("a store").map(|found| found.name),
        Some(other.clone())
    );
    // Readers use the old collection.
    store.set_alias(&name, &old).expect("an alias");
    assert!(matches!(store.remove_replaced(&replacement), Err(Error::NotReplaceable { .. })));
    store.switch(&replacement).expect("a switch");
    // Another name still leads to the old collection.
    let reader = format!("{name}-2");
    store.set_alias(&reader, &old).expect("an alias");
    assert!(matches!(store.remove_replaced(&replacement), Err(Error::NotReplaceable { .. })));
    store.set_alias(&reader, &other).expect("an alias");
    // The id of the third one as the old one: the caller's own mistake removes nothing in use.
    let mistaken = Replacement { old: Some(&new_id), ..replacement };
    assert!(matches!(store.remove_replaced(&mistaken), Err(Error::NotReplaceable { .. })));
    assert_eq!(exists(&*store), [true; 3]);
    assert_eq!(store.remove_replaced(&replacement).expect("removed"), Some(old.clone()));
    assert_eq!(exists(&*store), [false, true, true]);
    // A later collection of the same name is another one.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    store.create(&old, &provenance(storage)).expect("a collection");
    assert_eq!(store.remove_replaced(&replacement).expect("nothing to remove"), None);
    assert!(matches!(store.switch_back(&replacement), Err(Error::NotReplaceable { .. })));
    assert_eq!(exists(&*store), [true; 3]);
    assert_eq!(id(&*store, &other), other_id);
}

/// A large document is written in pieces; a piece that is written again changes nothing.
pub(crate) fn a_document_grows_in_pieces(case: &Case<'_>) {
    let mut store = kokeshi_remote::create(case.address).expect("a store");
    let storage = store.storages()[0];
    store.create(case.name, &provenance(storage)).expect("a collection");
    let whole = document("a", 1..=7);
    store.upsert(case.name, &[document("a", [50, 51]), document("b", [60])]).expect("written");
    let piece = |range: std::ops::Range<usize>| Document {
        hash: if range.end == 7 { whole.hash.clone() } else { String::new() },
        chunks: whole.chunks[range].to_vec(),
        ..whole.clone()
    };
    store.upsert(case.name, &[piece(0..3)]).expect("the first piece");
    store.append(case.name, &piece(3..5), 3).expect("a piece");
    let entry = |store: &dyn Store| {
        store.entries(case.name, &["a".to_owned()]).expect("entries")[0].clone()
    };
    assert_eq!((entry(&*store).hash.as_str(), entry(&*store).chunks), ("", 5));
    store.append(case.name, &piece(5..7), 5).expect("the last piece");
    assert_eq!((entry(&*store).hash, entry(&*store).chunks), (whole.hash.clone(), 7));
    let read = store.documents(case.name, &["a".to_owned()]).expect("documents");
    let texts = |document: &Document| -> Vec<String> {
        document.chunks.iter().map(|chunk| chunk.text.clone()).collect()
    };
    assert_eq!(texts(&read[0]), texts(&whole));
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 2, chunks: 8 });
    // A shorter document replaces all pieces.
    store.upsert(case.name, &[document("a", [9])]).expect("written");
    assert_eq!(store.count(case.name).expect("counts"), Counts { documents: 2, chunks: 2 });
}
