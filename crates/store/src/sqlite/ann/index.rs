//! Opening a collection's graph, and search by it.

use super::graph::{Graph, MAKER};
use super::process::GraphProcess;
use super::{IndexRecord, Usability, folder, is_outgrown, record};
use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::sqlite::Sqlite;
use crate::sqlite::best::Scored;
use crate::sqlite::blocks::{self, BitTable, BlockTable, Slots};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Candidates from the graph per requested hit, and their minimum number.
const CANDIDATES_PER_HIT: usize = 4;
const MIN_CANDIDATES: usize = 100;
/// Maximum number of hits: with more candidates, the graph is slower than a scan.
const MAX_HITS: usize = 1000;
/// Number of vectors that are compared with the store's when a graph is opened.
const COMPARED: usize = 64;
/// Number of vectors that are read or rescored at a time.
pub(super) const BATCH: usize = 8192;

/// The state of the graph that a record names.
#[derive(Clone)]
enum GraphState {
    Open(Arc<OpenGraph>),
    /// Its file no longer exists.
    Gone,
    /// The reason why it cannot be used, a sentence for people.
    Unfit(String),
}

/// A graph that this process reads, or another one does.
enum OpenGraph {
    Here(Arc<Graph>),
    Elsewhere(GraphProcess),
}

impl OpenGraph {
    fn open(path: &Path) -> Result<Self, String> {
        match GraphProcess::start(path) {
            Some(process) => process.map(Self::Elsewhere),
            None => Graph::open(path).map(Self::Here),
        }
    }

    /// Width of the vectors.
    fn width(&self) -> usize {
        match self {
            Self::Here(graph) => graph.width(),
            Self::Elsewhere(process) => process.width(),
        }
    }

    /// The slots of about `count` vectors that are nearest to `query`, best first.
    fn nearest(&self, query: &[f32], count: usize) -> Result<Vec<usize>, String> {
        match self {
            Self::Here(graph) => graph.nearest(query, count),
            Self::Elsewhere(process) => process.nearest(query, count),
        }
    }

    /// The vector of the slot `number`, if the graph has it.
    fn vector(&self, number: u32) -> Result<Option<Vec<f32>>, String> {
        match self {
            Self::Here(graph) => graph.vector(number),
            Self::Elsewhere(process) => process.vector(number),
        }
    }
}

/// The graph that was opened last for a collection.
pub(in crate::sqlite) struct CachedGraph {
    file: String,
    state: GraphState,
}

impl Sqlite {
    pub(super) fn usability(
        &self,
        id: i64,
        record: &IndexRecord,
        provenance: &Provenance,
        slots: (&Slots, &Slots),
    ) -> Usability {
        match self.graph(id, record, provenance, slots) {
            GraphState::Open(_) => Usability::Usable,
            GraphState::Gone => Usability::Gone,
            GraphState::Unfit(reason) => Usability::Unfit(reason),
        }
    }

    /// The best `limit` slots by the index, with final scores; `None` if no index can answer this.
    pub(in crate::sqlite) fn approximate(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &[f32],
        live: &Slots,
        limit: usize,
    ) -> Result<Option<Vec<Scored>>> {
        let fail = Error::sqlite(&self.path);
        if limit > MAX_HITS {
            return Ok(None);
        }
        let Some(record) = record(&self.connection, id).map_err(fail)? else { return Ok(None) };
        let written = Slots::read(&self.connection, BitTable::Written, id).map_err(fail)?;
        let newer = live.intersection(&written);
        if is_outgrown(live, newer.count()) {
            return Ok(None);
        }
        let GraphState::Open(graph) = self.graph(id, &record, provenance, (live, &written)) else {
            return Ok(None);
        };
        match graph.nearest(query, candidates(limit)) {
            Ok(found) => {
                let current = found.into_iter().filter(|&slot| live.contains(slot));
                let slots = current.filter(|&slot| !newer.contains(slot)).chain(newer.iter());
                self.best_of(id, provenance, query, slots, limit).map_err(fail).map(Some)
            }
            Err(reason) => {
                let cached = CachedGraph { file: record.file, state: GraphState::Unfit(reason) };
                self.graphs.borrow_mut().insert(id, cached);
                Ok(None)
            }
        }
    }

