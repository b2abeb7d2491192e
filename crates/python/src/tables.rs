//! `TableJob`: files of rows to files of vectors; see `kokeshi.tables`.

use crate::engines::engine;
use crate::errors::of_tables;
use crate::model::{Engine, TextOptions};
use kokeshi::Chunking;
use kokeshi_tables::{
    Columns, Error, Job, Keep, Method, ModelRecord, Progress, SHARD_BYTES, Shard, ShardResult,
    VectorType,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Time between two reports while a shard is embedded.
const REPORT: Duration = Duration::from_millis(200);

/// Which columns are what, from a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct ColumnNames {
    text: Option<String>,
    id: Option<String>,
    document: Option<String>,
    /// `None` is all.
    keep: Option<Vec<String>>,
    vector: String,
}

/// The names of the files that match any of `patterns`.
#[pyfunction]
pub(crate) fn matching(py: Python<'_>, patterns: Vec<String>) -> PyResult<Vec<PathBuf>> {
    let files = py.detach(|| kokeshi_tables::matching(&patterns)).map_err(of_tables)?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

/// A job whose shards any process can run.
#[pyclass(frozen, module = "kokeshi._kokeshi")]
pub(crate) struct TableJob {
    engine: Py<Engine>,
    job: Job,
}

#[pymethods]
impl TableJob {
    #[new]
    #[pyo3(signature = (engine, output, columns, options, *, vector_type="f32", chunking=None, late=false, has_text=true, shard_bytes=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        engine: Py<Engine>,
        output: PathBuf,
        columns: ColumnNames,
        options: TextOptions,
        vector_type: &str,
        chunking: Option<&str>,
        late: bool,
        has_text: bool,
        shard_bytes: Option<u64>,
    ) -> PyResult<Self> {
        let ColumnNames { text, id, document, keep, vector } = columns;
        let keep = keep.map_or(Keep::All, Keep::Named);
        let columns = Columns { text, id, document, keep, vector };
        let chunking: Option<Chunking> =
            chunking.map(str::parse).transpose().map_err(crate::errors::of_engine)?;
        let method = Method { options: options.into(), chunking, late, has_text };
        let vectors: VectorType = vector_type.parse().map_err(PyValueError::new_err)?;
        let name = engine.get().key().name.clone();
        let revision = engine.get().revision(py)?;
        let model = ModelRecord { name, revision };
        let mut job = Job::new(output, columns, method, vectors, model).map_err(of_tables)?;
        job.shard_bytes = shard_bytes.unwrap_or(SHARD_BYTES);
        Ok(Self { engine, job })
    }

    /// The shards of the files that match `patterns`, as JSON, once the output folder is prepared for
    /// them; and how many finished files of other inputs it has.
    fn plan(&self, py: Python<'_>, patterns: Vec<String>) -> PyResult<(Vec<String>, usize)> {
        let planned = py.detach(|| {
            let shards = self.job.shards(&kokeshi_tables::matching(&patterns)?)?;
            let others = self.job.prepare(&shards)?;
            Ok::<_, Error>((shards, others))
        });
        let (shards, others) = planned.map_err(of_tables)?;
        let json = |shard: &Shard| serde_json::to_string(shard).unwrap_or_default();
        Ok((shards.iter().map(json).collect(), others))
    }

    /// Embeds one shard, unless it is finished. Returns `"now"`, `"before"` or `"elsewhere"`, and the
    /// manifest as JSON. `progress` is called with numbers of vectors, tokens and bytes.
    #[pyo3(signature = (shard, progress=None))]
    fn run(
        &self,
        py: Python<'_>,
        shard: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(&'static str, Option<String>)> {
        let shard: Shard = serde_json::from_str(shard)
            .map_err(|error| PyValueError::new_err(format!("not a shard: {error}")))?;
        let engine = engine(py, self.engine.get().key())?;
        let watch = Watch::default();
        let result = py.detach(|| {
            thread::scope(|scope| {
                let work = scope.spawn(|| {
                    let _end = watch.end_on_drop();
                    engine.run(|model| self.job.run(&shard, model, &mut |step| watch.add(step)))
                });
                let reported = watch.report(progress.as_ref());
                let result = work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                reported.and(result.map_err(of_tables))
            })
        })?;
        let json = |manifest| serde_json::to_string(&manifest).ok();
        Ok(match result {
            ShardResult::Now(manifest) => ("now", json(manifest)),
            ShardResult::Before(manifest) => ("before", json(manifest)),
            ShardResult::Elsewhere => ("elsewhere", None),
        })
    }
}

/// What a shard's thread tells the thread of Python, which alone hears of signals, and the reverse.
#[derive(Default)]
struct Watch {
    state: Mutex<WatchState>,
    changed: Condvar,
}

#[derive(Default)]
struct WatchState {
    /// What was done since the last report.
    waiting: Progress,
    is_over: bool,
    is_stopped: bool,
}

/// Says that the work is over, however it ends.
struct EndOnDrop<'w>(&'w Watch);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_on_drop(&self) -> EndOnDrop<'_> {
        EndOnDrop(self)
    }

    /// Adds what was done; whether to go on.
    fn add(&self, step: Progress) -> bool {
        let mut state = self.lock();
        state.waiting.vectors += step.vectors;
        state.waiting.tokens += step.tokens;
        state.waiting.bytes += step.bytes;
        !state.is_stopped
    }

    /// Passes progress on until the work is over. An error of Python, such as an interrupt, stops it.
    fn report(&self, progress: Option<&Py<PyAny>>) -> PyResult<()> {
        let mut result = Ok(());
        loop {
            let waited =
                self.changed.wait_timeout_while(self.lock(), REPORT, |state| !state.is_over);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let (is_over, step) = (state.is_over, std::mem::take(&mut state.waiting));
            drop(state);
            if result.is_ok() {
                result = report(progress, step);
                self.lock().is_stopped = result.is_err();
            }
            if is_over {
                return result;
            }
        }
    }
}

fn report(progress: Option<&Py<PyAny>>, step: Progress) -> PyResult<()> {
    let Progress { vectors, tokens, bytes } = step;
    Python::attach(|py| {
        if let Some(progress) = progress.filter(|_| step != Progress::default()) {
            progress.call1(py, (vectors, tokens, bytes))?;
        }
        py.check_signals()
    })
}
