//! What goes into a store, what comes out, and the trait between.

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::near::{Near, NearBuilt, Watch};
use crate::provenance::Provenance;
use crate::storage::Storage;
use serde_json::{Map, Value};
use std::any::Any;
use std::collections::HashSet;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// A document with all its chunks.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name, unique in a collection: a path with `/`.
    pub path: String,
    /// Hash of its content.
    pub hash: String,
    /// When its file was changed, in nanoseconds since 1970; 0 if that must not be relied on.
    pub modified: i64,
    /// Size of its file, in bytes.
    pub size: u64,
    /// What it was read as, such as `markdown`.
    pub format: String,
    /// What is known about it, to filter by.
    pub metadata: Map<String, Value>,
    /// Its chunks, in their order.
    pub chunks: Vec<Chunk>,
}

/// A chunk and its vector.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Where it stands in its document.
    pub place: Place,
    /// Its text.
    pub text: String,
    /// What is known about it alone, such as the fields of a row.
    pub metadata: Map<String, Value>,
    /// Its vector, `[dimensions]`.
    pub vector: Vec<f32>,
}

/// A part of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes of the document's text.
    pub bytes: Range<usize>,
    /// Its first and last line, from 1.
    pub lines: (usize, usize),
    /// Its page, from 1, if the document has pages.
    pub page: Option<usize>,
}

/// What is known of a stored document without reading its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in [`Document`].
    pub path: String,
    /// As in [`Document`].
    pub hash: String,
    /// As in [`Document`].
    pub modified: i64,
    /// As in [`Document`].
    pub size: u64,
    /// As in [`Document`].
    pub format: String,
    /// Number of its chunks.
    pub chunks: usize,
}

/// A collection.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// Where its vectors come from.
    pub provenance: Provenance,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Other names that lead to it.
    pub aliases: Vec<String>,
}

/// How much a collection holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents.
    pub documents: usize,
    /// Chunks, each with one vector.
    pub chunks: usize,
}

/// A search.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The query's vector, `[dimensions]`.
    pub vector: &'a [f32],
    /// The query's text, to search for its words as well and fuse both rankings.
    pub words: Option<&'a str>,
    /// Most hits wanted.
    pub limit: usize,
    /// Which chunks count.
    pub filter: &'a Filter,
    /// Scan all vectors even if there are codes or an index.
    pub exact: bool,
}

impl Query<'_> {
    /// # Errors
    ///
    /// [`Error::Unsupported`] if words are asked for, which `store` does not search by.
    pub(crate) fn refuse_words(&self, store: &str) -> Result<()> {
        match self.words {
            None => Ok(()),
            Some(_) => Err(Error::Unsupported {
                store: store.to_owned(),
                wanted: "search by words".to_owned(),
                known: "search by meaning alone, without --hybrid".to_owned(),
            }),
        }
    }
}

/// A hit's share in one ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Its rank there, from 1.
    pub rank: usize,
    /// Its score there: the cosine, or BM25.
    pub score: f32,
}

/// A chunk that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// What hits are ordered by: the cosine, or the sum of reciprocal ranks of a hybrid search.
    pub score: f32,
    /// By meaning: absent if a hybrid search found it by its words only.
    pub dense: Option<Part>,
    /// By words.
    pub words: Option<Part>,
    /// Its document.
    pub path: String,
    /// What the document was read as.
    pub format: String,
    /// Its number among the document's chunks.
    pub ordinal: usize,
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
    /// The document's metadata and the chunk's own, which goes first.
    pub metadata: Map<String, Value>,
}

/// `documents` without those that another one of the same path follows.
pub(crate) fn latest(documents: &[Document]) -> Vec<&Document> {
    let mut seen = HashSet::new();
    let mut latest: Vec<&Document> =
        documents.iter().rev().filter(|document| seen.insert(&document.path)).collect();
    latest.reverse();
    latest
}

/// The metadata of a document with those of a chunk, which go first.
pub(crate) fn merged(
    mut document: Map<String, Value>,
    chunk: Map<String, Value>,
) -> Map<String, Value> {
    document.extend(chunk);
    document
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    age.as_secs().cast_signed()
}

/// The right to write to a store for longer than a call. It ends when this is dropped, or with the
/// process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn Any>,
}

impl Lock {
    /// The lock that lasts as long as `held` does.
    pub(crate) fn holding(held: impl Any) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// What holds documents with vectors, to be read. A name may be that of a collection or an alias.
///
/// Documents have an order, by path unless the engine has another one that is faster.
pub trait Source: Send {
    /// What it is and where it lies, for people: without a password.
    fn name(&self) -> String;

    /// The collection that `name` leads to, if there is one.
    ///
    /// # Errors
    ///
    /// If the engine fails; here and below.
    fn collection(&self, name: &str) -> Result<Option<Collection>>;

    /// Up to `limit` documents in their order, from the first one after the path `after`; from the
    /// first of all if that is empty.
    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>>;

