//! A job: the shards of some files, and one of them from its rows to its manifest.

use crate::columns::{Columns, Keep};
use crate::documents::Documents;
use crate::embed::{EmbeddedRows, Method};
use crate::error::{Error, Result};
use crate::failed::FailedRows;
use crate::inputs::InputFile;
use crate::lock::{lock, unlock};
use crate::manifest::{self, FOLDER, InputState, Manifest, Paths};
use crate::read::{self, JsonColumns, Reader};
use crate::rows::Rows;
use crate::shard::{self, Shard};
use crate::vectors::VectorType;
use crate::writer::{OutputColumns, Writer};
use kokeshi::Model;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How tables become tables of vectors. The same job in another process, or on another machine that
/// sees the same files, has the same shards.
#[derive(Debug)]
pub struct Job {
    /// The folder that is written.
    pub output: PathBuf,
    /// Which columns are what.
    pub columns: Columns,
    /// How texts become vectors.
    pub method: Method,
    /// How vectors are written.
    pub vectors: VectorType,
    /// The model.
    pub model: ModelRecord,
    /// Bytes from which files are cut into several shards.
    pub shard_bytes: u64,
    /// What is known of files that have several shards.
    files: Mutex<HashMap<PathBuf, FileFacts>>,
}

/// A model, as manifests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRecord {
    /// Its name.
    pub name: String,
    /// What identifies its weights.
    pub revision: String,
}

#[derive(Clone, Debug, Default)]
struct FileFacts {
    state: Option<InputState>,
    json: Option<Arc<JsonColumns>>,
}

/// What was done since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Vectors.
    pub vectors: usize,
    /// Tokens.
    pub tokens: usize,
    /// Bytes of the input.
    pub bytes: u64,
}

/// What became of a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardResult {
    /// It was finished before.
    Before(Manifest),
    /// It is finished now.
    Now(Manifest),
    /// Another process works on it.
    Elsewhere,
}

impl Job {
    /// A job with shards of the usual size.
    ///
    /// # Errors
    ///
    /// If the method's options contradict each other or the columns.
    pub fn new(
        output: PathBuf,
        columns: Columns,
        method: Method,
        vectors: VectorType,
        model: ModelRecord,
    ) -> Result<Self> {
        let has_documents = columns.document.is_some();
        let reason = match (method.late, method.chunking.is_some(), has_documents) {
            (true, false, false) => {
                "late chunking of tables needs chunks, or the column of the documents that rows are \
                 parts of"
            }
            (false, _, true) => "rows are embedded as parts of documents with late chunking only",
            (true, true, true) => "rows that are parts of documents are not cut into chunks",
            _ => {
                let files = Mutex::default();
                let shard_bytes = shard::SHARD_BYTES;
                return Ok(Self { output, columns, method, vectors, model, shard_bytes, files });
            }
        };
        Err(Error::Options(reason.to_owned()))
    }

    /// The shards of `files`, in order. A file whose rows are parts of documents is one shard.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn shards(&self, files: &[InputFile]) -> Result<Vec<Shard>> {
        let is_whole = self.columns.document.is_some();
        let shards = files.iter().map(|file| shard::cut(file, self.shard_bytes, is_whole));
        Ok(shards.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Prepares the output folder for `shards`, which are all shards of the job: what earlier runs
    /// wrote of the same files, when they had other parts, is removed. Returns how many finished
    /// shards of other files there are.
    ///
    /// # Errors
    ///
    /// [`Error::OtherSettings`] if the folder has vectors of another model or other options; also
    /// if it cannot be read or written.
    pub fn prepare(&self, shards: &[Shard]) -> Result<usize> {
        let folder = self.output.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io("write", &folder))?;
        let settings = self.settings();
        let inputs: HashSet<&Path> = shards.iter().map(|shard| shard.input.as_path()).collect();
        let outputs: HashSet<&str> = shards.iter().map(|shard| shard.output.as_str()).collect();
        let mut others = 0;
        for found in manifest::all(&self.output)? {
            if let Some((name, was)) = difference(&found.settings, &settings) {
                return Err(Error::OtherSettings {
                    output: self.output.clone(),
                    found: format!("{name} {was}"),
                    wanted: settings.get(name).unwrap_or(&Value::Null).to_string(),
                });
            }
            if outputs.contains(found.shard.output.as_str()) {
                continue;
            }
            if inputs.contains(found.shard.input.as_path()) {
                self.remove(&found.shard)?;
            } else {
                others += 1;
            }
        }
        Ok(others)
    }

