//! A collection of another program and a copy of it with other vectors, beside each other.
//!
//! The copy is made as the old one is, and holds the same points, with their ids, fields and other
//! vectors: programs that read and write one can do the same with the other. A table of ours says what
//! made its vectors. Nothing says of a point when it was written: two points are in the same state if
//! their texts and fields are equal.

use super::{Look, Reading, Which, connect, key};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::points::row::Record;
use crate::points::{BATCH, Kind, Only, PATHS, names};
use crate::provenance::Provenance;
use crate::record::{
    Chunk, Collection, Counts, Document, Entry, Hit, Lock, Part, Place, Query, Source, Store,
    latest, now,
};
use crate::rows::{Row, Rows};
use crate::storage::Storage;
use kokeshi_kernels::cosine;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

/// Points asked for when conditions remain that are judged here, for each hit wanted.
const POINTS_A_HIT: usize = 8;

/// Both collections of a migration in an engine of points.
pub(crate) struct Twin {
    engine: Box<dyn super::Foreign>,
    fields: Fields,
    server: PathBuf,
    /// The collection that is copied, by its own name.
    old: String,
    /// The collection that is being listed page by page.
    listed: RefCell<Option<(String, Rows)>>,
}

impl Twin {
    /// Connects to copy the collection that `from` leads to.
    ///
    /// # Errors
    ///
    /// If the address is none of an engine of points, or the server does not answer.
    pub(crate) fn open(url: &Url, fields: &Fields, from: &str) -> Result<Self> {
        let mut twin = Self {
            engine: connect(url)?,
            fields: fields.clone(),
            server: PathBuf::from(url.to_string()),
            old: from.to_owned(),
            listed: RefCell::default(),
        };
        let led = twin.reading().led(from)?;
        twin.old = led;
        Ok(twin)
    }

    fn reading(&self) -> Reading<'_> {
        Reading { engine: &*self.engine, fields: &self.fields, server: &self.server }
    }

    /// The name of the collection that `name` leads to.
    fn known(&self, name: &str) -> Result<Collection> {
        self.collection(name)?.ok_or_else(|| self.reading().unknown(name))
    }

    /// What is recorded of a collection that was made here, and when it was: at 0, if it is being made.
    fn recorded(&self, collection: &str) -> Result<Option<(Provenance, i64)>> {
        let table = names::twin(collection);
        let page =
            self.reading().call(|engine| engine.page(&table, &Only::default(), false, None))?;
        Ok(page.rows.iter().find_map(|row| match Record::of(row) {
            Some(Record::Collection { provenance, created }) => Some((provenance, created)),
            _ => None,
        }))
    }

    /// The points of the documents at `paths`.
    fn found(&self, collection: &str, paths: &[String], vectors: bool) -> Result<Rows> {
        let reading = self.reading();
        let fields = &self.fields;
        Rows::filled(&self.server, collection, fields, |each| {
            for paths in paths.chunks(PATHS) {
                let look = |which| Look { collection, fields, which, vectors };
                if let Some(document) = &fields.document {
                    reading.each(&look(Which::Having(document, paths)), each)?;
                }
                // A point that says nothing of a document is one.
                reading.each(&look(Which::Ids(paths)), &mut |row| match &row.document {
                    Some(_) => Ok(()),
                    None => each(row),
                })?;
            }
            Ok(())
        })
    }

    /// Ids of the points of the documents at `paths`.
    fn ids(&self, collection: &str, paths: &[String]) -> Result<Vec<String>> {
        let found = self.found(collection, paths, false)?;
        let chunks = found.documents(collection, paths)?.into_iter().flat_map(|one| one.chunks);
        Ok(chunks.filter_map(|chunk| id(&chunk).map(str::to_owned)).collect())
    }

    /// The best of all points, with their cosines computed here.
    fn scanned(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        let look = Look { collection, fields: &self.fields, which: Which::All, vectors: true };
        let mut best: Vec<Hit> = Vec::new();
        self.reading().each(&look, &mut |row| {
            let score = row.vector.as_deref().map(|vector| cosine(vector, query.vector));
            if let Some(hit) = score.map(|score| hit(score, row)).filter(|hit| counts(hit, query)) {
                let at = best.partition_point(|other| other.score >= hit.score);
                best.insert(at, hit);
                best.truncate(query.limit);
            }
            Ok(())
        })?;
        Ok(best)
    }
}

