//! A graph of near vectors (HNSW) in an LMDB file: written once under a name of its own, then only
//! read. The library is `hannoy`.

#![expect(unsafe_code, reason = "LMDB maps its file into memory")]

use crate::error::{Error, Result};
use crate::near::{Step, Watch};
use hannoy::distances::Cosine;
use hannoy::{Database, Reader, Writer};
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

/// What makes and reads graphs. A graph that something else made is not read.
pub(crate) const MADE: &str = "hannoy 0.1, cosine of f32, 16 and 32 links, 100 candidates";

/// Links of a vector in upper layers and in the lowest, and candidates while it is linked: the
/// defaults of the library. With 8 and 16 links, recall@10 falls from 0.999 to 0.83 on drawn topics.
const LINKS: usize = 16;
const LOWEST_LINKS: usize = 32;
const CANDIDATES: usize = 100;
/// The number of the only graph in a file.
const ONLY: u16 = 0;
/// How often progress is told and the wish to stop is heard.
const TICK: Duration = Duration::from_millis(200);
/// How long an earlier opening of the same file may take to end.
const CLOSING: Duration = Duration::from_secs(10);

/// A graph that is being written.
pub(crate) struct Draft {
    path: PathBuf,
    env: Env<WithoutTls>,
    writer: Writer<Cosine>,
    count: usize,
}

impl Draft {
    /// Begins the graph of up to `count` vectors of `width` numbers in a new file at `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; here and below.
    pub(crate) fn begin(path: &Path, width: usize, count: usize) -> Result<Self> {
        let fail = failed(path);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(room(width, count));
        // SAFETY: nobody else knows the file yet, so that no lock is needed, and it counts only after
        // `finish` has written it to the disk.
        let options =
            unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK | EnvFlags::NO_SYNC) };
        // SAFETY: nobody else knows the file, so that it changes by this environment alone.
        let env = unsafe { options.open(path) }.map_err(|e| fail(e.into()))?;
        let mut transaction = env.write_txn().map_err(|e| fail(e.into()))?;
        let database: Database<Cosine> =
            env.create_database(&mut transaction, None).map_err(|e| fail(e.into()))?;
        transaction.commit().map_err(|e| fail(e.into()))?;
        let writer = Writer::new(database, ONLY, width);
        Ok(Self { path: path.to_owned(), env, writer, count })
    }

    /// Adds `vectors`, `[vectors, width]`, with their numbers.
    pub(crate) fn add(&self, vectors: &[(u32, Vec<f32>)]) -> Result<()> {
        let mut transaction = self.env.write_txn().map_err(|e| failed(&self.path)(e.into()))?;
        let added = vectors.iter().try_for_each(|(number, vector)| {
            self.writer.add_item(&mut transaction, *number, vector)
        });
        let committed = added.and_then(|()| transaction.commit().map_err(Into::into));
        committed.map_err(failed(&self.path))
    }

    /// Links what was added, and writes all to the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if `watch` says so.
    pub(crate) fn finish(self, watch: &Watch<'_>) -> Result<()> {
        let linked = self.link(watch).and_then(|()| self.env.force_sync().map_err(Into::into));
        let finished = linked.map_err(failed(&self.path));
        self.env.prepare_for_closing().wait_timeout(CLOSING);
        finished
    }

    fn link(&self, watch: &Watch<'_>) -> hannoy::Result<()> {
        let mut transaction = self.env.write_txn()?;
        let (latest, stop) = (Latest::default(), AtomicBool::new(false));
        let (done, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (latest, stop) = (&latest, &stop);
            scope.spawn(move || {
                while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let step = Step { name: "linking", done: latest.done(), total: self.count };
                    stop.fetch_or(!watch(step), Ordering::Relaxed);
                }
            });
            let linked = self.link_in(&mut transaction, latest.clone(), stop);
            drop(done);
            linked
        })?;
        transaction.commit()?;
        Ok(())
    }

    fn link_in(
        &self,
        transaction: &mut RwTxn<'_>,
        latest: Latest,
        stop: &AtomicBool,
    ) -> hannoy::Result<()> {
        // Levels are drawn alike each time; the order of links is that of the threads.
        let mut random = SmallRng::seed_from_u64(0);
        let mut builder = self.writer.builder(&mut random).progress(latest);
        builder.ef_construction(CANDIDATES).cancel(|| stop.load(Ordering::Relaxed));
        builder.build::<LINKS, LOWEST_LINKS>(transaction)
    }
}

