//! The store that every build has: one SQLite file.

mod ann;
mod best;
mod blocks;
mod check;
mod collections;
mod documents;
mod folders;
mod matrix;
pub(crate) mod open;
mod readers;
mod replacement;
mod search;
#[cfg(test)]
mod tests;

pub use ann::{GraphCommand, answer_graph_requests, read_graphs_with};

use crate::ann::{AnnBuild, AnnIndex, OnBuildStep};
use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::record::{Collection, Counts, Document, Entry, Hit, Query};
use crate::replacement::Replacement;
use crate::storage::Storage;
use crate::traits::{IndexedFolders, Lock, Source, Store};
use kokeshi_kernels::Level;
use kokeshi_kernels::threads::Threads;
use rusqlite::Connection;
use search::ScanCache;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A store in one SQLite file, which any number of processes may read while one writes.
pub struct Sqlite {
    path: PathBuf,
    connection: Connection,
    access: open::Access,
    threads: usize,
    level: Level,
    /// What searches cached, by collection and table.
    scans: RefCell<HashMap<(i64, blocks::BlockTable), ScanCache>>,
    /// The ANN index that was opened last, by collection.
    graphs: RefCell<HashMap<i64, ann::CachedGraph>>,
}

impl Sqlite {
    /// Opens the store at `path`. One that may not be changed can be read and searched.
    ///
    /// # Errors
    ///
    /// If it does not exist, is not a store, was written by a newer version, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        Ok(Self::with(path, open::open(path)?))
    }

    /// Opens the store at `path`, or creates an empty one with its parent folders.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and if it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            let failed = |source| Error::Io {
                action: "create the folder of",
                path: path.to_owned(),
                source,
            };
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(Self::with(path, (open::create(path)?, open::Access::Write)))
    }

    fn with(path: &Path, (connection, access): (Connection, open::Access)) -> Self {
        Self {
            path: path.to_owned(),
            connection,
            access,
            threads: Threads::available(),
            level: Level::best(),
            scans: RefCell::default(),
            graphs: RefCell::default(),
        }
    }

    /// Limits search to `threads` threads and kernels of `level`; the default is all threads and
    /// the best level.
    #[must_use]
    pub fn with_compute(mut self, threads: usize, level: Level) -> Self {
        self.threads = threads.max(1);
        self.level = level;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves recent writes from the write-ahead log into the main file and updates statistics. Call
    /// it after a series of changes.
    ///
    /// # Errors
    ///
    /// If SQLite fails.
    pub fn checkpoint(&self) -> Result<()> {
        let fail = Error::sqlite(&self.path);
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(fail)?;
        self.connection.execute_batch("PRAGMA optimize").map_err(fail)
    }

    /// Every inconsistency in the file; none, unless it was damaged by other means.
    ///
    /// # Errors
    ///
    /// If SQLite fails.
    pub fn check(&self) -> Result<Vec<String>> {
        check::inconsistencies(&self.connection).map_err(Error::sqlite(&self.path))
    }

    /// Runs `work` in a write transaction, of which only one runs at a time.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let fail = Error::sqlite(&self.path);
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
        let result = work(&self.connection).and_then(|value| {
            self.connection.execute_batch("COMMIT").map(|()| value).map_err(fail)
        });
        if result.is_err() && !self.connection.is_autocommit() {
            // If this fails, the transaction ends with the connection.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        result
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source for Sqlite {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        let found = collections::find(&self.connection, name);
        Ok(found.map_err(Error::sqlite(&self.path))?.map(|(_, collection)| collection))
    }

    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        let (id, _) = self.require(collection)?;
        let entries = documents::list(&self.connection, id, after, limit);
        entries.map_err(Error::sqlite(&self.path))
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let (id, _) = self.require(collection)?;
        documents::entries(&self.connection, id, paths).map_err(Error::sqlite(&self.path))
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let fail = Error::sqlite(&self.path);
        // All reads see the same state of the file.
        let transaction = self.connection.unchecked_transaction().map_err(fail)?;
        let (id, found) = self.require(collection)?;
        let documents = documents::documents(&transaction, id, &found.provenance, paths);
        documents.map_err(fail)
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        let (id, _) = self.require(collection)?;
        documents::count(&self.connection, id).map_err(Error::sqlite(&self.path))
    }
}