fn id(chunk: &Chunk) -> Option<&str> {
    chunk.metadata.get("id").and_then(Value::as_str)
}

fn hit(score: f32, row: Row) -> Hit {
    let Row { id, document, text, mut metadata, .. } = row;
    metadata.insert("id".to_owned(), Value::String(id.clone()));
    Hit {
        score,
        dense: None,
        words: None,
        path: document.unwrap_or(id),
        format: "text".to_owned(),
        // Which one it is among those of its document is not known.
        ordinal: 0,
        place: Place::default(),
        text,
        metadata,
    }
}

fn counts(hit: &Hit, query: &Query<'_>) -> bool {
    let filter = query.filter;
    filter.matches_path(&hit.path) && filter.matches_metadata(&hit.metadata, &Map::new())
}

impl Source for Twin {
    fn name(&self) -> String {
        self.engine.address()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        let reading = self.reading();
        let Some((own, shape)) = reading.find(name)? else { return Ok(None) };
        let (provenance, created) = match self.recorded(&own)? {
            // It may lack an index: whoever makes it makes it to its end.
            Some((_, 0)) => return Ok(None),
            recorded => recorded
                .unwrap_or_else(|| (Provenance::unknown(shape.dimensions, shape.storage), 0)),
        };
        let led = reading.call(|engine| engine.aliases())?.into_iter();
        let mut aliases: Vec<String> =
            led.filter(|(_, to)| *to == own).map(|(alias, _)| alias).collect();
        aliases.sort();
        Ok(Some(Collection { name: own, provenance, created, aliases }))
    }

    /// What is written while pages are read is seen when the first page is read again.
    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        let own = self.known(collection)?.name;
        let mut listed = self.listed.borrow_mut();
        let rows = match listed.take() {
            Some((name, rows)) if name == own && !after.is_empty() => rows,
            _ => self.reading().rows(&own, Which::All, false)?,
        };
        let page = rows.list_after(&own, after, limit)?;
        if !page.is_empty() {
            *listed = Some((own, rows));
        }
        Ok(page)
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let own = self.known(collection)?.name;
        self.found(&own, paths, false)?.entries(&own, paths)
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let own = self.known(collection)?.name;
        self.found(&own, paths, true)?.documents(&own, paths)
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        let own = self.known(collection)?.name;
        self.reading().rows(&own, Which::All, false)?.count(&own)
    }
}

