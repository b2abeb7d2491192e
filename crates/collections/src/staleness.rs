//! Whether the files of documents are still as they were indexed.

use crate::add::is_added;
use crate::error::Result;
use crate::location::StoreLocation;
use crate::revision::content_hash;
use crate::roots::recorded_roots;
use kokeshi_documents::changed;
use kokeshi_store::{Entry, Store};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// How a document's file differs from what was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// Its content has changed.
    Changed,
    /// It does not exist, or cannot be looked at.
    Missing,
}

/// Those of the documents at `paths` whose files differ from what was indexed. Documents that do
/// not come from indexed folders are not among them.
///
/// # Errors
///
/// If the store fails.
pub fn stale(
    store: &dyn Store,
    location: &StoreLocation,
    collection: &str,
    paths: &[String],
) -> Result<HashMap<String, Staleness>> {
    let roots = recorded_roots(store, location, collection)?;
    let is_indexed = |path: &String| {
        let file = location.path(path);
        roots.iter().any(|(root, _)| file.starts_with(root))
    };
    let paths: Vec<String> = paths.iter().filter(|path| is_indexed(path)).cloned().collect();
    let mut stale = HashMap::new();
    if !paths.is_empty() {
        let entries = store.entries(collection, &paths)?;
        for entry in entries.into_iter().filter(|entry| !is_added(entry)) {
            if let Some(staleness) = staleness(&location.path(&entry.path), &entry) {
                stale.insert(entry.path, staleness);
            }
        }
    }
    Ok(stale)
}

fn staleness(file: &Path, entry: &Entry) -> Option<Staleness> {
    let Ok(metadata) = file.metadata() else { return Some(Staleness::Missing) };
    if metadata.len() != entry.size {
        return Some(Staleness::Changed);
    }
    if entry.modified != 0 && entry.modified == changed(&metadata) {
        return None;
    }
    let hash = File::open(file).and_then(|mut file| content_hash(&mut file));
    match hash {
        Ok(hash) if hash == entry.hash => None,
        Ok(_) => Some(Staleness::Changed),
        Err(_) => Some(Staleness::Missing),
    }
}
