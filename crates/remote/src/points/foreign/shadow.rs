//! A shadow copy: a foreign collection's copy with new vectors, next to it.
//!
//! The copy is created like the old collection and has the same points, with the same ids and
//! fields but other vectors, so that programs can use either. A separate table records the
//! provenance of the new vectors. Points have no modification time: a point is unchanged if its
//! text and fields are equal.

use super::{CopyNames, Foreign, ForeignPoint, ForeignReader, Selection, key};
use crate::points::point::Record;
use crate::points::search::POINTS_PER_HIT;
use crate::points::{BATCH, PATHS, PointFilter, TableKind, names};
use kokeshi_kernels::cosine;
use kokeshi_store::backend::{Rows, SourceRow, latest, now, with_id};
use kokeshi_store::{
    Chunk, ChunkLocation, Collection, Counts, Document, Entry, Error, Fields, Hit, Lock,
    Provenance, Query, RankContribution, Result, Source, Storage, Store, Url,
};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;

/// A foreign collection and its shadow copies in a vector database.
pub(in crate::points) struct ShadowCopy {
    engine: Box<dyn Foreign>,
    fields: Fields,
    url: Url,
    /// The name of the collection that is copied, which is not an alias.
    old: String,
    /// The collection that is being listed page by page.
    listed: RefCell<Option<(String, Rows)>>,
}

