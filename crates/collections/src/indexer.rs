//! A collection that is kept up to date with files and folders.

use crate::error::Result;
use crate::index::{IndexProgress, IndexRun, IndexSummary};
use crate::location::StoreLocation;
use crate::mounts::{record_mounts, recorded_mounts};
use crate::plan::IndexPlan;
use crate::roots::{Root, RunRoots, record_roots, walk_options_json};
use crate::settings::OpenCollection;
use kokeshi_documents::{Extractor, WalkOptions, is_walked};
use kokeshi_store::{Lock, Store};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A collection, locked for writing, and the files and folders that are indexed into it.
pub struct Indexer {
    pub(crate) location: StoreLocation,
    pub(crate) store: Box<dyn Store>,
    pub(crate) collection: OpenCollection,
    roots: Vec<Root>,
    /// Names of roots that were not recorded before this run.
    new_roots: Vec<String>,
    /// Names of folders where another index knew of a disk.
    pub(crate) mounts: Vec<String>,
    prune_missing: bool,
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
        let recorded = record_roots(&mut *store, &location, &collection.name, paths, options)?;
        let RunRoots { roots, new: new_roots } = recorded;
        let (mounts, prune_missing) = (Vec::new(), false);
        Ok(Self {
            location,
            store,
            collection,
            roots,
            new_roots,
            mounts,
            prune_missing,
            _lock: lock,
        })
    }

    /// Also removes the documents of folders that are missing or cannot be read, if `prune` is
    /// true.
    #[must_use]
    pub fn prune_missing(self, prune: bool) -> Self {
        Self { prune_missing: prune, ..self }
    }

    /// Where the store is.
    pub fn location(&self) -> &StoreLocation {
        &self.location
    }

    /// The files and folders that are kept up to date, and how folders are walked.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Whether a change of the file or folder at the canonical `path` may change the collection: not
    /// that of a file of its store, nor of one that is ignored.
    ///
    /// # Errors
    ///
    /// If a glob cannot be parsed, or the store fails.
    pub fn concerns(&self, path: &Path) -> Result<bool> {
        if self.location.is_own(path) {
            return Ok(false);
        }
        if path.symlink_metadata().is_err() {
            let names: Vec<String> = self.location.document_name(path).into_iter().collect();
            return Ok(!self.store.entries(&self.collection.name, &names)?.is_empty());
        }
        for (root, options) in self.roots.iter().filter(|(root, _)| path.starts_with(root)) {
            if is_walked(root, path, options)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings the collection up to date, until `stop` is set. `progress` is called with the number
    /// of bytes to read.
    ///
    /// # Errors
    ///
    /// If a glob cannot be parsed, or the store or the engine fails. Batches that were written
    /// before that are kept.
    pub fn update<P: IndexProgress>(
        &mut self,
        extractor: &(dyn Extractor + Sync),
        stop: &AtomicBool,
        progress: impl FnOnce(u64) -> P,
    ) -> Result<IndexSummary> {
        let name = self.collection.name.clone();
        let entries = self.store.list(&name)?;
        let mut mounts = recorded_mounts(&*self.store, &name)?;
        mounts.append(&mut self.mounts);
        let mut plan = IndexPlan::new(&self.location, &self.roots, &mounts, entries)?;
        if self.prune_missing {
            plan.prune_unreachable(&self.store.list(&name)?);
            self.forget_missing_roots()?;
        }
        record_mounts(&mut *self.store, &name, &plan.covered, &plan.mounts())?;
        let (store, collection) = (&self.location.store, &self.collection);
        let run = IndexRun { store, collection, extractor, stop };
        let mut progress = progress(plan.bytes());
        let summary = run.execute(plan, &mut progress)?;
        self.forget_left_out_roots(&summary)?;
        Ok(summary)
    }

    /// Adds a root, unless there is one already. What is above it may be indexed with other
    /// options, or ignore it.
    pub(crate) fn add_root(&mut self, root: PathBuf, options: WalkOptions) -> Result<()> {
        let is_same = |(known, _): &Root| *known == root;
        let name = self.location.document_name(&root);
        if let Some(name) = name.filter(|_| !self.roots.iter().any(is_same)) {
            let json = walk_options_json(&options);
            self.store.require_folders()?.set_root(&self.collection.name, &name, &json)?;
            self.roots.push((root, options));
        }
        Ok(())
    }

    fn forget_missing_roots(&mut self) -> Result<()> {
        for (root, _) in self.roots.extract_if(.., |(root, _)| !root.exists()) {
            if let Some(name) = self.location.document_name(&root) {
                self.store.require_folders()?.remove_root(&self.collection.name, &name)?;
            }
        }
        Ok(())
    }

    /// A file that was named for the first time and is left out does not become a root.
    fn forget_left_out_roots(&mut self, summary: &IndexSummary) -> Result<()> {
        for file in summary.left_out.iter().filter(|file| file.is_named) {
            let name = self.location.document_name(&file.path);
            if let Some(name) = name.filter(|name| self.new_roots.contains(name)) {
                let collection = &self.collection.name;
                self.store.require_folders()?.remove_root(collection, &name)?;
                self.store.remove(collection, &[name])?;
            }
        }
        Ok(())
    }
}