impl Store for Sqlite {
    fn storages(&self) -> &'static [Storage] {
        &[Storage::F16, Storage::F32, Storage::Int8, Storage::Bits]
    }

    fn lock(&self) -> Result<Lock> {
        Ok(Lock::holding(open::lock(&self.path)?))
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        collections::all(&self.connection).map_err(Error::sqlite(&self.path))
    }

    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        self.write(|connection| {
            self.refuse_taken(name)?;
            collections::insert(connection, name, provenance).map_err(Error::sqlite(&self.path))
        })
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let id = self.write(|connection| {
            let (id, _) = self.require(name)?;
            self.remove_rows(connection, id)?;
            Ok(id)
        })?;
        self.remove_caches(id);
        Ok(())
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        self.write(|connection| {
            let (id, _) = self.require(collection)?;
            self.refuse_own_name(connection, alias)?;
            collections::set_alias(connection, alias, id).map_err(Error::sqlite(&self.path))
        })
    }

    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        self.write(|connection| {
            let (id, found) = self.require(collection)?;
            found.provenance.check_widths(documents)?;
            let written = documents::upsert(connection, id, &found.provenance, documents);
            written.map_err(Error::sqlite(&self.path))
        })
    }

    fn append(&mut self, collection: &str, document: &Document, first: usize) -> Result<()> {
        self.write(|connection| {
            let (id, found) = self.require(collection)?;
            found.provenance.check_widths(std::slice::from_ref(document))?;
            let piece = (document, first);
            let written = documents::append(connection, id, &found.provenance, piece);
            written.map_err(Error::sqlite(&self.path))
        })
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        self.write(|connection| {
            let (id, _) = self.require(collection)?;
            documents::remove(connection, id, paths).map_err(Error::sqlite(&self.path))
        })
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        self.search_in(collection, query)
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        let (id, _) = self.require(collection)?;
        let all = documents::list(&self.connection, id, "", usize::MAX);
        all.map_err(Error::sqlite(&self.path))
    }

    fn insert(&mut self, collection: &str, documents: &[Document]) -> Result<usize> {
        self.write(|connection| {
            let (id, found) = self.require(collection)?;
            found.provenance.check_widths(documents)?;
            let written = documents::insert(connection, id, &found.provenance, documents);
            written.map_err(Error::sqlite(&self.path))
        })
    }

    fn find_id(&self, id: &str) -> Result<Option<Collection>> {
        let found =
            collections::find_id(&self.connection, id).map_err(Error::sqlite(&self.path))?;
        Ok(found.map(|(_, found)| found))
    }

    fn switch(&mut self, replacement: &Replacement<'_>) -> Result<()> {
        self.switch_to_new(replacement)
    }

    fn switch_back(&mut self, replacement: &Replacement<'_>) -> Result<Collection> {
        self.switch_to_old(replacement)
    }

    fn remove_replaced(&mut self, replacement: &Replacement<'_>) -> Result<Option<String>> {
        self.remove_old(replacement)
    }

    fn switch_calls(&self, name: &str, collection: &str, kept: &str) -> Result<Vec<String>> {
        let is_own_name = self.collection(name)?.is_some_and(|found| found.name == name);
        let [name, collection, kept] =
            [name, collection, kept].map(|text| text.replace('\'', "''"));
        let rename = format!("UPDATE collections SET name = '{kept}' WHERE name = '{name}'");
        let alias = format!(
            "INSERT INTO aliases (alias, collection) VALUES ('{name}', (SELECT id FROM \
             collections WHERE name = '{collection}')) ON CONFLICT (alias) DO UPDATE \
             SET collection = excluded.collection"
        );
        let mut calls = vec!["BEGIN IMMEDIATE".to_owned()];
        calls.extend(is_own_name.then_some(rename));
        calls.extend([alias, "COMMIT".to_owned()]);
        Ok(calls)
    }

    fn finish(&mut self, _collection: &str) -> Result<()> {
        self.checkpoint()
    }

    fn ann(&self, collection: &str) -> Result<Option<AnnIndex>> {
        self.ann_index(collection)
    }

    fn build_ann(&mut self, collection: &str, on_step: &OnBuildStep<'_>) -> Result<AnnBuild> {
        self.build_ann_index(collection, on_step)
    }

    fn folders(&self) -> Option<&dyn IndexedFolders> {
        Some(self)
    }

    fn folders_mut(&mut self) -> Option<&mut dyn IndexedFolders> {
        Some(self)
    }
}

impl Sqlite {
    /// The collection that `name` resolves to, with its id.
    fn require(&self, name: &str) -> Result<(i64, Collection)> {
        let fail = Error::sqlite(&self.path);
        if let Some(found) = collections::find(&self.connection, name).map_err(fail)? {
            return Ok(found);
        }
        let all = collections::all(&self.connection).map_err(fail)?;
        let names = all.iter().map(|found| found.name.as_str());
        Err(Error::unknown_collection(name, self.name(), names))
    }

    /// Removes a collection, in the transaction of `connection`.
    fn remove_rows(&self, connection: &Connection, id: i64) -> Result<()> {
        let fail = Error::sqlite(&self.path);
        documents::remove_words(connection, id).map_err(fail)?;
        blocks::remove_all(connection, id).map_err(fail)?;
        collections::delete(connection, id).map_err(fail)
    }

    /// Removes what is kept outside the database of a collection that has been removed.
    fn remove_caches(&self, id: i64) {
        self.scans.borrow_mut().retain(|&(collection, _), _| collection != id);
        self.graphs.borrow_mut().remove(&id);
        ann::remove_files(&self.path, id);
    }

    fn refuse_own_name(&self, connection: &Connection, alias: &str) -> Result<()> {
        match collections::exists(connection, alias).map_err(Error::sqlite(&self.path))? {
            true => {
                let (name, store) = (alias.to_owned(), self.name());
                Err(Error::NameTaken { name, kind: "collection", store })
            }
            false => Ok(()),
        }
    }

    fn refuse_taken(&self, name: &str) -> Result<()> {
        let found = collections::find(&self.connection, name).map_err(Error::sqlite(&self.path))?;
        found.map_or(Ok(()), |(_, found)| {
            let kind = if found.name == name { "collection" } else { "alias" };
            Err(Error::NameTaken { name: name.to_owned(), kind, store: self.name() })
        })
    }
}