/// The step of the library that counts vectors, once it has begun.
#[derive(Clone, Default)]
struct Latest(Arc<Mutex<Option<Box<dyn steppe::Step>>>>);

impl Latest {
    fn done(&self) -> usize {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        step.as_ref().map_or(0, |step| step.current() as usize)
    }
}

impl steppe::Progress for Latest {
    fn update(&self, step: impl steppe::Step) {
        if step.name() == "inserting items" {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(step));
        }
    }
}

/// Bytes of address space for a graph; the file takes what it needs of them. A vector that does not
/// fit into half a page gets pages of its own, and its links take 300 bytes.
fn room(width: usize, count: usize) -> usize {
    const PAGE: usize = 64 << 10;
    let vector = (4 * width + 64).next_multiple_of(4096) + 1024;
    (2 * vector.saturating_mul(count) + (64 << 20)).next_multiple_of(PAGE)
}

/// Turns what the library says of the file at `path` into what people can act on.
fn failed(path: &Path) -> impl Fn(hannoy::Error) -> Error + Copy + '_ {
    move |error| {
        let path = path.to_owned();
        match error {
            hannoy::Error::BuildCancelled => Error::Stopped,
            hannoy::Error::Io(source) | hannoy::Error::Heed(heed::Error::Io(source)) => {
                match source.kind() == ErrorKind::StorageFull || is_full(&path) {
                    true => Error::NoRoom { path },
                    false => Error::Io { action: "write", path, source },
                }
            }
            other => Error::Io { action: "write", path, source: std::io::Error::other(other) },
        }
    }
}

/// Whether nothing more can be written beside `path`. LMDB calls it an input/output error if a disk
/// fills up in the middle of what it writes.
fn is_full(path: &Path) -> bool {
    let probe = path.with_extension("probe");
    let written = std::fs::write(&probe, [0; 64 << 10]);
    let _ = std::fs::remove_file(probe);
    written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// A graph to search in. Why it cannot be searched in is a sentence for people.
pub(crate) struct Graph {
    env: Env<WithoutTls>,
    reader: Reader<Cosine>,
}

/// The graphs that this process has open, by file: LMDB must not open one twice.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Graph>>> = Mutex::new(BTreeMap::new());

impl Graph {
    /// Opens the graph at `path`, or shares it with those who have it open.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, String> {
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
        // SAFETY: without a writer there is nothing to lock. A file gets its name after it was
        // written, and is not written again.
        let options = unsafe {
            options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK | EnvFlags::READ_ONLY)
        };
        // SAFETY: as of a mapped file of weights: nobody writes to it, and whoever removes it leaves
        // it to those who have mapped it.
        let env = unsafe { options.open(path) }?;
        let transaction = env.read_txn()?;
        let database: Option<Database<Cosine>> = env.open_database(&transaction, None)?;
        let database = database.ok_or(hannoy::Error::MissingMetadata(ONLY))?;
        let reader = Reader::open(&transaction, ONLY, database)?;
        drop(transaction);
        Ok(Self { env, reader })
    }

    /// Numbers of a vector.
    pub(crate) fn width(&self) -> usize {
        self.reader.dimensions()
    }

    /// The numbers of about `count` vectors that are nearest to `query`, best first.
    pub(crate) fn nearest(&self, query: &[f32], count: usize) -> Result<Vec<usize>, String> {
        // Who asks for more than there are makes the library look at every vector.
        let count = count.min(self.reader.n_items() as usize).max(1);
        guarded(|| {
            let transaction = self.env.read_txn()?;
            let found = self.reader.nns(count).ef_search(count).by_vector(&transaction, query)?;
            Ok(found.into_nns().into_iter().map(|(number, _)| number as usize).collect())
        })
    }

    /// The vector `number`, if it is there.
    pub(crate) fn vector(&self, number: u32) -> Result<Option<Vec<f32>>, String> {
        guarded(|| {
            let transaction = self.env.read_txn()?;
            self.reader.item_vector(&transaction, number)
        })
    }
}

/// Runs `work` on a file that may be damaged: the library panics where a graph contradicts itself.
fn guarded<T>(work: impl FnOnce() -> hannoy::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its graph contradicts itself".to_owned()),
    }
}