impl ShadowCopy {
    /// Prepares to copy the collection that `from` resolves to.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub(in crate::points) fn open(
        engine: impl Foreign + 'static,
        url: &Url,
        fields: &Fields,
        from: &str,
    ) -> Result<Self> {
        let old = ForeignReader::new(&engine, fields, url).resolve(from)?;
        let (engine, url, fields) = (Box::new(engine), url.clone(), fields.clone());
        Ok(Self { engine, fields, url, old, listed: RefCell::default() })
    }

    fn reader(&self) -> ForeignReader<'_> {
        ForeignReader::new(&*self.engine, &self.fields, &self.url)
    }

    /// The collection that `name` resolves to.
    fn require(&self, name: &str) -> Result<Collection> {
        self.collection(name)?.ok_or_else(|| self.reader().unknown(name))
    }

    /// The recorded provenance of a shadow copy, and when it was created; 0 if that is not
    /// finished.
    fn recorded(&self, collection: &str) -> Result<Option<(Provenance, i64)>> {
        let table = names::shadow(collection);
        let page = self
            .reader()
            .call(|engine| engine.page(&table, &PointFilter::default(), false, None))?;
        Ok(page.points.iter().find_map(|point| match Record::of(point) {
            Some(Record::Collection { provenance, created }) => Some((provenance, created)),
            _ => None,
        }))
    }

    /// The points of the documents at `paths`.
    fn points_of(&self, collection: &str, paths: &[String], vectors: bool) -> Result<Rows> {
        let reader = self.reader();
        Rows::filled(&reader.server, collection, &self.fields, |each| {
            for paths in paths.chunks(PATHS) {
                let request = |selection| reader.request(collection, selection, vectors);
                if let Some(document) = &self.fields.document {
                    reader.each(&request(Selection::Having(document, paths)), each)?;
                }
                // A point without a document is one itself.
                reader.each(&request(Selection::Ids(paths)), &mut |row| match &row.document {
                    Some(_) => Ok(()),
                    None => each(row),
                })?;
            }
            Ok(())
        })
    }

    /// Ids of the points of the documents at `paths`.
    fn ids(&self, collection: &str, paths: &[String]) -> Result<Vec<String>> {
        let points = self.points_of(collection, paths, false)?;
        let chunks =
            points.documents(collection, paths)?.into_iter().flat_map(|document| document.chunks);
        Ok(chunks.filter_map(|chunk| id(&chunk).map(str::to_owned)).collect())
    }

    /// The best hits among all points, with their cosines computed here.
    fn search_all(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        let reader = self.reader();
        let mut best: Vec<Hit> = Vec::new();
        reader.each(&reader.request(collection, Selection::All, true), &mut |row| {
            let score = row.vector.as_deref().map(|vector| cosine(vector, query.vector));
            if let Some(hit) = score.map(|score| hit(score, row)).filter(|hit| matches(hit, query))
            {
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

fn hit(score: f32, row: SourceRow) -> Hit {
    let SourceRow { id, document, text, metadata, .. } = row;
    let metadata = with_id(metadata, &id);
    Hit {
        score,
        dense: None,
        words: None,
        path: document.unwrap_or(id),
        format: "text".to_owned(),
        // Its index in the document is unknown.
        ordinal: 0,
        location: ChunkLocation::default(),
        text,
        metadata,
    }
}

fn matches(hit: &Hit, query: &Query<'_>) -> bool {
    let filter = query.filter;
    filter.matches_path(&hit.path) && filter.matches_metadata(&hit.metadata, &Map::new())
}

impl Source for ShadowCopy {
    fn name(&self) -> String {
        self.engine.address()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        let reader = self.reader();
        let Some((own, format)) = reader.find(name)? else { return Ok(None) };
        let (provenance, created) = match self.recorded(&own)? {
            // Its creation was interrupted, so it may lack an index; creating it again completes
            // it.
            Some((_, 0)) => return Ok(None),
            recorded => recorded
                .unwrap_or_else(|| (Provenance::unknown(format.dimensions, format.storage), 0)),
        };
        let aliases = reader.call(|engine| engine.aliases())?.into_iter();
        let mut aliases: Vec<String> =
            aliases.filter(|(_, to)| *to == own).map(|(alias, _)| alias).collect();
        aliases.sort();
        let id = reader.call(|engine| engine.table_id(&own))?.unwrap_or_else(|| own.clone());
        let id = format!("{id}@{created}");
        Ok(Some(Collection { id, name: own, provenance, created, aliases }))
    }

    /// Changes made between two pages become visible when the first page is read again.
    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        let own = self.require(collection)?.name;
        let mut listed = self.listed.borrow_mut();
        let rows = match listed.take() {
            Some((name, rows)) if name == own && !after.is_empty() => rows,
            _ => self.reader().rows(&own, Selection::All, false)?,
        };
        let page = rows.list_after(&own, after, limit)?;
        if !page.is_empty() {
            *listed = Some((own, rows));
        }
        Ok(page)
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        let own = self.require(collection)?.name;
        self.points_of(&own, paths, false)?.entries(&own, paths)
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let own = self.require(collection)?.name;
        self.points_of(&own, paths, true)?.documents(&own, paths)
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        let own = self.require(collection)?.name;
        self.reader().rows(&own, Selection::All, false)?.count(&own)
    }
}

impl Store for ShadowCopy {
    fn storages(&self) -> &'static [Storage] {
        self.engine.new_storages()
    }

    fn lock(&self) -> Result<Lock> {
        Ok(Lock::holding(()))
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        let tables = self.reader().call(|engine| engine.tables())?;
        let foreign = tables.iter().filter(|table| !names::is_own(table));
        let all: Result<Vec<_>> = foreign.map(|table| self.collection(table)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// An engine whose tables have no ids may not list those of others (Milvus); there, the id has the
    /// name.
    fn find_id(&self, id: &str) -> Result<Option<Collection>> {
        if let Some((name, _)) = id.rsplit_once('@')
            && let Some(found) = self.collection(name)?.filter(|found| found.id == id)
        {
            return Ok(Some(found));
        }
        Ok(self.collections()?.into_iter().find(|found| found.id == id))
    }

    /// Creates a collection that is like the old one except for its vectors.
    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        provenance.check_storable(&self.name(), self.engine.new_storages(), &[])?;
        let reader = self.reader();
        let is_unfinished = self.recorded(name)?.is_some_and(|(_, created)| created == 0);
        if !is_unfinished && reader.find(name)?.is_some() {
            let (name, store) = (name.to_owned(), self.name());
            return Err(Error::NameTaken { name, kind: "collection", store });
        }
        let table = names::shadow(name);
        let record = |created| {
            let record = Record::Collection { provenance: provenance.clone(), created };
            reader.call(|engine| engine.put(&table, &[record.to_point()]))
        };
        reader.call(|engine| engine.create(&table, TableKind::Records))?;
        record(0)?;
        let names = CopyNames { old: &self.old, new: name };
        reader.call(|engine| engine.create_shadow(names, provenance, &self.fields))?;
        record(now())
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let found = self.require(name)?;
        let reader = self.reader();
        for alias in &found.aliases {
            reader.call(|engine| engine.remove_alias(alias))?;
        }
        reader.call(|engine| engine.remove(&found.name))?;
        reader.call(|engine| engine.remove(&names::shadow(&found.name)))
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        let own = self.require(collection)?.name;
        if !self.engine.has_aliases() {
            return Err(Error::Unsupported {
                store: self.name(),
                wanted: format!("way to switch readers of `{alias}` to `{own}`"),
                known: "collections by their own names".to_owned(),
            });
        }
        let reader = self.reader();
        let format = reader.call(|engine| engine.vector_format(alias, &self.fields));
        if format.is_ok_and(|format| format.is_some()) && reader.resolve(alias)? == alias {
            let (name, store) = (alias.to_owned(), self.name());
            return Err(Error::NameTaken { name, kind: "collection", store });
        }
        reader.call(|engine| engine.set_alias(alias, &own))
    }

    /// Copies the points of documents from the old collection, with the vectors of `documents`. A
    /// point that has changed since is skipped, because its vector would be stale.
    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        let found = self.require(collection)?;
        found.provenance.check_widths(documents)?;
        let documents = latest(documents);
        let chunks = || documents.iter().flat_map(|document| &document.chunks);
        let wanted: HashMap<&str, &Chunk> =
            chunks().filter_map(|chunk| Some((id(chunk)?, chunk))).collect();
        let reader = self.reader();
        if self.fields.document.is_some() {
            let paths: Vec<String> =
                documents.iter().map(|document| document.path.clone()).collect();
            let mut removed = self.ids(&found.name, &paths)?;
            removed.retain(|id| !wanted.contains_key(id.as_str()));
            for ids in removed.chunks(BATCH) {
                reader.call(|engine| engine.discard(&found.name, &self.fields, ids))?;
            }
        }
        let new_vector = |point: &ForeignPoint| {
            let chunk = *wanted.get(key(&point.id)?.as_str())?;
            let row = reader.row(0, point.without_vector()).ok()?;
            let metadata = with_id(row.metadata, &row.id);
            let is_unchanged = row.text == chunk.text && metadata == chunk.metadata;
            is_unchanged.then_some(chunk.vector.as_slice())
        };
        let names = CopyNames { old: &self.old, new: &found.name };
        let ids: Vec<String> = chunks().filter_map(|chunk| id(chunk).map(str::to_owned)).collect();
        for ids in ids.chunks(BATCH) {
            reader.call(|engine| engine.copy(names, &self.fields, ids, &new_vector))?;
        }
        Ok(())
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        let own = self.require(collection)?.name;
        let existing = self.entries(&own, paths)?.len();
        for ids in self.ids(&own, paths)?.chunks(BATCH) {
            self.reader().call(|engine| engine.discard(&own, &self.fields, ids))?;
        }
        Ok(existing)
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        let found = self.require(collection)?;
        found.provenance.check_width(query.vector.len())?;
        if query.exact && !self.engine.is_exact() {
            return self.search_all(&found.name, query);
        }
        let is_checked_here = query.filter.reads_paths() || query.filter.reads_metadata();
        let limit = query.limit.saturating_mul(if is_checked_here { POINTS_PER_HIT } else { 1 });
        let reader = self.reader();
        let request = reader.request(&found.name, Selection::All, false);
        let nearest =
            reader.call(|engine| engine.closest(&request, query.vector, limit, query.exact))?;
        let mut hits = Vec::new();
        for (score, point) in nearest {
            if !reader.has_text(&point) {
                continue;
            }
            hits.push(hit(score, reader.row(0, point)?));
        }
        hits.retain(|hit| matches(hit, query));
        let ranked = hits.into_iter().take(query.limit).zip(1..).map(|(hit, rank)| {
            let dense = Some(RankContribution { rank, score: hit.score });
            Hit { dense, ..hit }
        });
        Ok(ranked.collect())
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        let own = self.require(collection)?.name;
        self.reader().rows(&own, Selection::All, false)?.all()
    }

    fn switch_calls(&self, name: &str, collection: &str, _kept: &str) -> Result<Vec<String>> {
        Ok(self.engine.alias_calls(name, collection))
    }
}