    /// Those of the documents at `paths` that are there, in any order.
    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>>;

    /// Those of the documents at `paths` that are there, in any order, with their vectors as they
    /// are stored: see [`Storage::rounded`].
    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>>;

    /// How much there is.
    fn count(&self, collection: &str) -> Result<Counts>;
}

/// An engine that holds collections.
///
/// What a call writes has been written when it returns, and the same call again changes nothing:
/// documents have their paths for ids, and chunks their document and number. Calls that fail for a
/// reason that may pass, such as a server that starts again, are repeated a few times.
pub trait Store: Source {
    /// How it can store vectors, its default first.
    fn storages(&self) -> &'static [Storage];

    /// Keeps others that ask for it from writing. An engine that has no locks gives one to
    /// everybody.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) if another process has it.
    fn lock(&self) -> Result<Lock>;

    /// All collections, by name.
    ///
    /// # Errors
    ///
    /// If the engine fails; here and below.
    fn collections(&self) -> Result<Vec<Collection>>;

    /// Makes an empty collection. Fails if the name is taken, or if the engine cannot store such
    /// vectors.
    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()>;

    /// Removes a collection, what is in it, and its aliases.
    fn drop_collection(&mut self, name: &str) -> Result<()>;

    /// Lets `alias` lead to `collection` from now on, in one step for all readers.
    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()>;

    /// Adds documents, replacing those with the same paths. An engine with transactions writes all
    /// of them or none; another one marks a document that it has not written to its end with an
    /// empty hash.
    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()>;

    /// Removes the documents at `paths`, and returns how many there were.
    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize>;

    /// The chunks nearest to a query, best first.
    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>>;

    /// All documents, by path.
    fn list(&self, collection: &str) -> Result<Vec<Entry>>;

    /// Adds those of `documents` whose paths are not there, and returns how many were. What somebody
    /// else writes at the same time stays, if the engine has transactions.
    fn insert(&mut self, collection: &str, documents: &[Document]) -> Result<usize> {
        let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
        let there = self.entries(collection, &paths)?;
        // An empty hash is that of a document that was not written to its end.
        let there: HashSet<&str> = there
            .iter()
            .filter(|entry| !entry.hash.is_empty())
            .map(|entry| entry.path.as_str())
            .collect();
        let new: Vec<Document> = documents
            .iter()
            .filter(|document| !there.contains(document.path.as_str()))
            .cloned()
            .collect();
        self.upsert(collection, &new)?;
        Ok(new.len())
    }

    /// Lets `name` lead to `collection` from now on, in one step for all readers. The collection
    /// whose own name that was is called `kept` afterwards.
    fn switch(&mut self, name: &str, collection: &str, kept: &str) -> Result<()> {
        match self.collection(name)? {
            Some(found) if found.name == name => Err(Error::Unsupported {
                store: self.name(),
                wanted: format!("way to rename the collection `{name}` while it is read ({kept})"),
                known: "aliases: let readers use one, and switch that".to_owned(),
            }),
            _ => self.set_alias(name, collection),
        }
    }

    /// The calls or statements that [`Self::switch`] makes, for people.
    fn switch_calls(&self, name: &str, collection: &str, kept: &str) -> Result<Vec<String>>;

    /// Remembers that the files of documents were seen as they are: path, time of change, size.
    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()>;

    /// Paths that were indexed into a collection, each with its options as JSON.
    fn roots(&self, collection: &str) -> Result<Vec<(String, String)>>;

    /// Remembers that `path` was indexed with `options`.
    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()>;

    /// Forgets that `path` was indexed, and says whether it was.
    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool>;

    /// What was noted under `key`, if the engine keeps notes of this machine.
    fn note(&self, _key: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Notes `value` under `key`, a sentence that says what it is.
    fn set_note(&self, _key: &str, _value: &str) -> Result<()> {
        Ok(())
    }

    /// Says that a run of changes has ended: time to put files and indexes in order.
    fn finish(&mut self, _collection: &str) -> Result<()> {
        Ok(())
    }

    /// The index for approximate search that [`Self::build_near`] has made, if it is there.
    fn near(&self, _collection: &str) -> Result<Option<Near>> {
        Ok(None)
    }

    /// Makes an index for approximate search of all vectors that are there, which [`Self::search`] uses
    /// from then on unless a query is exact or filtered, and measures it. The collection may be read and
    /// written meanwhile. An earlier index stays until the new one is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the engine has an index of its own, [`Error::Busy`] if another
    /// process makes one, [`Error::Stopped`] if `watch` says so.
    fn build_near(&mut self, _collection: &str, _watch: &Watch<'_>) -> Result<NearBuilt> {
        Err(Error::Unsupported {
            store: self.name(),
            wanted: "index that kokeshi makes".to_owned(),
            known: "one of its own, which its server keeps and search uses".to_owned(),
        })
    }
}
