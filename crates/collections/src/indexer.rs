//! A collection that is kept up to date with files and folders.

use crate::error::Result;
use crate::index::{IndexProgress, IndexRun, IndexSummary};
use crate::location::StoreLocation;
use crate::plan::IndexPlan;
use crate::roots::{Root, record_roots};
use crate::settings::OpenCollection;
use kokeshi_documents::{Extractor, WalkOptions};
use kokeshi_store::{Lock, Store};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// A collection, locked for writing, and the files and folders that are indexed into it.
pub struct Indexer {
    location: StoreLocation,
    store: Box<dyn Store>,
    collection: OpenCollection,
    roots: Vec<Root>,
    _lock: Lock,
}

impl Indexer {
    /// An indexer of `paths` or, if there are none, of all paths that were indexed before. `store`
    /// is the store at `location`, and `lock` its lock.
    ///
    /// # Errors
    ///
    /// If a path cannot be read, or the store fails.
    pub fn new(
        location: StoreLocation,
        mut store: Box<dyn Store>,
        lock: Lock,
        collection: OpenCollection,
        paths: &[PathBuf],
        options: &WalkOptions,
    ) -> Result<Self> {
        let roots = record_roots(&mut *store, &location, &collection.name, paths, options)?;
        Ok(Self { location, store, collection, roots, _lock: lock })
    }

    /// Where the store is.
    pub fn location(&self) -> &StoreLocation {
        &self.location
    }

    /// The files and folders that are kept up to date.
    pub fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.roots.iter().map(|(root, _)| root)
    }

    /// Brings the collection up to date, until `stop` is set. For each root, `progress` is called
    /// with the number of bytes to read.
    ///
    /// # Errors
    ///
    /// If a folder cannot be walked, or the store or the engine fails. Batches that were written
    /// before that are kept.
    pub fn update<P: IndexProgress>(
        &mut self,
        extractor: &(dyn Extractor + Sync),
        stop: &AtomicBool,
        mut progress: impl FnMut(u64) -> P,
    ) -> Result<IndexSummary> {
        let mut summary = IndexSummary::default();
        let Self { location, collection, .. } = self;
        let run = IndexRun { store: &location.store, collection, extractor, stop };
        for (root, options) in &self.roots {
            let entries = self.store.list(&collection.name)?;
            let plan = IndexPlan::new(location, std::slice::from_ref(root), options, entries)?;
            let mut progress = progress(plan.bytes());
            summary.add(run.execute(plan, &mut progress)?);
            if summary.stopped {
                break;
            }
        }
        Ok(summary)
    }
}
