//! Building an ANN index, and measuring what it finds.

use super::graph::{Draft, Graph, MAKER};
use super::index::{PIECE, candidates, vectors};
use super::{IndexRecord, folder};
use crate::ann::{AnnBuild, BuildStep, OnBuildStep};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::provenance::Provenance;
use crate::record::{Query, now};
use crate::sqlite::best::Scored;
use crate::sqlite::blocks::{self, BitTable, Slots};
use crate::sqlite::search::ReadAttempt;
use crate::sqlite::{Sqlite, collections, open};
use crate::traits::Source as _;
use kokeshi_kernels::median;
use rusqlite::{Connection, params};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Searches that are measured after a build, and hits of each.
const QUERIES: usize = 200;
const HITS: usize = 10;

/// A graph whose vectors are not linked yet, and what it was copied from.
struct CopiedGraph {
    draft: Draft,
    generation: i64,
    vectors: usize,
    /// Slots whose vectors have no direction, which the graph lacks.
    directionless: Slots,
}

/// The same search, exact and approximate.
struct SearchComparison {
    recall: f64,
    exact_ms: f64,
    ann_ms: f64,
}

/// What the measured searches came to: recall@10 in the mean, milliseconds in the median.
struct Measurement {
    queries: usize,
    recall: f64,
    exact_ms: f64,
    ann_ms: f64,
}

