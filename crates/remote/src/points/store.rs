//! The store in a vector database.

use super::point::{self, Point, Record};
use super::{BATCH, PATHS, PointEngine, PointFilter, TableKind, names};
use crate::retry::{CallError, with_retries};
use kokeshi_store::backend::{latest, now};
use kokeshi_store::{
    Collection, Counts, Document, Entry, Error, Hit, IndexedFolders, Lock, Provenance, Query,
    Result, Source, Storage, Store,
};
use std::cell::RefCell;
use std::collections::HashMap;

/// A store in a vector database.
pub(super) struct PointStore {
    pub(super) engine: Box<dyn PointEngine>,
    /// The collection that is being listed page by page, with its documents by path: engines order
    /// points differently, and cannot return those after a path.
    listed: RefCell<Option<(String, Vec<Entry>)>>,
}

impl PointStore {
    pub(super) fn new(engine: impl PointEngine + 'static) -> Self {
        Self { engine: Box::new(engine), listed: RefCell::default() }
    }

    pub(super) fn call<T>(
        &self,
        mut work: impl FnMut(&dyn PointEngine) -> Result<T, CallError>,
    ) -> Result<T> {
        with_retries(&self.engine.address(), || work(&*self.engine))
    }

    fn put(&self, table: &str, points: &[Point]) -> Result<()> {
        points.chunks(BATCH).try_for_each(|points| self.call(|engine| engine.put(table, points)))
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<()> {
        paths.chunks(PATHS).try_for_each(|paths| self.call(|engine| engine.delete(table, paths)))
    }

    /// Calls `each` with all matching points, page by page.
    pub(super) fn scan(
        &self,
        table: &str,
        filter: &PointFilter,
        vectors: bool,
        mut each: impl FnMut(Vec<Point>),
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.call(|engine| engine.page(table, filter, vectors, after.as_deref()))?;
            each(page.points);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn records(&self, collection: &str, filter: &PointFilter) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.scan(&names::records(collection), filter, false, |points| {
            records.extend(points.iter().filter_map(Record::of));
        })?;
        Ok(records)
    }

    fn put_records(&self, collection: &str, records: &[Record]) -> Result<()> {
        let points: Vec<Point> = records.iter().map(Record::to_point).collect();
        self.put(&names::records(collection), &points)
    }

    /// The records of documents at `paths`.
    fn entries_of(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for paths in paths.chunks(PATHS) {
            let paths: Vec<String> = paths.iter().map(|path| Record::document_path(path)).collect();
            found.extend(self.records(collection, &PointFilter::paths(&paths))?);
        }
        Ok(found.into_iter().filter_map(Record::entry).collect())
    }

    /// The collection whose own name this is, without its aliases.
    fn own(&self, name: &str) -> Result<Option<Collection>> {
        let records = self.records(name, &PointFilter::path(Record::COLLECTION.to_owned()))?;
        Ok(records.into_iter().find_map(|record| match record {
            Record::Collection { provenance, created } => {
                let (name, aliases) = (name.to_owned(), Vec::new());
                // An engine may have only names for tables; no call gives one to another table.
                let id = format!("{name}@{created}");
                Some(Collection { id, name, provenance, created, aliases })
            }
            _ => None,
        }))
    }

    /// Aliases, by the collections that they point to.
    fn aliases(&self) -> Result<HashMap<String, Vec<String>>> {
        let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
        for (alias, table) in self.call(|engine| engine.aliases())? {
            if let (Some(alias), Some(name)) = (names::decode(&alias), names::decode(&table)) {
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
        let found = self.own(&name)?;
        Ok(found.map(|found| Collection {
            aliases: aliases.remove(&name).unwrap_or_default(),
            ..found
        }))
    }

    fn require(&self, name: &str) -> Result<Collection> {
        if let Some(found) = self.find(name)? {
            return Ok(found);
        }
        let all = self.collections()?;
        let names = all.iter().map(|found| found.name.as_str());
        Err(Error::unknown_collection(name, self.name(), names))
    }
}

impl Source for PointStore {
    fn name(&self) -> String {
        self.engine.address()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        self.find(name)
    }

    /// Changes made between two pages become visible when the first page is read again.
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
        let found = self.require(collection)?;
        self.entries_of(&found.name, paths)
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let found = self.require(collection)?;
        let (entries, mut points) = (self.entries_of(&found.name, paths)?, Vec::new());
        for paths in paths.chunks(PATHS) {
            let filter = PointFilter::paths(paths);
            self.scan(&names::chunks(&found.name), &filter, true, |page| points.extend(page))?;
        }
        Ok(point::documents(entries, points))
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        let found = self.require(collection)?;
        let documents = self.list(&found.name)?.len();
        let chunks = self.call(|engine| engine.count(&names::chunks(&found.name)))?;
        Ok(Counts { documents, chunks })
    }
}

impl Store for PointStore {
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
            let found = self.own(&name)?;
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
            return Err(Error::NameTaken { name: name.to_owned(), kind, store: self.name() });
        }
        let (chunks, records) = (names::chunks(name), names::records(name));
        // Tables that a killed process left behind belong to no collection.
        for table in [&chunks, &records] {
            self.call(|engine| engine.remove(table))?;
        }
        self.call(|engine| engine.create(&chunks, TableKind::Chunks(provenance)))?;
        self.call(|engine| engine.create(&records, TableKind::Records))?;
        let record = Record::Collection { provenance: provenance.clone(), created: now() };
        self.put_records(name, &[record])
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let found = self.require(name)?;
        for alias in &found.aliases {
            self.call(|engine| engine.remove_alias(&names::chunks(alias)))?;
        }
        // Without its records, the collection no longer exists for readers.
        self.call(|engine| engine.remove(&names::records(&found.name)))?;
        self.call(|engine| engine.remove(&names::chunks(&found.name)))
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        let target = self.require(collection)?.name;
        if self.own(alias)?.is_some() {
            let (name, store) = (alias.to_owned(), self.name());
            return Err(Error::NameTaken { name, kind: "collection", store });
        }
        let (alias, table) = (names::chunks(alias), names::chunks(&target));
        self.call(|engine| engine.set_alias(&alias, &table))
    }

    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        let found = self.require(collection)?;
        found.provenance.check_widths(documents)?;
        let documents = latest(documents);
        let pending: Vec<Record> =
            documents.iter().map(|document| Record::of_document(document, false)).collect();
        self.put_records(&found.name, &pending)?;
        let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
        let table = names::chunks(&found.name);
        self.delete(&table, &paths)?;
        for documents in documents.chunks(BATCH) {
            let points: Vec<Point> =
                documents.iter().flat_map(|document| point::chunks(document, 0)).collect();
            self.put(&table, &points)?;
        }
        let written: Vec<Record> =
            documents.iter().map(|document| Record::of_document(document, true)).collect();
        self.put_records(&found.name, &written)
    }

    /// Points with the same ids are replaced, so a repeated call writes nothing twice.
    fn append(&mut self, collection: &str, document: &Document, first: usize) -> Result<()> {
        let found = self.require(collection)?;
        found.provenance.check_widths(std::slice::from_ref(document))?;
        let points: Vec<Point> = point::chunks(document, first).collect();
        self.put(&names::chunks(&found.name), &points)?;
        let is_whole = !document.hash.is_empty();
        let mut record = Record::of_document(document, is_whole);
        if let Record::Document(entry) = &mut record {
            entry.chunks += first;
        }
        self.put_records(&found.name, &[record])
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        let found = self.require(collection)?;
        let existing = self.entries_of(&found.name, paths)?.len();
        self.delete(&names::chunks(&found.name), paths)?;
        let records: Vec<String> = paths.iter().map(|path| Record::document_path(path)).collect();
        self.delete(&names::records(&found.name), &records)?;
        Ok(existing)
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        let found = self.require(collection)?;
        found.provenance.check_width(query.vector.len())?;
        self.search_in(&found, query)
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        let found = self.require(collection)?;
        let records = self.records(&found.name, &PointFilter::term(Record::DOCUMENT))?;
        let mut entries: Vec<Entry> = records.into_iter().filter_map(Record::entry).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn switch_calls(&self, name: &str, collection: &str, _kept: &str) -> Result<Vec<String>> {
        Ok(self.engine.alias_calls(&names::chunks(name), &names::chunks(collection)))
    }

    fn folders(&self) -> Option<&dyn IndexedFolders> {
        Some(self)
    }

    fn folders_mut(&mut self) -> Option<&mut dyn IndexedFolders> {
        Some(self)
    }
}

impl IndexedFolders for PointStore {
    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()> {
        let found = self.require(collection)?;
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
        let found = self.require(collection)?;
        let records = self.records(&found.name, &PointFilter::term(Record::ROOT))?;
        let mut roots: Vec<_> = records.into_iter().filter_map(Record::root).collect();
        roots.sort();
        Ok(roots)
    }

    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()> {
        let found = self.require(collection)?;
        let root = Record::Root { path: path.to_owned(), options: options.to_owned() };
        self.put_records(&found.name, &[root])
    }

    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool> {
        let found = self.require(collection)?;
        let filter = PointFilter::path(Record::root_path(path));
        let existed = !self.records(&found.name, &filter)?.is_empty();
        self.delete(&names::records(&found.name), &[Record::root_path(path)])?;
        Ok(existed)
    }
}
