//! Engines that hold points, each a vector with a few fields, and have no transactions.
//!
//! A collection is two tables of points: its chunks, and records of what it is, of its roots and of its
//! documents. A document's record is written twice: before its chunks, without a hash, and after them.
//! So whoever is killed in between leaves a document that looks changed, and the next run writes it
//! again, to the same ids.

mod chroma;
mod foreign;
mod http;
mod milvus;
mod names;
mod qdrant;
mod row;
mod search;

pub(crate) use chroma::Chroma;
pub(crate) use foreign::{Twin, foreign, seen};
pub(crate) use milvus::Milvus;
pub(crate) use qdrant::Qdrant;

use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::record::{
    Collection, Counts, Document, Entry, Hit, Lock, Query, Source, Store, latest, now,
};
use crate::retry::{Fault, repeated};
use crate::storage::Storage;
use row::{Record, Row};
use std::cell::RefCell;
use std::collections::HashMap;

/// Points that are written or read with one call.
const BATCH: usize = 256;
/// Paths of one condition, at most.
const PATHS: usize = 200;

/// Which points count.
#[derive(Clone, Debug, Default)]
struct Only {
    /// Those with one of these paths; `None` is all.
    paths: Option<Vec<String>>,
    /// Those with all of these terms.
    terms: Vec<String>,
}

impl Only {
    fn path(path: String) -> Self {
        Self { paths: Some(vec![path]), terms: Vec::new() }
    }

    fn paths(paths: &[String]) -> Self {
        Self { paths: Some(paths.to_vec()), terms: Vec::new() }
    }
}

/// What a table of points is for.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    /// Chunks, with vectors of this kind.
    Chunks(&'a Provenance),
    /// Records, with vectors that mean nothing.
    Records,
}

/// A search.
struct Near<'a> {
    vector: &'a [f32],
    limit: usize,
    /// Compute all cosines, if the engine can do that.
    exact: bool,
    /// What the table was made for.
    made: &'a Provenance,
}

/// A part of the points that count, and where the next one begins.
struct Page {
    rows: Vec<Row>,
    next: Option<String>,
}

/// What an engine can do. Each call is tried once; a table that is not there is empty.
trait Engine: Send {
    /// Its address, without a password.
    fn address(&self) -> String;

    /// How it can store vectors, and what it can make short lists of.
    fn storages(&self) -> (&'static [Storage], &'static [Storage]);

    /// Names of all tables.
    fn tables(&self) -> Result<Vec<String>, Fault>;

