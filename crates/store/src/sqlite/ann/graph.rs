//! An HNSW graph of vectors in an LMDB file, which is written once under a unique name and then
//! only read. The library is `hannoy`. Equal vectors are one node with a list: linked to each other
//! they would take the time of a scan each, and leave no links to others.

#![expect(unsafe_code, reason = "LMDB maps its file into memory")]

use crate::ann::{BuildStep, OnBuildStep};
use crate::error::{Error, Result};
use hannoy::distances::Cosine;
use hannoy::{Database, Reader, Writer};
use heed::byteorder::BE;
use heed::types::{Bytes, U32};
use heed::{Env, EnvFlags, EnvOpenOptions, RwTxn, WithoutTls};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

/// The library and settings that build graphs, as stored with them. Other graphs are not read.
pub(super) const MAKER: &str =
    "hannoy 0.1, cosine of f32, 16 and 32 links, 100 candidates, equal vectors once";

/// The databases of a file: the graph; the other slots with the vector of a slot in the graph, in
/// ascending order; and the slot in the graph that has the vector of another.
const VECTORS: &str = "vectors";
const EQUAL: &str = "equal";
const FIRST: &str = "first";
type EqualSlots = heed::Database<U32<BE>, Bytes>;
type FirstSlots = heed::Database<U32<BE>, U32<BE>>;
/// Maximum number of slots that are found, for each that is requested: equal vectors may have been
/// removed since the graph was built.
const MAX_FOUND: usize = 16;

/// Links of a vector in upper layers and in the lowest layer, and candidates when it is linked: the
/// defaults of the library. With 8 and 16 links, recall@10 falls from 0.999 to 0.83 on synthetic
/// topics.
const LINKS: usize = 16;
const LOWEST_LINKS: usize = 32;
const CANDIDATES: usize = 100;
/// The id of the only graph in a file.
const ONLY: u16 = 0;
/// Time between reports of progress, which may stop the build.
const TICK: Duration = Duration::from_millis(200);
/// How long to wait until this process has closed the same file.
const CLOSING: Duration = Duration::from_secs(10);

/// A graph that is being written.
pub(super) struct Draft {
    path: PathBuf,
    env: Env<WithoutTls>,
    writer: Writer<Cosine>,
    equal: EqualSlots,
    first: FirstSlots,
    count: usize,
}