    /// Everything that determines what is written.
    fn settings(&self) -> Map<String, Value> {
        let options = &self.method.options;
        let keep = match &self.columns.keep {
            Keep::All => json!("all"),
            Keep::Named(names) => json!(names),
        };
        let settings = json!({
            "model": self.model.name,
            "revision": self.model.revision,
            "task": options.task,
            "instruction": options.instruction,
            "dimensions": options.dimensions,
            "normalized": options.normalized,
            "truncate": options.truncate,
            "window": options.window.size,
            "chunk": self.method.chunking.map(|chunking| chunking.to_string()),
            "late_chunking": self.method.late,
            "chunk_text": self.method.has_text,
            "vectors": self.vectors.name(),
            "vector_field": self.columns.vector,
            "text_field": self.columns.text,
            "id_field": self.columns.id,
            "document_field": self.columns.document,
            "keep": keep,
        });
        match settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        }
    }

    fn remove(&self, shard: &Shard) -> Result<()> {
        let paths = Paths::new(&self.output, &shard.output);
        // The manifest first: without it, whatever is left is not finished.
        for path in [&paths.manifest, &paths.output, &paths.failed] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Embeds `shard` with `model`, unless it is finished. `progress` is called after each block of
    /// texts, and returns whether to go on.
    ///
    /// # Errors
    ///
    /// If its file cannot be read as a table with the columns, changes meanwhile, or the output
    /// cannot be written; if the model fails; [`Error::Stopped`]. The shard is then not finished,
    /// and no part of it appears in the output.
    pub fn run(
        &self,
        shard: &Shard,
        model: &Model,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<ShardResult> {
        let paths = Paths::new(&self.output, &shard.output);
        for path in [&paths.output, &paths.manifest] {
            let folder = path.parent().unwrap_or(&self.output);
            fs::create_dir_all(folder).map_err(Error::io("write", folder))?;
        }
        let Some(lock) = lock(&paths.lock)? else { return Ok(ShardResult::Elsewhere) };
        // Only now: another process may just have finished it.
        if let Some(done) = paths.finished()?
            && done.shard == *shard
            && done.input.is_of(&shard.input)?
        {
            unlock(lock, &paths.lock);
            return Ok(ShardResult::Before(done));
        }
        self.remove(shard)?;
        let done = self.embed(shard, &paths, model, progress);
        if done.is_err() {
            // What failed first is what people need to know.
            let _ = fs::remove_file(&paths.partial);
        }
        let manifest = done?;
        unlock(lock, &paths.lock);
        Ok(ShardResult::Now(manifest))
    }

    fn embed(
        &self,
        shard: &Shard,
        paths: &Paths,
        model: &Model,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Manifest> {
        let start = Instant::now();
        let input = self.state(&shard.input)?;
        let mut run = self.begin(shard, paths, model)?;
        let counts = run.all(shard, progress)?;
        let Run { writer, failed, .. } = run;
        let file = writer.finish()?;
        file.sync_all().map_err(Error::io("write", &paths.partial))?;
        if !input.is_of(&shard.input)? {
            return Err(Error::Changed { path: shard.input.clone() });
        }
        let failed = failed.finish()?;
        let output_bytes = file.metadata().map_err(Error::io("read", &paths.partial))?.len();
        fs::rename(&paths.partial, &paths.output).map_err(Error::io("write", &paths.output))?;
        let manifest = Manifest {
            shard: shard.clone(),
            input,
            settings: self.settings(),
            device: model.device(),
            rows: counts.rows,
            vectors: counts.vectors,
            failed,
            tokens: counts.tokens,
            seconds: start.elapsed().as_secs_f64(),
            output_bytes,
        };
        let content = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        manifest::write_whole(&paths.manifest, &content)?;
        Ok(manifest)
    }

    /// Opens the input and the output of a shard.
    fn begin<'j>(&'j self, shard: &Shard, paths: &Paths, model: &'j Model) -> Result<Run<'j>> {
        let dimensions = self.method.options.dimensions.unwrap_or(model.config().hidden);
        let columns =
            OutputColumns::new(&self.columns.vector, self.vectors, dimensions, &self.method);
        let added = columns.names();
        let added: Vec<&str> = added.iter().map(String::as_str).collect();
        let Reader { schema, rows } =
            read::open(shard, &self.columns, &added, |path| self.json(path))?;
        let file = File::create(&paths.partial).map_err(Error::io("write", &paths.partial))?;
        let settings = Value::Object(self.settings()).to_string();
        let writer = Writer::new(file, &paths.partial, &schema, columns, &settings)?;
        let (failed, counts) = (FailedRows::new(&paths.failed), Counts::default());
        Ok(Run { job: self, model, rows: Some(rows), writer, failed, counts })
    }

    /// The state of a file, which several shards may share.
    fn state(&self, path: &Path) -> Result<InputState> {
        let known = self.files().get(path).and_then(|facts| facts.state.clone());
        if let Some(state) = known
            && state.is_of(path)?
        {
            return Ok(state);
        }
        let state = InputState::of(path)?;
        let facts = FileFacts { state: Some(state.clone()), json: None };
        self.files().insert(path.to_owned(), facts);
        Ok(state)
    }

    /// The columns of a JSONL file, which several shards may share.
    fn json(&self, path: &Path) -> Result<Arc<JsonColumns>> {
        let known = self.files().get(path).and_then(|facts| facts.json.clone());
        if let Some(columns) = known {
            return Ok(columns);
        }
        let columns = Arc::new(JsonColumns::of_file(path)?);
        self.files().entry(path.to_owned()).or_default().json = Some(Arc::clone(&columns));
        Ok(columns)
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, FileFacts>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rows: u64,
    vectors: u64,
    tokens: u64,
}

/// A shard on its way.
struct Run<'j> {
    job: &'j Job,
    model: &'j Model,
    /// `None` once they are being read.
    rows: Option<Box<dyn Iterator<Item = Result<Rows>>>>,
    writer: Writer,
    failed: FailedRows,
    counts: Counts,
}

impl Run<'_> {
    /// Embeds all rows.
    fn all(&mut self, shard: &Shard, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Counts> {
        let mut documents = self.job.columns.document.as_ref().map(|_| Documents::default());
        for read in self.rows.take().into_iter().flatten() {
            let read = read?;
            let ready = match &mut documents {
                Some(documents) => documents.push(read, &shard.input)?,
                None => read,
            };
            self.embed(&ready, progress)?;
        }
        if let Some(rest) = documents.and_then(Documents::rest) {
            self.embed(&rest, progress)?;
        }
        Ok(self.counts)
    }

    fn embed(&mut self, rows: &Rows, progress: &mut dyn FnMut(Progress) -> bool) -> Result<()> {
        let has_documents = self.job.columns.document.is_some();
        let Self { job, model, writer, failed, counts, .. } = self;
        let mut go_on = |progress_made| match progress(progress_made) {
            true => Ok(()),
            false => Err(Error::Stopped),
        };
        let mut bytes = rows.bytes;
        job.method.embed(rows, has_documents, model, &mut |block: EmbeddedRows| {
            for refused in &block.refused {
                failed.add(&rows.texts[refused.row], &refused.reason)?;
            }
            let (vectors, tokens) = (block.vectors.len(), block.tokens);
            counts.vectors += vectors as u64;
            counts.tokens += tokens as u64;
            writer.write(rows, block)?;
            // Those of refused rows are no work, and are reported last.
            let bytes = if vectors > 0 { std::mem::take(&mut bytes) } else { 0 };
            go_on(Progress { vectors, tokens, bytes })
        })?;
        counts.rows += rows.texts.len() as u64;
        go_on(Progress { bytes, ..Progress::default() })
    }
}

/// The first setting that differs, and its value in `found`.
fn difference<'s>(
    found: &'s Map<String, Value>,
    wanted: &Map<String, Value>,
) -> Option<(&'s str, &'s Value)> {
    // A model may have moved or been renamed; its revision tells.
    let differs = |(name, value): &(&String, &Value)| {
        name.as_str() != "model" && wanted.get(name.as_str()) != Some(*value)
    };
    found.iter().find(differs).map(|(name, value)| (name.as_str(), value))
}
