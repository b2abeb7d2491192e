//! Joining an index in a folder below with the one that covers it.

use crate::error::Result;
use crate::indexer::Indexer;
use crate::left_out::left_out_kind;
use crate::location::StoreLocation;
use crate::mounts::recorded_mounts;
use crate::roots::recorded_roots;
use kokeshi_store::{Document, Entry};

/// Number of documents that are copied at once.
const BATCH: usize = 64;

impl Indexer {
    /// Copies the documents of the index `inner` with their vectors, if both collections have the
    /// same provenance, and returns their number. Its roots become roots of this one. The next
    /// update compares everything with the files.
    ///
    /// # Errors
    ///
    /// If a store fails, or another process writes to `inner`.
    pub fn take_over(&mut self, inner: &StoreLocation) -> Result<usize> {
        let from = inner.open()?;
        let _lock = from.lock()?;
        let name = self.collection.name.clone();
        let Some(collection) = from.collection(&name)? else { return Ok(0) };
        for (root, options) in recorded_roots(&*from, inner, &name)? {
            self.add_root(root, options)?;
        }
        let mounts = recorded_mounts(&*from, &name)?.into_iter();
        self.mounts
            .extend(mounts.filter_map(|mount| self.location.document_name(&inner.path(&mount))));
        if collection.provenance != self.collection.provenance {
            return Ok(0);
        }
        let is_document = |entry: &Entry| left_out_kind(entry).is_none();
        let entries = from.list(&name)?.into_iter().filter(is_document);
        let paths: Vec<String> = entries.map(|entry| entry.path).collect();
        let mut copied = 0;
        for paths in paths.chunks(BATCH) {
            let documents = from.documents(&name, paths)?.into_iter();
            let renamed = documents.filter_map(|document| {
                let path = self.location.document_name(&inner.path(&document.path))?;
                Some(Document { path, ..document })
            });
            let renamed: Vec<Document> = renamed.collect();
            copied += self.store.insert(&name, &renamed)?;
        }
        Ok(copied)
    }
}

/// Removes the index `inner`, and returns whether it was removed: it is kept if it has collections
/// other than `collection`.
///
/// # Errors
///
/// If it cannot be opened or removed, or another process writes to it.
pub fn remove_index(inner: &StoreLocation, collection: &str) -> Result<bool> {
    let store = inner.open()?;
    let lock = store.lock()?;
    if store.collections()?.iter().any(|found| found.name != collection) {
        return Ok(false);
    }
    drop((store, lock));
    inner.remove()?;
    Ok(true)
}