impl Draft {
    /// Begins a graph of up to `count` vectors of width `width` in a new file at `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; here and below.
    pub(super) fn begin(path: &Path, width: usize, count: usize) -> Result<Self> {
        let fail = failed(path);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size(width, count)).max_dbs(3);
        // SAFETY: no other process knows the file yet, so no lock is needed, and it is used only
        // after `finish` has written it to the disk.
        let options =
            unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK | EnvFlags::NO_SYNC) };
        // SAFETY: no other process knows the file, so only this environment changes it.
        let env = unsafe { options.open(path) }.map_err(|e| fail(e.into()))?;
        let mut transaction = env.write_txn().map_err(|e| fail(e.into()))?;
        let database: Database<Cosine> =
            env.create_database(&mut transaction, Some(VECTORS)).map_err(|e| fail(e.into()))?;
        let equal = env.create_database(&mut transaction, Some(EQUAL));
        let equal = equal.map_err(|e| fail(e.into()))?;
        let first = env.create_database(&mut transaction, Some(FIRST));
        let first = first.map_err(|e| fail(e.into()))?;
        transaction.commit().map_err(|e| fail(e.into()))?;
        let writer = Writer::new(database, ONLY, width);
        Ok(Self { path: path.to_owned(), env, writer, equal, first, count })
    }

    /// Adds `vectors`, `[vectors, width]`, with their slots.
    pub(super) fn add(&self, vectors: &[(u32, Vec<f32>)]) -> Result<()> {
        let mut transaction = self.env.write_txn().map_err(|e| failed(&self.path)(e.into()))?;
        let added = vectors.iter().try_for_each(|(number, vector)| {
            self.writer.add_item(&mut transaction, *number, vector)
        });
        let committed = added.and_then(|()| transaction.commit().map_err(Into::into));
        committed.map_err(failed(&self.path))
    }

    /// Adds the slots `others`, in ascending order, whose vectors equal that of the slot `first`.
    pub(super) fn add_equal(&self, first: u32, others: &[u32]) -> Result<()> {
        let add = || {
            let mut transaction = self.env.write_txn()?;
            let bytes: Vec<u8> = others.iter().flat_map(|other| other.to_le_bytes()).collect();
            self.equal.put(&mut transaction, &first, &bytes)?;
            for other in others {
                self.first.put(&mut transaction, other, &first)?;
            }
            transaction.commit()
        };
        add().map_err(|error: heed::Error| failed(&self.path)(error.into()))
    }

    /// Links the added vectors, and writes everything to the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if `on_step` returns false.
    pub(super) fn finish(self, on_step: &OnBuildStep<'_>) -> Result<()> {
        let linked = self.link(on_step).and_then(|()| self.env.force_sync().map_err(Into::into));
        let finished = linked.map_err(failed(&self.path));
        self.env.prepare_for_closing().wait_timeout(CLOSING);
        finished
    }

    fn link(&self, on_step: &OnBuildStep<'_>) -> hannoy::Result<()> {
        let mut transaction = self.env.write_txn()?;
        let (counting, stop) = (CountingStep::default(), AtomicBool::new(false));
        let (done, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (counting, stop) = (&counting, &stop);
            scope.spawn(move || {
                while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let step =
                        BuildStep { name: "linking", done: counting.done(), total: self.count };
                    stop.fetch_or(!on_step(step), Ordering::Relaxed);
                }
            });
            let linked = self.link_in(&mut transaction, counting.clone(), stop);
            drop(done);
            linked
        })?;
        transaction.commit()?;
        Ok(())
    }

    fn link_in(
        &self,
        transaction: &mut RwTxn<'_>,
        counting: CountingStep,
        stop: &AtomicBool,
    ) -> hannoy::Result<()> {
        // Levels are the same in every build; the order of links depends on the threads.
        let mut random = SmallRng::seed_from_u64(0);
        let mut builder = self.writer.builder(&mut random).progress(counting);
        builder.ef_construction(CANDIDATES).cancel(|| stop.load(Ordering::Relaxed));
        builder.build::<LINKS, LOWEST_LINKS>(transaction)
    }
}

/// The library's progress step that counts vectors; `None` until it begins.
#[derive(Clone, Default)]
struct CountingStep(Arc<Mutex<Option<Box<dyn steppe::Step>>>>);

impl CountingStep {
    fn done(&self) -> usize {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        step.as_ref().map_or(0, |step| step.current() as usize)
    }
}

impl steppe::Progress for CountingStep {
    fn update(&self, step: impl steppe::Step) {
        if step.name() == "inserting items" {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(step));
        }
    }
}

/// Bytes of address space for a graph, of which the file uses what it needs. A vector that does not
/// fit into half a page gets its own pages, and its links take 300 bytes.
fn map_size(width: usize, count: usize) -> usize {
    const PAGE: usize = 64 << 10;
    let vector = (4 * width + 64).next_multiple_of(4096) + 1024;
    (2 * vector.saturating_mul(count) + (64 << 20)).next_multiple_of(PAGE)
}

/// Turns an error of the library about the file at `path` into one that people can act on.
fn failed(path: &Path) -> impl Fn(hannoy::Error) -> Error + Copy + '_ {
    move |error| {
        let path = path.to_owned();
        match error {
            hannoy::Error::BuildCancelled => Error::Stopped,
            hannoy::Error::Io(source) | hannoy::Error::Heed(heed::Error::Io(source)) => {
                match source.kind() == ErrorKind::StorageFull || is_full(&path) {
                    true => Error::NoSpaceForAnnIndex { path },
                    false => Error::Io { action: "write", path, source },
                }
            }
            other => Error::Io { action: "write", path, source: std::io::Error::other(other) },
        }
    }
}