impl Store for Twin {
    fn storages(&self) -> &'static [Storage] {
        self.engine.kinds()
    }

    fn lock(&self) -> Result<Lock> {
        Ok(Lock::holding(()))
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        let tables = self.reading().call(|engine| engine.tables())?;
        let theirs = tables.iter().filter(|table| !names::is_ours(table));
        let all: Result<Vec<_>> = theirs.map(|table| self.collection(table)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// Makes a collection as the old one is, but for its vectors.
    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        provenance.check_storable(&self.name(), self.engine.kinds(), &[])?;
        let reading = self.reading();
        let begun = self.recorded(name)?.is_some_and(|(_, created)| created == 0);
        if !begun && reading.find(name)?.is_some() {
            let (name, store) = (name.to_owned(), self.name());
            return Err(Error::Taken { name, kind: "collection", store });
        }
        let table = names::twin(name);
        let record = |created| {
            let made = Record::Collection { provenance: provenance.clone(), created }.row();
            reading.call(|engine| engine.put(&table, std::slice::from_ref(&made)))
        };
        reading.call(|engine| engine.create(&table, Kind::Records))?;
        record(0)?;
        let sides = (self.old.as_str(), name);
        reading.call(|engine| engine.make_like(sides, provenance, &self.fields))?;
        record(now())
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let found = self.known(name)?;
        let reading = self.reading();
        for alias in &found.aliases {
            reading.call(|engine| engine.remove_alias(alias))?;
        }
        reading.call(|engine| engine.remove(&found.name))?;
        reading.call(|engine| engine.remove(&names::twin(&found.name)))
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        let own = self.known(collection)?.name;
        if !self.engine.has_aliases() {
            return Err(Error::Unsupported {
                store: self.name(),
                wanted: format!("way to let readers of `{alias}` have `{own}`"),
                known: "collections by their own names".to_owned(),
            });
        }
        if self
            .reading()
            .call(|engine| engine.shape(alias, &self.fields))
            .is_ok_and(|found| found.is_some())
            && self.reading().led(alias)? == alias
        {
            let (name, store) = (alias.to_owned(), self.name());
            return Err(Error::Taken { name, kind: "collection", store });
        }
        self.reading().call(|engine| engine.set_alias(alias, &own))
    }

    /// Copies the points of documents as they are in the old collection, with these vectors. A point that
    /// was changed there since is left out: its vector would be another one.
    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        let found = self.known(collection)?;
        found.provenance.check_widths(documents)?;
        let documents = latest(documents);
        let chunks = || documents.iter().flat_map(|document| &document.chunks);
        let wanted: HashMap<&str, &Chunk> =
            chunks().filter_map(|chunk| Some((id(chunk)?, chunk))).collect();
        let reading = self.reading();
        if self.fields.document.is_some() {
            let paths: Vec<String> = documents.iter().map(|one| one.path.clone()).collect();
            let mut gone = self.ids(&found.name, &paths)?;
            gone.retain(|id| !wanted.contains_key(id.as_str()));
            for ids in gone.chunks(BATCH) {
                reading.call(|engine| engine.discard(&found.name, &self.fields, ids))?;
            }
        }
        let vector = |point: &super::Point| {
            let chunk = *wanted.get(key(&point.id)?.as_str())?;
            let mut row = reading.row(0, point.without_vector()).ok()?;
            row.metadata.insert("id".to_owned(), Value::String(row.id));
            let same = row.text == chunk.text && row.metadata == chunk.metadata;
            same.then_some(chunk.vector.as_slice())
        };
        let sides = (self.old.as_str(), found.name.as_str());
        let ids: Vec<String> = chunks().filter_map(|chunk| id(chunk).map(str::to_owned)).collect();
        for ids in ids.chunks(BATCH) {
            reading.call(|engine| engine.copy(sides, &self.fields, ids, &vector))?;
        }
        Ok(())
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        let own = self.known(collection)?.name;
        let there = self.entries(&own, paths)?.len();
        for ids in self.ids(&own, paths)?.chunks(BATCH) {
            self.reading().call(|engine| engine.discard(&own, &self.fields, ids))?;
        }
        Ok(there)
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        let found = self.known(collection)?;
        found.provenance.check_width(query.vector.len())?;
        if query.exact && !self.engine.is_exact() {
            return self.scanned(&found.name, query);
        }
        let judged = query.filter.reads_paths() || query.filter.reads_metadata();
        let limit = query.limit.saturating_mul(if judged { POINTS_A_HIT } else { 1 });
        let reading = self.reading();
        let (collection, which) = (found.name.as_str(), Which::All);
        let look = Look { collection, fields: &self.fields, which, vectors: false };
        let nearest =
            reading.call(|engine| engine.closest(&look, query.vector, (limit, query.exact)))?;
        let mut hits = Vec::new();
        for (score, point) in nearest {
            hits.push(hit(score, reading.row(0, point)?));
        }
        hits.retain(|hit| counts(hit, query));
        let ranked = hits.into_iter().take(query.limit).zip(1..).map(|(hit, rank)| {
            let dense = Some(Part { rank, score: hit.score });
            Hit { dense, ..hit }
        });
        Ok(ranked.collect())
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        let own = self.known(collection)?.name;
        self.reading().rows(&own, Which::All, false)?.all()
    }

    fn switch_calls(&self, name: &str, collection: &str, _kept: &str) -> Result<Vec<String>> {
        Ok(self.engine.alias_calls(name, collection))
    }

    fn set_seen(&mut self, _collection: &str, _seen: &[(String, i64, u64)]) -> Result<()> {
        Ok(())
    }

    fn roots(&self, _collection: &str) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn set_root(&mut self, _collection: &str, _path: &str, _options: &str) -> Result<()> {
        Ok(())
    }

    fn remove_root(&mut self, _collection: &str, _path: &str) -> Result<bool> {
        Ok(false)
    }
}
