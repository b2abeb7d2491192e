//! ANN indexes: each is a graph in a file next to the store, which finds candidates.
//!
//! A row of the table `near` names the file and records the state of the collection that it was
//! built from; the transaction that names a new file also clears the record of earlier writes. So a
//! reader of the store always knows which slots the graph may lack, even after a process was
//! killed. A file that no row names is garbage, which the next build removes.

#[cfg(feature = "ann")]
mod build;
#[cfg(feature = "ann")]
mod graph;
#[cfg(feature = "ann")]
mod index;
#[cfg(not(feature = "ann"))]
mod no_index;
#[cfg(not(feature = "ann"))]
mod no_process;
#[cfg(feature = "ann")]
mod process;

#[cfg(feature = "ann")]
pub(super) use index::CachedGraph;
#[cfg(not(feature = "ann"))]
pub(super) use no_index::CachedGraph;
#[cfg(not(feature = "ann"))]
pub use no_process::{GraphCommand, answer_graph_requests, read_graphs_with};
#[cfg(feature = "ann")]
pub use process::{GraphCommand, answer_graph_requests, read_graphs_with};

use super::Sqlite;
use super::blocks::{BitTable, Slots};
use super::search::ReadAttempt;
use crate::ann::{AnnIndex, UnusedReason};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// An index is used only while at most one in this many vectors is newer. Newer vectors are read
/// one by one, so with more of them a scan of all vectors is as fast.
const MAX_NEWER: usize = 5;

/// A row of the table `near` that names a file.
#[derive(Debug)]
#[cfg_attr(not(feature = "ann"), expect(dead_code, reason = "only the graph uses them"))]
struct IndexRecord {
    file: String,
    bytes: u64,
    /// What built the graph.
    maker: String,
    built_at: i64,
    vectors: usize,
    recall: f64,
}

/// Whether the file of an index can be used.
#[cfg_attr(not(feature = "ann"), expect(dead_code, reason = "only the graph uses them"))]
enum Usability {
    Usable,
    /// Its file no longer exists.
    Gone,
    /// The reason, a sentence for people.
    Unfit(String),
}

impl Sqlite {
    pub(super) fn ann_index(&self, collection: &str) -> Result<Option<AnnIndex>> {
        self.retry_read(|| {
            let fail = Error::sqlite(&self.path);
            let (id, found) = self.require(collection)?;
            let Some(record) = record(&self.connection, id).map_err(fail)? else {
                return Ok(ReadAttempt::Done(None));
            };
            let live = Slots::read(&self.connection, BitTable::Live, id).map_err(fail)?;
            let written = Slots::read(&self.connection, BitTable::Written, id).map_err(fail)?;
            let unfit = match self.usability(id, &record, &found.provenance, (&live, &written)) {
                Usability::Gone => return Ok(ReadAttempt::Done(None)),
                Usability::Unfit(reason) => Some(UnusedReason::Unfit(reason)),
                Usability::Usable => None,
            };
            let newer = live.intersection(&written).count();
            let outgrown = is_outgrown(&live, newer).then_some(UnusedReason::Outgrown);
            let IndexRecord { bytes, built_at, vectors, recall, .. } = record;
            let unused = unfit.or(outgrown);
            Ok(ReadAttempt::Done(Some(AnnIndex {
                built_at,
                vectors,
                newer,
                bytes,
                recall,
                unused,
            })))
        })
    }
}

fn is_outgrown(live: &Slots, newer: usize) -> bool {
    newer * MAX_NEWER > live.count()
}

/// The folder of the indexes of the collection `id` in the store at `path`.
fn folder(path: &Path, id: i64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".near");
    PathBuf::from(name).join(id.to_string())
}

/// Removes the index files of a collection that no longer exists in the store at `path`. Files that
/// cannot be removed only waste space: no row names them.
pub(super) fn remove_files(path: &Path, id: i64) {
    let _ = fs::remove_dir_all(folder(path, id));
}

fn record(connection: &Connection, id: i64) -> rusqlite::Result<Option<IndexRecord>> {
    let sql = "SELECT file, bytes, maker, made, vectors, recall FROM near \
               WHERE collection = ?1 AND file IS NOT NULL";
    let record = |row: &Row<'_>| {
        Ok(IndexRecord {
            file: row.get(0)?,
            bytes: row.get(1)?,
            maker: row.get(2)?,
            built_at: row.get(3)?,
            vectors: row.get(4)?,
            recall: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id], record).optional()
}