impl Sqlite {
    pub(in crate::sqlite) fn build_ann_index(
        &self,
        collection: &str,
        on_step: &OnBuildStep<'_>,
    ) -> Result<AnnBuild> {
        let (id, found) = self.require(collection)?;
        let fail = Error::sqlite(&self.path);
        if !found.provenance.normalized {
            return Err(self.not_indexable("vectors that are not normalized, which are scanned"));
        }
        let start = Instant::now();
        let folder = folder(&self.path, id);
        let failed = |source| Error::Io { action: "create", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let _lock = open::lock(&folder)?;
        self.write(|connection| track_writes(connection, id).map_err(fail))?;
        let file = format!("{}.mdb", nanoseconds());
        let mut new = NewFile { path: folder.join(&file), is_recorded: false };
        let copied = self.copy_vectors(id, &found.provenance, &new.path, on_step)?;
        let CopiedGraph { draft, generation, vectors, directionless } = copied;
        draft.finish(on_step)?;
        let bytes = fs::metadata(&new.path).map_err(failed)?.len();
        let damaged = |reason| Error::Damaged { path: new.path.clone(), reason };
        let graph = Graph::open(&new.path).map_err(damaged)?;
        let seconds = start.elapsed().as_secs_f64();
        let Measurement { queries, recall, exact_ms, ann_ms } =
            self.measure(collection, &graph, on_step)?;
        let maker = MAKER.to_owned();
        let record = IndexRecord { file, bytes, maker, built_at: now(), vectors, recall };
        self.write(|connection| {
            self.require(collection)?;
            set_record(connection, id, &record, generation, &directionless).map_err(fail)
        })?;
        new.is_recorded = true;
        sweep(&folder, &record.file);
        Ok(AnnBuild { vectors, seconds, bytes, queries, recall, exact_ms, ann_ms })
    }

    fn not_indexable(&self, known: &str) -> Error {
        let wanted = "ANN index of this collection".to_owned();
        Error::Unsupported { store: self.name(), wanted, known: known.to_owned() }
    }

    /// Copies all vectors of one state of the collection into a new graph at `path`.
    fn copy_vectors(
        &self,
        id: i64,
        provenance: &Provenance,
        path: &Path,
        on_step: &OnBuildStep<'_>,
    ) -> Result<CopiedGraph> {
        let fail = Error::sqlite(&self.path);
        let read = self.connection.unchecked_transaction().map_err(fail)?;
        let generation = collections::generation(&read, id).map_err(fail)?;
        let slots: Vec<usize> =
            Slots::read(&read, BitTable::Live, id).map_err(fail)?.iter().collect();
        let total = slots.len();
        if total == 0 {
            return Err(self.not_indexable("no vectors in it yet"));
        }
        let draft = Draft::begin(path, provenance.dimensions, total)?;
        let mut rows = vectors(&read, id, provenance);
        let (mut vectors, mut directionless) = (0, Slots::default());
        for (number, slots) in slots.chunks(PIECE).enumerate() {
            if !on_step(BuildStep { name: "reading", done: number * PIECE, total }) {
                return Err(Error::Stopped);
            }
            let mut piece = Vec::new();
            for &slot in slots {
                let vector = rows.read(slot).map_err(fail)?;
                // A vector without a direction cannot be in the graph; it is scanned.
                match (u32::try_from(slot), vector.iter().map(|x| x * x).sum::<f32>()) {
                    (Ok(number), length) if length.is_normal() => piece.push((number, vector)),
                    _ => directionless.insert(slot),
                }
            }
            vectors += piece.len();
            draft.add(&piece)?;
        }
        Ok(CopiedGraph { draft, generation, vectors, directionless })
    }

    /// Searches for a sample of the collection's own vectors, exactly and by `graph`.
    fn measure(
        &self,
        collection: &str,
        graph: &Graph,
        on_step: &OnBuildStep<'_>,
    ) -> Result<Measurement> {
        let sample = self.retry_read(|| {
            let (id, _) = self.require(collection)?;
            let live = Slots::read(&self.connection, BitTable::Live, id);
            let live = live.map_err(Error::sqlite(&self.path))?;
            Ok(ReadAttempt::Done(live.spread(QUERIES)))
        })?;
        let mut searches: Vec<SearchComparison> = Vec::new();
        for (done, &slot) in sample.iter().enumerate() {
            if !on_step(BuildStep { name: "measuring", done, total: sample.len() }) {
                return Err(Error::Stopped);
            }
            searches.extend(self.retry_read(|| self.compare_searches(collection, graph, slot))?);
        }
        let recalls = searches.iter().map(|search| search.recall);
        Ok(Measurement {
            queries: searches.len(),
            recall: recalls.sum::<f64>() / searches.len().max(1) as f64,
            exact_ms: median(&searches.iter().map(|search| search.exact_ms).collect::<Vec<_>>()),
            ann_ms: median(&searches.iter().map(|search| search.ann_ms).collect::<Vec<_>>()),
        })
    }

    /// The search for the vector of `slot`, exact and approximate; `None` if it was removed.
    fn compare_searches(
        &self,
        collection: &str,
        graph: &Graph,
        slot: usize,
    ) -> Result<ReadAttempt<Option<SearchComparison>>> {
        let fail = Error::sqlite(&self.path);
        let (id, found) = self.require(collection)?;
        let live = Slots::read(&self.connection, BitTable::Live, id).map_err(fail)?;
        if !live.contains(slot) {
            return Ok(ReadAttempt::Done(None));
        }
        let vector = vectors(&self.connection, id, &found.provenance).read(slot).map_err(fail)?;
        let limit = HITS + 1;
        let filter = Filter::default();
        let query = Query { vector: &vector, words: None, limit, filter: &filter, exact: true };
        let start = Instant::now();
        let Some(exact) = self.nearest(id, &found.provenance, &query, None, limit)? else {
            return Ok(ReadAttempt::Changed);
        };
        let exact_ms = milliseconds(start);
        let start = Instant::now();
        let slots = graph.nearest(&vector, candidates(limit));
        let slots = slots.map_err(|reason| Error::Damaged { path: self.path.clone(), reason })?;
        let slots = slots.into_iter().filter(|&slot| live.contains(slot));
        let near = self.best_of(id, &found.provenance, &vector, slots, limit).map_err(fail)?;
        let ann_ms = milliseconds(start);
        let recall = recall(slot, exact, near);
        Ok(ReadAttempt::Done(Some(SearchComparison { recall, exact_ms, ann_ms })))
    }
}

/// The share of the best hits other than `slot` itself that were found, or others as good.
fn recall(slot: usize, mut exact: Vec<Scored>, mut near: Vec<Scored>) -> f64 {
    for rows in [&mut exact, &mut near] {
        rows.retain(|row| row.slot != slot);
        rows.truncate(HITS);
    }
    let Some(last) = exact.last() else { return 1.0 };
    near.iter().filter(|row| row.score >= last.score).count() as f64 / exact.len() as f64
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A number that no earlier file has.
fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A file that is removed unless a row comes to name it.
struct NewFile {
    path: PathBuf,
    is_recorded: bool,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_recorded {
            // If this fails, the next build removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes all graphs in `folder` except `kept`: earlier ones, and those of builds that were
/// killed. A process that has one open keeps it; on a system that does not allow that, the next
/// build removes it.
fn sweep(folder: &Path, kept: &str) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name() != kept) {
        if file.path().extension().is_some_and(|extension| extension == "mdb") {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// From now on, writes record their slots.
fn track_writes(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO near (collection) VALUES (?1)";
    connection.execute(sql, [id]).map(drop)
}

/// Makes `record`, built from the collection at `generation`, its index. The graph contains all
/// earlier writes except `directionless`; if there were later writes, it is not known which ones
/// they are, and all recorded slots stay recorded.
fn set_record(
    connection: &Connection,
    id: i64,
    record: &IndexRecord,
    generation: i64,
    directionless: &Slots,
) -> rusqlite::Result<()> {
    let IndexRecord { file, bytes, maker, built_at, vectors, recall } = record;
    let sql = "UPDATE near SET file = ?2, bytes = ?3, maker = ?4, made = ?5, vectors = ?6, \
               recall = ?7, generation = ?8 WHERE collection = ?1";
    let values = params![id, file, bytes, maker, built_at, vectors, recall, generation];
    if connection.execute(sql, values)? == 0 {
        // The collection was removed.
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let mut written = directionless.clone();
    if collections::generation(connection, id)? != generation {
        written = written.either(&Slots::read(connection, BitTable::Written, id)?);
    }
    blocks::clear(connection, BitTable::Written, id)?;
    written.write(connection, BitTable::Written, id)
}
