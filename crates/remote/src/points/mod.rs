//! Vector databases: engines that keep points, each a vector with a few fields, and have no
//! transactions.
//!
//! A collection is two tables of points: its chunks, and records of the collection, its roots and
//! its documents. A document's record is written twice: before its chunks, without a hash, and
//! after them. So a process that is killed in between leaves a document that looks changed, and the
//! next run writes it again with the same ids.

#[cfg(feature = "chroma")]
mod chroma;
mod foreign;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "milvus")]
mod milvus;
mod names;
mod point;
#[cfg(feature = "qdrant")]
mod qdrant;
mod search;
mod store;

#[cfg(feature = "chroma")]
pub(crate) use chroma::Chroma;
#[cfg(feature = "milvus")]
pub(crate) use milvus::Milvus;
#[cfg(feature = "qdrant")]
pub(crate) use qdrant::Qdrant;

use crate::open::Opener;
use crate::retry::CallError;
use foreign::{Foreign, ForeignReader, ShadowCopy};
use kokeshi_store::backend::Field;
use kokeshi_store::{Fields, Provenance, Result, Source, Storage, Store, Url};
use point::Point;
use store::PointStore;

/// Maximum number of points that one call writes or reads.
const BATCH: usize = 256;
/// Maximum number of paths in one condition.
const PATHS: usize = 200;

/// Opens servers of one engine, with the function that connects to a server.
pub(crate) struct PointsOpener<E>(pub(crate) fn(&Url) -> Result<E>);

impl<E: Foreign + 'static> Opener for PointsOpener<E> {
    fn open(&self, url: &Url) -> Result<Box<dyn Store>> {
        Ok(Box::new(PointStore::new((self.0)(url)?)))
    }

    fn open_foreign(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(ShadowCopy::open((self.0)(url)?, url, fields, collection)?))
    }

    fn open_source(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Source>> {
        let engine = (self.0)(url)?;
        Ok(Box::new(ForeignReader::new(&engine, fields, url).read_all(collection)?))
    }

    fn fields(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Option<Vec<Field>>> {
        let engine = (self.0)(url)?;
        ForeignReader::new(&engine, fields, url).fields_of_first(collection)
    }
}

/// A condition on points.
#[derive(Clone, Debug, Default)]
struct PointFilter {
    /// Their path is one of these; `None` is any.
    paths: Option<Vec<String>>,
    /// They have all of these terms.
    terms: Vec<String>,
}

impl PointFilter {
    fn path(path: String) -> Self {
        Self { paths: Some(vec![path]), terms: Vec::new() }
    }

    fn paths(paths: &[String]) -> Self {
        Self { paths: Some(paths.to_vec()), terms: Vec::new() }
    }

    fn term(term: &str) -> Self {
        Self { paths: None, terms: vec![term.to_owned()] }
    }
}

/// The purpose of a table of points.
#[derive(Clone, Copy, Debug)]
enum TableKind<'a> {
    /// Chunks, with vectors of this provenance.
    Chunks(&'a Provenance),
    /// Records, with placeholder vectors.
    Records,
}

/// A search for the points nearest to a vector.
struct NearestQuery<'a> {
    vector: &'a [f32],
    limit: usize,
    /// Whether to compute all cosines, if the engine supports that.
    exact: bool,
    /// The provenance that the table was created with.
    provenance: &'a Provenance,
}

/// A page of points, and where the next one begins.
struct Page {
    points: Vec<Point>,
    next: Option<String>,
}

/// An engine. Each call is tried once; a table that does not exist is empty.
trait PointEngine: Send {
    /// Its address, without a password.
    fn address(&self) -> String;

    /// The storages that it supports for vectors, and for codes of short lists.
    fn storages(&self) -> (&'static [Storage], &'static [Storage]);

    /// Names of all tables.
    fn tables(&self) -> Result<Vec<String>, CallError>;

    /// Creates a table, unless it exists.
    fn create(&self, table: &str, kind: TableKind<'_>) -> Result<(), CallError>;

    /// Removes a table, if it exists.
    fn remove(&self, table: &str) -> Result<(), CallError>;

    /// Writes points, replacing those with the same ids.
    fn put(&self, table: &str, points: &[Point]) -> Result<(), CallError>;

    /// Removes the points with one of these paths.
    fn delete(&self, table: &str, paths: &[String]) -> Result<(), CallError>;

    /// Number of points.
    fn count(&self, table: &str) -> Result<usize, CallError>;

    /// Up to [`BATCH`] points from `after` on, with their vectors if `vectors` is true.
    fn page(
        &self,
        table: &str,
        filter: &PointFilter,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, CallError>;

    /// The nearest points with their cosines, best first.
    fn nearest(
        &self,
        table: &str,
        query: &NearestQuery<'_>,
        filter: &PointFilter,
    ) -> Result<Vec<(f32, Point)>, CallError>;

    /// Whether [`Self::nearest`] can be exact.
    fn is_exact(&self) -> bool;

    /// What identifies a table, if the engine has more than its name for that.
    fn table_id(&self, _table: &str) -> Result<Option<String>, CallError> {
        Ok(None)
    }

    /// Aliases and the tables that they point to.
    fn aliases(&self) -> Result<Vec<(String, String)>, CallError>;

    /// Lets an alias point to a table, in one step.
    fn set_alias(&self, alias: &str, table: &str) -> Result<(), CallError>;

    /// The requests of [`Self::set_alias`], for people.
    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String>;

    /// Removes an alias.
    fn remove_alias(&self, alias: &str) -> Result<(), CallError>;
}
