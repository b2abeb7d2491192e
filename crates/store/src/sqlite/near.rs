//! The index for approximate search: a graph in a file beside the store, which finds candidates.
//!
//! A row of the table `near` says which file is the index and what it was made of; the same
//! transaction that names a new file forgets what was written before it. So whoever reads one state of
//! the store knows which slots the graph cannot know, whatever a killed process left behind. A file
//! that no row names is rubbish, which the next build removes.

use super::best::Scored;
use super::blocks::{self, Bits, Slots, Table};
use super::{Sqlite, collections, open};
use crate::error::{Error, Result};
use crate::graph::{Draft, Graph, MADE};
use crate::near::{Near, NearBuilt, Step, Unused, Watch};
use crate::provenance::Provenance;
use crate::record::{Query, Source as _, now};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Candidates of the graph for each hit wanted, and at least.
const CANDIDATES_A_HIT: usize = 4;
const CANDIDATES: usize = 100;
/// Hits for which the graph is worth asking: it slows down with the number of candidates.
const MOST_HITS: usize = 1000;
/// The share of newer vectors, one in so many, above which a scan of all is as fast: newer ones are
/// read one by one.
const NEWER: usize = 5;
/// Vectors that are compared with the store's when a graph is opened.
const COMPARED: usize = 64;
/// Vectors that are read or rescored in one go.
const PIECE: usize = 8192;
/// Searches that are measured after a build, and hits of each.
const QUERIES: usize = 200;
const HITS: usize = 10;

/// A row of the table `near` that names a file.
#[derive(Debug)]
struct Record {
    file: String,
    bytes: u64,
    maker: String,
    made: i64,
    vectors: usize,
    recall: f64,
}

/// What opening the file of a row came to.
#[derive(Clone)]
enum Opened {
    Graph(Arc<Graph>),
    /// Somebody has removed it.
    Gone,
    Unfit(String),
}

/// What was opened last for a collection.
pub(super) struct Held {
    file: String,
    opened: Opened,
}

impl Sqlite {
    pub(super) fn near_in(&self, collection: &str) -> Result<Option<Near>> {
        self.repeated(|| {
            let fail = Error::sqlite(&self.path);
            let (id, found) = self.known(collection)?;
            let Some(record) = record(&self.connection, id).map_err(fail)? else {
                return Ok(Some(None));
            };
            let live = Slots::read(&self.connection, Bits::Live, id).map_err(fail)?;
            let written = Slots::read(&self.connection, Bits::Written, id).map_err(fail)?;
            let unfit = match self.opened(id, &record, &found.provenance, (&live, &written)) {
                Opened::Gone => return Ok(Some(None)),
                Opened::Unfit(reason) => Some(Unused::Unfit(reason)),
                Opened::Graph(_) => None,
            };
            let newer = live.both(&written).count();
            let outgrown = is_outgrown(&live, newer).then_some(Unused::Outgrown);
            let Record { bytes, made, vectors, recall, .. } = record;
            Ok(Some(Some(Near { made, vectors, newer, bytes, recall, unused: unfit.or(outgrown) })))
        })
    }

    /// The best `limit` slots by the index, with final scores; `None` if there is none for this.
    pub(super) fn approximate(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &[f32],
        live: &Slots,
        limit: usize,
    ) -> Result<Option<Vec<Scored>>> {
        let fail = Error::sqlite(&self.path);
        if limit > MOST_HITS {
            return Ok(None);
        }
        let Some(record) = record(&self.connection, id).map_err(fail)? else { return Ok(None) };
        let written = Slots::read(&self.connection, Bits::Written, id).map_err(fail)?;
        let newer = live.both(&written);
        if is_outgrown(live, newer.count()) {
            return Ok(None);
        }
        let Opened::Graph(graph) = self.opened(id, &record, provenance, (live, &written)) else {
            return Ok(None);
        };
        match graph.nearest(query, candidates(limit)) {
            Ok(found) => {
                let known = found.into_iter().filter(|&slot| live.contains(slot));
                let slots = known.filter(|&slot| !newer.contains(slot)).chain(newer.iter());
                self.best_of(id, provenance, query, slots, limit).map_err(fail).map(Some)
            }
            Err(reason) => {
                let held = Held { file: record.file, opened: Opened::Unfit(reason) };
                self.graphs.borrow_mut().insert(id, held);
                Ok(None)
            }
        }
    }