    /// The best `limit` of `slots` by their vectors.
    pub(super) fn best_of(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &[f32],
        slots: impl Iterator<Item = usize>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Scored>> {
        let rows: Vec<Scored> = slots.map(|slot| Scored { score: 0.0, slot }).collect();
        let mut best = Vec::new();
        for batch in rows.chunks(BATCH) {
            best.extend(self.rescored(id, provenance, query, batch.to_vec(), limit)?);
        }
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(limit);
        Ok(best)
    }

    /// The graph that `record` names. `slots` are those in use, and those written since it was
    /// built.
    fn graph(
        &self,
        id: i64,
        record: &IndexRecord,
        provenance: &Provenance,
        slots: (&Slots, &Slots),
    ) -> GraphState {
        if let Some(cached) = self.graphs.borrow().get(&id)
            && cached.file == record.file
        {
            return cached.state.clone();
        }
        let state = match self.open_graph(id, record, provenance, slots) {
            Ok(Some(graph)) => GraphState::Open(graph),
            Ok(None) => GraphState::Gone,
            Err(reason) => GraphState::Unfit(reason),
        };
        let cached = CachedGraph { file: record.file.clone(), state: state.clone() };
        self.graphs.borrow_mut().insert(id, cached);
        state
    }

    /// `None` if the file no longer exists.
    fn open_graph(
        &self,
        id: i64,
        record: &IndexRecord,
        provenance: &Provenance,
        slots: (&Slots, &Slots),
    ) -> Result<Option<Arc<OpenGraph>>, String> {
        let path = folder(&self.path, id).join(&record.file);
        let metadata = match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(|e| e.to_string())?,
        };
        let bytes = metadata.len();
        if record.maker != MAKER {
            return Err(format!("it was built by another version ({})", record.maker));
        }
        // Reading a mapped file past its end kills the process.
        if bytes != record.bytes {
            return Err(format!("its file has {bytes} bytes, not {}", record.bytes));
        }
        // Reading all of it takes longer than a search.
        if may_have_changed(&metadata, record.built_at) {
            let checksum = checksum(&path).map_err(|e| e.to_string())?;
            if !record.file.contains(&checksum) {
                return Err("its file has changed since it was built".to_owned());
            }
        }
        let graph = Arc::new(OpenGraph::open(&path)?);
        if graph.width() != provenance.dimensions {
            return Err(format!("its vectors have {} dimensions", graph.width()));
        }
        self.compare(id, &graph, provenance, slots)?;
        Ok(Some(graph))
    }

    /// Checks for a sample of slots, spread over the collection, that the graph has the same
    /// vectors as the store.
    fn compare(
        &self,
        id: i64,
        graph: &OpenGraph,
        provenance: &Provenance,
        (live, written): (&Slots, &Slots),
    ) -> Result<(), String> {
        let mut rows = vectors(&self.connection, id, provenance);
        let covered = live.difference(written);
        for slot in covered.spread(COMPARED) {
            let stored = rows.read(slot).map_err(|e| e.to_string())?;
            if graph.vector(slot as u32)?.as_ref() != Some(&stored) {
                return Err("its vectors are not those of the collection".to_owned());
            }
        }
        Ok(())
    }
}

/// Whether a file may have been written after `built_at`, in seconds since 1970: it was copied, or
/// something has damaged it.
fn may_have_changed(metadata: &fs::Metadata, built_at: i64) -> bool {
    let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    written.is_none_or(|written| i64::try_from(written.as_secs()).is_ok_and(|at| at >= built_at))
}

/// The first 16 digits of a file's SHA-256.
pub(super) fn checksum(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path)?;
    std::io::copy(&mut file, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize())[..16].to_owned())
}

pub(super) fn candidates(limit: usize) -> usize {
    limit.saturating_mul(CANDIDATES_PER_HIT).max(MIN_CANDIDATES)
}

pub(super) fn vectors<'c>(
    connection: &'c Connection,
    id: i64,
    provenance: &Provenance,
) -> blocks::VectorRows<'c> {
    let layout = crate::sqlite::search::vectors(provenance);
    blocks::VectorRows::new(connection, id, BlockTable::Vectors, layout)
}