    /// Makes a table, unless it is there.
    fn create(&self, table: &str, kind: Kind<'_>) -> Result<(), Fault>;

    /// Removes a table, if it is there.
    fn remove(&self, table: &str) -> Result<(), Fault>;

    /// Writes points over those with the same ids.
    fn put(&self, table: &str, rows: &[Row]) -> Result<(), Fault>;

    /// Removes the points with one of these paths.
    fn delete(&self, table: &str, paths: &[String]) -> Result<(), Fault>;

    /// Number of points.
    fn count(&self, table: &str) -> Result<usize, Fault>;

    /// Up to [`BATCH`] points from `after` on, with their vectors if `vectors` says so.
    fn page(
        &self,
        table: &str,
        only: &Only,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, Fault>;

    /// The nearest points with their cosines, best first.
    fn nearest(&self, table: &str, near: &Near<'_>, only: &Only) -> Result<Vec<(f32, Row)>, Fault>;

    /// Whether [`Self::nearest`] can be exact.
    fn is_exact(&self) -> bool;

    /// Aliases and the tables that they lead to.
    fn aliases(&self) -> Result<Vec<(String, String)>, Fault>;

    /// Lets an alias lead to a table, in one step.
    fn set_alias(&self, alias: &str, table: &str) -> Result<(), Fault>;

    /// What [`Self::set_alias`] sends, for people.
    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String>;

    /// Removes an alias.
    fn remove_alias(&self, alias: &str) -> Result<(), Fault>;
}

/// A store in an engine of points.
pub(crate) struct Points {
    engine: Box<dyn Engine>,
    /// The collection that is being listed page by page, with its documents by path: engines have an
    /// order of their own, in which they cannot be asked for the one after a path.
    listed: RefCell<Option<(String, Vec<Entry>)>>,
}

impl Points {
    fn new(engine: impl Engine + 'static) -> Self {
        Self { engine: Box::new(engine), listed: RefCell::default() }
    }

    fn call<T>(&self, mut work: impl FnMut(&dyn Engine) -> Result<T, Fault>) -> Result<T> {
        repeated(&self.engine.address(), |_| work(&*self.engine))
    }

    fn put(&self, table: &str, rows: &[Row]) -> Result<()> {
        rows.chunks(BATCH).try_for_each(|rows| self.call(|engine| engine.put(table, rows)))
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<()> {
        paths.chunks(PATHS).try_for_each(|paths| self.call(|engine| engine.delete(table, paths)))
    }

    /// Gives all points that count to `each`, page by page.
    fn scan(
        &self,
        table: &str,
        only: &Only,
        vectors: bool,
        mut each: impl FnMut(Vec<Row>),
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.call(|engine| engine.page(table, only, vectors, after.as_deref()))?;
            each(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn records(&self, collection: &str, only: &Only) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.scan(&names::records(collection), only, false, |rows| {
            records.extend(rows.iter().filter_map(Record::of));
        })?;
        Ok(records)
    }

    fn put_records(&self, collection: &str, records: &[Record]) -> Result<()> {
        let rows: Vec<Row> = records.iter().map(Record::row).collect();
        self.put(&names::records(collection), &rows)
    }

    /// The records of documents at `paths`.
    fn entries_of(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for paths in paths.chunks(PATHS) {
            let paths: Vec<String> = paths.iter().map(|path| Record::document_path(path)).collect();
            found.extend(self.records(collection, &Only::paths(&paths))?);
        }
        Ok(found.into_iter().filter_map(Record::entry).collect())
    }

    /// The collection of exactly this name, without its aliases.
    fn made(&self, name: &str) -> Result<Option<Collection>> {
        let records = self.records(name, &Only::path(Record::COLLECTION.to_owned()))?;
        Ok(records.into_iter().find_map(|record| match record {
            Record::Collection { provenance, created } => {
                Some(Collection { name: name.to_owned(), provenance, created, aliases: Vec::new() })
            }
            _ => None,
        }))
    }

    /// Aliases by the collections that they lead to.
    fn aliases(&self) -> Result<HashMap<String, Vec<String>>> {
        let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
        for (alias, table) in self.call(|engine| engine.aliases())? {
            if let (Some(alias), Some(name)) = (names::plain(&alias), names::plain(&table)) {
                aliases.entry(name).or_default().push(alias);
            }
        }
        aliases.values_mut().for_each(|aliases| aliases.sort());
        Ok(aliases)
    }

    fn find(&self, name: &str) -> Result<Option<Collection>> {
        let tables = self.call(|engine| engine.tables())?;
        let mut aliases = self.aliases()?;
        let target = aliases.iter().find(|(_, all)| all.iter().any(|alias| alias == name));
        let name = match tables.contains(&names::records(name)) {
            true => name.to_owned(),
            false => match target {
                Some((target, _)) => target.clone(),
                None => return Ok(None),
            },
        };
        let found = self.made(&name)?;
        Ok(found.map(|found| Collection {
            aliases: aliases.remove(&name).unwrap_or_default(),
            ..found
        }))
    }

    fn known(&self, name: &str) -> Result<Collection> {
        if let Some(found) = self.find(name)? {
            return Ok(found);
        }
        let all = self.collections()?;
        let names = all.iter().map(|found| found.name.as_str());
        Err(Error::unknown_collection(name, self.name(), names))
    }
}

impl Source for Points {
    fn name(&self) -> String {
        self.engine.address()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        self.find(name)
    }

    /// What is written while pages are read is seen when the first page is read again.
    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        let mut listed = self.listed.borrow_mut();
        let entries = match listed.take() {
            Some((name, entries)) if name == collection && !after.is_empty() => entries,
            _ => self.list(collection)?,
        };
        let start = entries.partition_point(|entry| entry.path.as_str() <= after);
        let page: Vec<Entry> = entries[start..].iter().take(limit).cloned().collect();
        if !page.is_empty() {
            *listed = Some((collection.to_owned(), entries));
        }
        Ok(page)
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let found = self.known(collection)?;
        self.entries_of(&found.name, paths)
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let found = self.known(collection)?;
        let (entries, mut points) = (self.entries_of(&found.name, paths)?, Vec::new());
        for paths in paths.chunks(PATHS) {
            let only = Only::paths(paths);
            self.scan(&names::chunks(&found.name), &only, true, |rows| points.extend(rows))?;
        }
        Ok(row::documents(entries, points))
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        let found = self.known(collection)?;
        let documents = self.list(&found.name)?.len();
        let chunks = self.call(|engine| engine.count(&names::chunks(&found.name)))?;
        Ok(Counts { documents, chunks })
    }
}

impl Store for Points {
    fn storages(&self) -> &'static [Storage] {
        self.engine.storages().0
    }

    fn lock(&self) -> Result<Lock> {
        Ok(Lock::holding(()))
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        let mut aliases = self.aliases()?;
        let tables = self.call(|engine| engine.tables())?;
        let mut all = Vec::new();
        for name in tables.iter().filter_map(|table| names::of_records(table)) {
            let found = self.made(&name)?;
            all.extend(found.map(|found| Collection {
                aliases: aliases.remove(&name).unwrap_or_default(),
                ..found
            }));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        let (storages, codes) = self.engine.storages();
        provenance.check_storable(&self.name(), storages, codes)?;
        if let Some(found) = self.find(name)? {
            let kind = if found.name == name { "collection" } else { "alias" };
            return Err(Error::Taken { name: name.to_owned(), kind, store: self.name() });
        }
        let (chunks, records) = (names::chunks(name), names::records(name));
        // What a process that was killed here has left is nobody's.
        for table in [&chunks, &records] {
            self.call(|engine| engine.remove(table))?;
        }
        self.call(|engine| engine.create(&chunks, Kind::Chunks(provenance)))?;
        self.call(|engine| engine.create(&records, Kind::Records))?;
        let made = Record::Collection { provenance: provenance.clone(), created: now() };
        self.put_records(name, &[made])
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let found = self.known(name)?;
        for alias in &found.aliases {
            self.call(|engine| engine.remove_alias(&names::chunks(alias)))?;
        }
        // Once the records are gone, so is the collection, for all readers.
        self.call(|engine| engine.remove(&names::records(&found.name)))?;
        self.call(|engine| engine.remove(&names::chunks(&found.name)))
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        let target = self.known(collection)?.name;
        if self.made(alias)?.is_some() {
            let (name, store) = (alias.to_owned(), self.name());
            return Err(Error::Taken { name, kind: "collection", store });
        }
        let (alias, table) = (names::chunks(alias), names::chunks(&target));
        self.call(|engine| engine.set_alias(&alias, &table))
    }

    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        let found = self.known(collection)?;
        found.provenance.check_widths(documents)?;
        let documents = latest(documents);
        let pending: Vec<Record> =
            documents.iter().map(|document| Record::of_document(document, false)).collect();
        self.put_records(&found.name, &pending)?;
        let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
        let table = names::chunks(&found.name);
        self.delete(&table, &paths)?;
        for documents in documents.chunks(BATCH) {
            let rows: Vec<Row> =
                documents.iter().flat_map(|document| row::chunks(document)).collect();
            self.put(&table, &rows)?;
        }
        let written: Vec<Record> =
            documents.iter().map(|document| Record::of_document(document, true)).collect();
        self.put_records(&found.name, &written)
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        let found = self.known(collection)?;
        let there = self.entries_of(&found.name, paths)?.len();
        self.delete(&names::chunks(&found.name), paths)?;
        let records: Vec<String> = paths.iter().map(|path| Record::document_path(path)).collect();
        self.delete(&names::records(&found.name), &records)?;
        Ok(there)
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        let found = self.known(collection)?;
        found.provenance.check_width(query.vector.len())?;
        self.search_in(&found, query)
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        let found = self.known(collection)?;
        let only = Only { paths: None, terms: vec![Record::DOCUMENT.to_owned()] };
        let records = self.records(&found.name, &only)?;
        let mut entries: Vec<Entry> = records.into_iter().filter_map(Record::entry).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn switch_calls(&self, name: &str, collection: &str, _kept: &str) -> Result<Vec<String>> {
        Ok(self.engine.alias_calls(&names::chunks(name), &names::chunks(collection)))
    }

    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()> {
        let found = self.known(collection)?;
        let paths: Vec<String> = seen.iter().map(|(path, _, _)| path.clone()).collect();
        let mut entries: HashMap<String, Entry> = HashMap::new();
        for entry in self.entries_of(&found.name, &paths)? {
            entries.insert(entry.path.clone(), entry);
        }
        let records = seen.iter().filter_map(|(path, modified, size)| {
            let entry = entries.remove(path)?;
            Some(Record::Document(Entry { modified: *modified, size: *size, ..entry }))
        });
        self.put_records(&found.name, &records.collect::<Vec<_>>())
    }

    fn roots(&self, collection: &str) -> Result<Vec<(String, String)>> {
        let found = self.known(collection)?;
        let only = Only { paths: None, terms: vec![Record::ROOT.to_owned()] };
        let records = self.records(&found.name, &only)?;
        let mut roots: Vec<_> = records.into_iter().filter_map(Record::root).collect();
        roots.sort();
        Ok(roots)
    }

    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()> {
        let found = self.known(collection)?;
        let root = Record::Root { path: path.to_owned(), options: options.to_owned() };
        self.put_records(&found.name, &[root])
    }

    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool> {
        let found = self.known(collection)?;
        let only = Only::path(Record::root_path(path));
        let was = !self.records(&found.name, &only)?.is_empty();
        self.delete(&names::records(&found.name), &[Record::root_path(path)])?;
        Ok(was)
    }
}
