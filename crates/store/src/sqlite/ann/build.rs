//! Building an ANN index, and measuring what it finds.

use super::graph::{Draft, Graph, MAKER};
use super::index::{BATCH, candidates, checksum, vectors};
use super::{IndexRecord, folder};
use crate::ann::{AnnBuild, BuildStep, OnBuildStep};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::record::{Collection, Query, now};
use crate::sqlite::best::Scored;
use crate::sqlite::blocks::{self, BitTable, Slots};
use crate::sqlite::search::ReadAttempt;
use crate::sqlite::{Sqlite, collections, open};
use crate::traits::Source as _;
use kokeshi_kernels::median;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Number of searches that are measured after a build, and of hits of each.
const QUERIES: usize = 200;
const HITS: usize = 10;

/// A graph whose vectors are not linked yet, and the state of the collection that it copies.
struct CopiedGraph {
    draft: Draft,
    generation: i64,
    vectors: usize,
    /// Slots whose vectors have no direction, which the graph lacks.
    directionless: Slots,
}

/// The results of one search, exact and approximate.
struct SearchComparison {
    recall: f64,
    exact_ms: f64,
    ann_ms: f64,
}

/// The result of the measured searches: mean recall@10, median milliseconds.
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
            return Err(self.not_indexable(&found.name, "its vectors are not normalized"));
        }
        let start = Instant::now();
        let folder = folder(&self.path, id);
        let failed = |source| Error::Io { action: "create", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let _lock = open::lock(&folder)?;
        self.write(|connection| track_writes(connection, id).map_err(fail))?;
        let draft = folder.join(format!("{}.mdb", nanoseconds()));
        let mut new = NewFile { path: draft, is_recorded: false };
        let copied = self.copy_vectors(id, &found, &new.path, on_step)?;
        let CopiedGraph { draft, generation, vectors, directionless } = copied;
        draft.finish(on_step)?;
        let file = new.name_by_content().map_err(failed)?;
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
        remove_others(&folder, &record.file);
        Ok(AnnBuild { vectors, seconds, bytes, queries, recall, exact_ms, ann_ms })
    }

    fn not_indexable(&self, collection: &str, reason: &'static str) -> Error {
        Error::NotIndexable { store: self.name(), collection: collection.to_owned(), reason }
    }

    /// Copies all vectors of one state of the collection into a new graph at `path`.
    fn copy_vectors(
        &self,
        id: i64,
        Collection { name, provenance, .. }: &Collection,
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
            return Err(self.not_indexable(name, "it has no vectors yet"));
        }
        let mut rows = vectors(&read, id, provenance);
        let equal = equal_vectors(&slots, |slot| rows.read(slot).map_err(fail), on_step)?;
        let draft = Draft::begin(path, provenance.dimensions, total)?;
        for (first, others) in &equal {
            draft.add_equal(*first, others)?;
        }
        let others: HashSet<u32> = equal.into_values().flatten().collect();
        let (mut vectors, mut directionless) = (0, Slots::default());
        for (number, slots) in slots.chunks(BATCH).enumerate() {
            if !on_step(BuildStep { name: "reading", done: number * BATCH, total }) {
                return Err(Error::Stopped);
            }
            let mut batch = Vec::new();
            for &slot in slots {
                let vector = rows.read(slot).map_err(fail)?;
                // A vector of length 0 has no direction: the graph cannot hold it, search scans it.
                match (u32::try_from(slot), vector.iter().map(|x| x * x).sum::<f32>()) {
                    (Ok(number), length) if length.is_normal() => {
                        vectors += 1;
                        if !others.contains(&number) {
                            batch.push((number, vector));
                        }
                    }
                    _ => directionless.insert(slot),
                }
            }
            draft.add(&batch)?;
        }
        Ok(CopiedGraph { draft, generation, vectors, directionless })
    }

    /// Searches for a sample of the collection's own vectors, exactly and with `graph`.
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

    /// Searches for the vector of `slot`, exactly and with `graph`; `None` if it was removed.
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
        let approximate =
            self.best_of(id, &found.provenance, &vector, slots, limit).map_err(fail)?;
        let ann_ms = milliseconds(start);
        let recall = recall(slot, exact, approximate);
        Ok(ReadAttempt::Done(Some(SearchComparison { recall, exact_ms, ann_ms })))
    }
}

/// The slots whose vectors equal that of another: by the first slot of each such vector, the others in
/// ascending order.
fn equal_vectors(
    slots: &[usize],
    mut read: impl FnMut(usize) -> Result<Vec<f32>>,
    on_step: &OnBuildStep<'_>,
) -> Result<BTreeMap<u32, Vec<u32>>> {
    let hashed = std::hash::RandomState::new();
    let mut hashes: Vec<(u64, u32)> = Vec::with_capacity(slots.len());
    for (done, &slot) in slots.iter().enumerate() {
        if done % BATCH == 0 && !on_step(BuildStep { name: "comparing", done, total: slots.len() })
        {
            return Err(Error::Stopped);
        }
        if let Ok(number) = u32::try_from(slot) {
            hashes.push((hashed.hash_one(bits(&read(slot)?)), number));
        }
    }
    hashes.sort_unstable();
    let mut equal = BTreeMap::new();
    for run in hashes.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        let mut firsts: HashMap<Vec<u32>, u32> = HashMap::new();
        for &(_, number) in run {
            let first = *firsts.entry(bits(&read(number as usize)?)).or_insert(number);
            if first != number {
                equal.entry(first).or_insert_with(Vec::new).push(number);
            }
        }
    }
    Ok(equal)
}

/// The bits of a vector, which equal those of an equal one.
fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|x| x.to_bits()).collect()
}

/// The share of the best hits other than `slot` itself that were found. A row as good as the last
/// of them counts as well.
fn recall(slot: usize, mut exact: Vec<Scored>, mut approximate: Vec<Scored>) -> f64 {
    for rows in [&mut exact, &mut approximate] {
        rows.retain(|row| row.slot != slot);
        rows.truncate(HITS);
    }
    let Some(last) = exact.last() else { return 1.0 };
    approximate.iter().filter(|row| row.score >= last.score).count() as f64 / exact.len() as f64
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Nanoseconds since 1970: a name that no earlier file has.
fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A file that is removed on drop unless a row names it.
struct NewFile {
    path: PathBuf,
    is_recorded: bool,
}

impl NewFile {
    /// Adds the checksum of its content to its name, which it returns.
    fn name_by_content(&mut self) -> std::io::Result<String> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{stem}-{}.mdb", checksum(&self.path)?);
        let path = self.path.with_file_name(&name);
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(name)
    }
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
/// killed. If another process has one open and the system refuses to remove it, the next build
/// does.
fn remove_others(folder: &Path, kept: &str) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name() != kept) {
        if file.path().extension().is_some_and(|extension| extension == "mdb") {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Lets all further writes record their slots.
fn track_writes(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO near (collection) VALUES (?1)";
    connection.execute(sql, [id]).map(drop)
}

/// Makes `record`, built from the collection at `generation`, its index. The graph contains all
/// earlier writes except `directionless`. If there were later writes, it is unknown which of the
/// recorded slots they wrote, so all of them stay recorded.
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
        written = written.union(&Slots::read(connection, BitTable::Written, id)?);
    }
    blocks::clear(connection, BitTable::Written, id)?;
    written.write(connection, BitTable::Written, id)
}