/// Whether the disk of `path` is full. LMDB reports an input/output error if it fills up in the
/// middle of a write.
fn is_full(path: &Path) -> bool {
    let probe = path.with_extension("probe");
    let written = std::fs::write(&probe, [0; 64 << 10]);
    let _ = std::fs::remove_file(probe);
    written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// A complete graph. Its errors are sentences for people that say why it cannot be searched.
pub(super) struct Graph {
    env: Env<WithoutTls>,
    reader: Reader<Cosine>,
    equal: EqualSlots,
    first: FirstSlots,
}

/// The graphs that this process has open, by file: LMDB must not open a file twice.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Graph>>> = Mutex::new(BTreeMap::new());

impl Graph {
    /// Opens the graph at `path`, or shares the one that is already open.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, String> {
        let path = path.canonicalize().map_err(|e| e.to_string())?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(graph);
        }
        if let Some(closing) = heed::env_closing_event(&path) {
            closing.wait_timeout(CLOSING);
        }
        let graph = Arc::new(guarded(|| Self::read(&path))?);
        open.retain(|_, graph| graph.strong_count() > 0);
        open.insert(path, Arc::downgrade(&graph));
        Ok(graph)
    }

    fn read(path: &Path) -> hannoy::Result<Self> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.max_dbs(3);
        // SAFETY: without a writer there is nothing to lock. A row names a file only after it has
        // been written completely, and it is never written again.
        let options = unsafe {
            options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK | EnvFlags::READ_ONLY)
        };
        // SAFETY: as with a mapped file of weights, no process writes to it, and removing it keeps
        // existing mappings intact.
        let env = unsafe { options.open(path) }?;
        let transaction = env.read_txn()?;
        let absent = || hannoy::Error::MissingMetadata(ONLY);
        let database: Option<Database<Cosine>> = env.open_database(&transaction, Some(VECTORS))?;
        let reader = Reader::open(&transaction, ONLY, database.ok_or_else(absent)?)?;
        let equal = env.open_database(&transaction, Some(EQUAL))?.ok_or_else(absent)?;
        let first = env.open_database(&transaction, Some(FIRST))?.ok_or_else(absent)?;
        // Databases that a transaction has opened stay open only if it is committed.
        transaction.commit()?;
        Ok(Self { env, reader, equal, first })
    }

    /// Width of the vectors.
    pub(super) fn width(&self) -> usize {
        self.reader.dimensions()
    }

    /// The slots of about `count` vectors that are nearest to `query`, best first.
    pub(super) fn nearest(&self, query: &[f32], count: usize) -> Result<Vec<usize>, String> {
        // If more vectors are requested than exist, the library visits every vector.
        let count = count.min(self.reader.n_items() as usize).max(1);
        guarded(|| {
            let transaction = self.env.read_txn()?;
            let found = self.reader.nns(count).ef_search(count).by_vector(&transaction, query)?;
            let mut slots = Vec::new();
            for (number, _) in found.into_nns() {
                slots.push(number as usize);
                let equal = self.equal.get(&transaction, &number)?.unwrap_or_default();
                let (equal, _) = equal.as_chunks();
                let equal = equal.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize);
                slots.extend(equal.take(count));
            }
            slots.truncate(MAX_FOUND * count);
            Ok(slots)
        })
    }

    /// The vector of the slot `number`, if the graph has it.
    pub(super) fn vector(&self, number: u32) -> Result<Option<Vec<f32>>, String> {
        guarded(|| {
            let transaction = self.env.read_txn()?;
            let first = self.first.get(&transaction, &number)?.unwrap_or(number);
            self.reader.item_vector(&transaction, first)
        })
    }
}

/// Runs `work` on a file that may be damaged: the library panics if a graph is inconsistent.
fn guarded<T>(work: impl FnOnce() -> hannoy::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its graph is inconsistent".to_owned()),
    }
}
