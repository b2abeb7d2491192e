//! Stores, their filters and files of rows.

use crate::files::{database, file};
use kokeshi_store::backend::Rows;
use kokeshi_store::{Condition, Fields, Filter, Query, Source, Sqlite, Store};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A store file can be listed and searched, or is refused.
pub(crate) fn open(bytes: &[u8]) {
    let path = database("index.db", bytes);
    let Ok(store) = Sqlite::open(&path) else { return };
    let Ok(collections) = store.collections() else { return };
    drop(store.check());
    for collection in collections.iter().take(3) {
        drop(store.count(&collection.name));
        if let Ok(entries) = store.list_after(&collection.name, "", 10) {
            let paths: Vec<_> = entries.into_iter().map(|entry| entry.path).collect();
            drop(store.documents(&collection.name, &paths));
        }
        let vector = vec![0.1; collection.provenance.dimensions.min(4096)];
        for words in [None, Some("lamp")] {
            let filter = Filter::default();
            let query = Query { vector: &vector, words, limit: 5, filter: &filter, exact: false };
            drop(store.search(&collection.name, &query));
        }
    }
}

/// Lines of conditions and globs give a filter that decides about any document, or an error.
pub(crate) fn filter(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (mut paths, mut conditions) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match line.parse::<Condition>() {
            Ok(condition) => conditions.push(condition),
            Err(_) => paths.push(line.to_owned()),
        }
    }
    let Ok(filter) = Filter::new(&paths, conditions) else { return };
    let values = json!({"lang": "de", "year": 1900.5, "tags": ["a", null, 7, true], "": {}});
    let values = values.as_object().expect("an object");
    for path in ["", "docs/a.md", "/x/y", text] {
        let _ = filter.matches_path(path) && filter.matches_metadata(&Map::new(), values);
    }
    drop((filter.terms(), serde_json::from_str::<Value>(text)));
}

/// A file of rows gives a source for a migration, or an error.
pub(crate) fn json_rows(bytes: &[u8]) {
    source(&file("rows.jsonl", bytes));
}

/// A Parquet file gives rows, or an error.
#[cfg(feature = "all")]
pub(crate) fn parquet(bytes: &[u8]) {
    let path = file("rows.parquet", bytes);
    source(&path);
    let rows = kokeshi_store::parquet_rows(&path);
    drop(rows.map(|rows| rows.take(1000).filter(Result::is_ok).count()));
}

fn source(path: &Path) {
    drop(Rows::fields(path));
    let Ok(rows) = Rows::read(path, &Fields::default(), "vector") else { return };
    let entries = rows.all().expect("the rows");
    let paths: Vec<_> = entries.into_iter().map(|entry| entry.path).collect();
    let documents = rows.documents("vector", &paths).expect("the documents");
    assert_eq!(documents.len(), paths.len());
}