    /// The best `limit` of `slots` by their vectors.
    fn best_of(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &[f32],
        slots: impl Iterator<Item = usize>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Scored>> {
        let rows: Vec<Scored> = slots.map(|slot| Scored { score: 0.0, slot }).collect();
        let mut best = Vec::new();
        for piece in rows.chunks(PIECE) {
            best.extend(self.rescored(id, provenance, query, piece.to_vec(), limit)?);
        }
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(limit);
        Ok(best)
    }

    /// The graph that `record` names. Slots are those in use, and those written since.
    fn opened(
        &self,
        id: i64,
        record: &Record,
        provenance: &Provenance,
        slots: (&Slots, &Slots),
    ) -> Opened {
        if let Some(held) = self.graphs.borrow().get(&id)
            && held.file == record.file
        {
            return held.opened.clone();
        }
        let opened = match self.open_graph(id, record, provenance, slots) {
            Ok(Some(graph)) => Opened::Graph(graph),
            Ok(None) => Opened::Gone,
            Err(reason) => Opened::Unfit(reason),
        };
        let held = Held { file: record.file.clone(), opened: opened.clone() };
        self.graphs.borrow_mut().insert(id, held);
        opened
    }

    /// `None` if the file is gone.
    fn open_graph(
        &self,
        id: i64,
        record: &Record,
        provenance: &Provenance,
        slots: (&Slots, &Slots),
    ) -> Result<Option<Arc<Graph>>, String> {
        let path = folder(&self.path, id).join(&record.file);
        let bytes = match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|e| e.to_string())?.len(),
        };
        if record.maker != MADE {
            return Err(format!("it was made by another version ({})", record.maker));
        }
        // A mapped file that has been cut off must not be read.
        if bytes != record.bytes {
            return Err(format!("its file has {bytes} bytes, not {}", record.bytes));
        }
        let graph = Graph::open(&path)?;
        if graph.width() != provenance.dimensions {
            return Err(format!("its vectors have {} dimensions", graph.width()));
        }
        self.compare(id, &graph, provenance, slots)?;
        Ok(Some(graph))
    }

    /// Whether the graph holds what the store holds, of some vectors from all over it.
    fn compare(
        &self,
        id: i64,
        graph: &Graph,
        provenance: &Provenance,
        (live, written): (&Slots, &Slots),
    ) -> Result<(), String> {
        let mut rows = vectors(&self.connection, id, provenance);
        let known = live.without(written);
        for slot in known.spread(COMPARED) {
            let stored = rows.read(slot).map_err(|e| e.to_string())?;
            if graph.vector(slot as u32)?.as_ref() != Some(&stored) {
                return Err("its vectors are not those of the collection".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn build_near_in(&self, collection: &str, watch: &Watch<'_>) -> Result<NearBuilt> {
        let (id, found) = self.known(collection)?;
        let fail = Error::sqlite(&self.path);
        if !found.provenance.normalised {
            return Err(self.refused("vectors of any length: they can be scanned only"));
        }
        let begun = Instant::now();
        let folder = folder(&self.path, id);
        let failed = |source| Error::Io { action: "create", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let _lock = open::lock(&folder)?;
        self.write(|connection| track(connection, id).map_err(fail))?;
        let file = format!("{}.mdb", nanoseconds());
        let mut unnamed = Unnamed { path: folder.join(&file), named: false };
        let copied = self.copied(id, &found.provenance, &unnamed.path, watch)?;
        let Copied { draft, generation, vectors, odd } = copied;
        draft.finish(watch)?;
        let bytes = fs::metadata(&unnamed.path).map_err(failed)?.len();
        let graph = Graph::open(&unnamed.path);
        let graph =
            graph.map_err(|reason| Error::Damaged { path: unnamed.path.clone(), reason })?;
        let seconds = begun.elapsed().as_secs_f64();
        let measured = self.measured(collection, &graph, watch)?;
        let (queries, recall, exact_ms, near_ms) = measured;
        let maker = MADE.to_owned();
        let record = Record { file, bytes, maker, made: now(), vectors, recall };
        self.write(|connection| {
            self.known(collection)?;
            name(connection, id, &record, generation, &odd).map_err(fail)
        })?;
        unnamed.named = true;
        sweep(&folder, &record.file);
        Ok(NearBuilt { vectors, seconds, bytes, queries, recall, exact_ms, near_ms })
    }

    fn refused(&self, known: &str) -> Error {
        let wanted = "index for approximate search of this collection".to_owned();
        Error::Unsupported { store: self.name(), wanted, known: known.to_owned() }
    }

    /// Copies all vectors of one state of the collection into a new graph at `path`.
    fn copied(
        &self,
        id: i64,
        provenance: &Provenance,
        path: &Path,
        watch: &Watch<'_>,
    ) -> Result<Copied> {
        let fail = Error::sqlite(&self.path);
        let read = self.connection.unchecked_transaction().map_err(fail)?;
        let generation = collections::generation(&read, id).map_err(fail)?;
        let slots: Vec<usize> = Slots::read(&read, Bits::Live, id).map_err(fail)?.iter().collect();
        let total = slots.len();
        if total == 0 {
            return Err(self.refused("no vector in it yet"));
        }
        let draft = Draft::begin(path, provenance.dimensions, total)?;
        let mut rows = vectors(&read, id, provenance);
        let (mut vectors, mut odd) = (0, Slots::default());
        for (number, slots) in slots.chunks(PIECE).enumerate() {
            if !watch(Step { name: "reading", done: number * PIECE, total }) {
                return Err(Error::Stopped);
            }
            let mut piece = Vec::new();
            for &slot in slots {
                let vector = rows.read(slot).map_err(fail)?;
                // A vector without a direction has no place in the graph; it is scanned.
                match (u32::try_from(slot), vector.iter().map(|x| x * x).sum::<f32>()) {
                    (Ok(number), length) if length.is_normal() => piece.push((number, vector)),
                    _ => odd.insert(slot),
                }
            }
            vectors += piece.len();
            draft.add(&piece)?;
        }
        Ok(Copied { draft, generation, vectors, odd })
    }

    /// Number of searches, recall@10, and median milliseconds of exact and of approximate ones.
    fn measured(
        &self,
        collection: &str,
        graph: &Graph,
        watch: &Watch<'_>,
    ) -> Result<(usize, f64, f64, f64)> {
        let sample = self.repeated(|| {
            let (id, _) = self.known(collection)?;
            let live = Slots::read(&self.connection, Bits::Live, id);
            Ok(Some(live.map_err(Error::sqlite(&self.path))?.spread(QUERIES)))
        })?;
        let mut found = Vec::new();
        for (done, &slot) in sample.iter().enumerate() {
            if !watch(Step { name: "measuring", done, total: sample.len() }) {
                return Err(Error::Stopped);
            }
            found.extend(self.repeated(|| self.compared(collection, graph, slot))?);
        }
        let recall = found.iter().map(|one| one.recall).sum::<f64>() / found.len().max(1) as f64;
        let exact = median(found.iter().map(|one| one.exact_ms).collect());
        let near = median(found.iter().map(|one| one.near_ms).collect());
        Ok((found.len(), recall, exact, near))
    }

    /// The search for the vector of `slot`, exact and approximate; nothing if it has been removed.
    fn compared(
        &self,
        collection: &str,
        graph: &Graph,
        slot: usize,
    ) -> Result<Option<Option<Compared>>> {
        let fail = Error::sqlite(&self.path);
        let (id, found) = self.known(collection)?;
        let live = Slots::read(&self.connection, Bits::Live, id).map_err(fail)?;
        if !live.contains(slot) {
            return Ok(Some(None));
        }
        let vector = vectors(&self.connection, id, &found.provenance).read(slot).map_err(fail)?;
        let limit = HITS + 1;
        let filter = crate::Filter::default();
        let query = Query { vector: &vector, words: None, limit, filter: &filter, exact: true };
        let start = Instant::now();
        let Some(exact) = self.nearest(id, &found.provenance, &query, None, limit)? else {
            return Ok(None);
        };
        let exact_ms = milliseconds(start);
        let start = Instant::now();
        let near = graph.nearest(&vector, candidates(limit));
        let near = near.map_err(|reason| Error::Damaged { path: self.path.clone(), reason })?;
        let near = near.into_iter().filter(|&slot| live.contains(slot));
        let near = self.best_of(id, &found.provenance, &vector, near, limit).map_err(fail)?;
        let near_ms = milliseconds(start);
        Ok(Some(Some(Compared { recall: recall(slot, exact, near), exact_ms, near_ms })))
    }
}

/// A graph with vectors that are not linked yet, and what they are.
struct Copied {
    draft: Draft,
    generation: i64,
    vectors: usize,
    /// Slots that it lacks.
    odd: Slots,
}

/// One search, done in both ways.
struct Compared {
    recall: f64,
    exact_ms: f64,
    near_ms: f64,
}

/// The share of the best hits beside `slot` itself that were found, or others as good.
fn recall(slot: usize, mut exact: Vec<Scored>, mut near: Vec<Scored>) -> f64 {
    for rows in [&mut exact, &mut near] {
        rows.retain(|row| row.slot != slot);
        rows.truncate(HITS);
    }
    let Some(last) = exact.last() else { return 1.0 };
    near.iter().filter(|row| row.score >= last.score).count() as f64 / exact.len() as f64
}

fn candidates(limit: usize) -> usize {
    limit.saturating_mul(CANDIDATES_A_HIT).max(CANDIDATES)
}

fn is_outgrown(live: &Slots, newer: usize) -> bool {
    newer * NEWER > live.count()
}

fn vectors<'c>(connection: &'c Connection, id: i64, provenance: &Provenance) -> blocks::Rows<'c> {
    let layout = super::search::vectors(provenance);
    blocks::Rows::new(connection, id, Table::Vectors, layout)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A number that no earlier file has.
fn nanoseconds() -> u128 {
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    age.unwrap_or_default().as_nanos()
}

/// Where the indexes of the collection `id` of the store at `path` lie.
fn folder(path: &Path, id: i64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".near");
    PathBuf::from(name).join(id.to_string())
}

/// A file that is removed unless it gets a row that names it.
struct Unnamed {
    path: PathBuf,
    named: bool,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named {
            // What stays is removed by the next build.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes all graphs in `folder` but `kept`: earlier ones, and those of builds that were killed. Who
/// has one open keeps it as long; a system that does not allow that lets the next build remove it.
fn sweep(folder: &Path, kept: &str) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name() != kept) {
        if file.path().extension().is_some_and(|extension| extension == "mdb") {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Removes what lies beside the store at `path` for a collection that is gone. Files that stay cost
/// space, and are never taken for those of another collection: no row names them.
pub(super) fn remove_files(path: &Path, id: i64) {
    let _ = fs::remove_dir_all(folder(path, id));
}

fn record(connection: &Connection, id: i64) -> rusqlite::Result<Option<Record>> {
    let sql = "SELECT file, bytes, maker, made, vectors, recall FROM near \
               WHERE collection = ?1 AND file IS NOT NULL";
    let record = |row: &Row<'_>| {
        Ok(Record {
            file: row.get(0)?,
            bytes: row.get(1)?,
            maker: row.get(2)?,
            made: row.get(3)?,
            vectors: row.get(4)?,
            recall: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id], record).optional()
}

/// Notes from now on which slots are written.
fn track(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO near (collection) VALUES (?1)";
    connection.execute(sql, [id]).map(drop)
}

/// Makes `record`, of the collection at `generation`, its index. What was written until then is in it,
/// but for `odd`; if more was written since, it is not known what, and nothing is forgotten.
fn name(
    connection: &Connection,
    id: i64,
    record: &Record,
    generation: i64,
    odd: &Slots,
) -> rusqlite::Result<()> {
    let Record { file, bytes, maker, made, vectors, recall } = record;
    let sql = "UPDATE near SET file = ?2, bytes = ?3, maker = ?4, made = ?5, vectors = ?6, \
               recall = ?7, generation = ?8 WHERE collection = ?1";
    let values = params![id, file, bytes, maker, made, vectors, recall, generation];
    if connection.execute(sql, values)? == 0 {
        // The collection has been removed.
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let mut written = odd.clone();
    if collections::generation(connection, id)? != generation {
        written = written.either(&Slots::read(connection, Bits::Written, id)?);
    }
    blocks::clear(connection, Bits::Written, id)?;
    written.write(connection, Bits::Written, id)
}
