//! `Engine`: a model, by its name and how it is loaded. It is a value: nothing is loaded before it is
//! used, and after a fork it is loaded again.

use crate::engines::{EngineKey, LoadedEngine, engine, unload};
use crate::errors::of_engine;
use kokeshi::{BlockSize, Chunk, Chunking, Input, Options, Window, blocks};
use numpy::{PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// Byte, character and token ranges of a chunk.
type Offsets = ((usize, usize), (usize, usize), (usize, usize));

/// Vectors, the number of tokens, and the truncated texts with the numbers of theirs.
type EncodedTexts<'py> = (Bound<'py, PyArray2<f32>>, usize, Vec<(usize, usize)>);

/// A model by its name; see `kokeshi.Model`.
#[pyclass(frozen, module = "kokeshi._kokeshi")]
pub(crate) struct Engine {
    key: EngineKey,
}

/// Options of texts, from keyword arguments.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TextOptions {
    task: Option<String>,
    instruction: bool,
    dimensions: Option<usize>,
    normalized: bool,
    truncate: bool,
    max_tokens: Option<usize>,
    window: Option<usize>,
}

impl From<TextOptions> for Options {
    fn from(options: TextOptions) -> Self {
        let TextOptions { task, instruction, dimensions, normalized, truncate, max_tokens, window } =
            options;
        Self {
            task,
            instruction,
            dimensions,
            normalized,
            truncate,
            max_tokens,
            window: Window { size: window, overlap: None },
            ..Self::default()
        }
    }
}

impl Engine {
    fn loaded(&self, py: Python<'_>) -> PyResult<Arc<LoadedEngine>> {
        engine(py, &self.key)
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (name, *, revision=None, device=None, threads=None, precision=None, local_files_only=false))]
    fn new(
        name: String,
        revision: Option<String>,
        device: Option<String>,
        threads: Option<usize>,
        precision: Option<String>,
        local_files_only: bool,
    ) -> Self {
        Self { key: EngineKey { name, revision, device, threads, precision, local_files_only } }
    }

    /// Loads the model now, instead of on first use.
    fn load(&self, py: Python<'_>) -> PyResult<()> {
        self.loaded(py).map(drop)
    }

    /// Gives the model's memory back; the next use loads it again.
    fn unload(&self, py: Python<'_>) {
        unload(py, &self.key);
    }

    /// Facts about the model, as a dictionary.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.loaded(py)?;
        let config = engine.model.config();
        let info = PyDict::new(py);
        info.set_item("dimensions", config.hidden)?;
        info.set_item("max_tokens", config.max_tokens)?;
        info.set_item("trained_tokens", config.trained_tokens)?;
        info.set_item("device", engine.model.device())?;
        let tasks = PyDict::new(py);
        for task in &config.tasks {
            tasks.set_item(&task.name, &task.instruction)?;
        }
        info.set_item("tasks", tasks)?;
        Ok(info)
    }

    /// What identifies the weights.
    pub(crate) fn revision(&self, py: Python<'_>) -> PyResult<String> {
        let engine = self.loaded(py)?;
        py.detach(|| engine.revision())
    }

    /// A vector for each text, `[texts, dimensions]` in float32; the number of tokens; and the texts
    /// that were truncated, each with the number of its tokens. `progress` is called after each block
    /// with the number of its texts and tokens.
    #[pyo3(signature = (texts, options, progress=None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        options: TextOptions,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<EncodedTexts<'py>> {
        let engine = self.loaded(py)?;
        let options = Options::from(options);
        let width = options.dimensions.unwrap_or(engine.model.config().hidden);
        let array = PyArray2::<f32>::zeros(py, [texts.len(), width], false);
        let (mut tokens, mut truncated, mut row) = (0, Vec::new(), 0);
        for block in blocks(&texts, |text| BlockSize::of(text)) {
            let inputs: Vec<Input<'_>> =
                block.iter().map(|text| Input::new(text).options(options.clone())).collect();
            let embedded = py.detach(|| engine.run(|model| model.embed(&inputs)));
            let embedded = embedded.map_err(|error| of_engine(shifted(error, row)))?;
            let mut rows = array.readwrite();
            let elements = rows.as_slice_mut()?;
            let mut of_block = 0;
            for one in embedded {
                let Some(vector) = one.vectors.first() else { continue };
                elements[row * width..][..width].copy_from_slice(vector);
                of_block += one.tokens;
                if one.truncated_tokens.get() > 0 {
                    truncated.push((row, one.tokens + one.truncated_tokens.get()));
                }
                row += 1;
            }
            drop(rows);
            tokens += of_block;
            py.check_signals()?;
            if let Some(progress) = &progress {
                progress.call1((block.len(), of_block))?;
            }
        }
        Ok((array, tokens, truncated))
    }

    /// A vector for each of `chunks`, ranges of characters of `text`, pooled from one pass over it;
    /// or for the chunks that `chunking` cuts. Returns vectors and the chunks' ranges.
    #[pyo3(signature = (text, options, *, chunks=None, chunking=None))]
    fn encode_late<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        options: TextOptions,
        chunks: Option<Vec<(usize, usize)>>,
        chunking: Option<&str>,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, Vec<Offsets>)> {
        let engine = self.loaded(py)?;
        let options = Options::from(options);
        let width = options.dimensions.unwrap_or(engine.model.config().hidden);
        let chunks = match (chunks, chunking) {
            (Some(ranges), None) => chunks_of(text, &ranges)?,
            (None, Some(how)) => self.cut(py, text, how)?,
            _ => return Err(PyValueError::new_err("give either chunks or chunking")),
        };
        let input = Input::late(text, &chunks).options(options);
        let embedded = py.detach(|| engine.run(|model| model.embed(&[input])));
        let vectors = embedded.map_err(of_engine)?.remove(0).vectors;
        Ok((rows(py, &vectors, width)?, chunks.iter().map(offsets).collect()))
    }

    /// A vector for each of `parts`, which together are one document.
    fn encode_parts<'py>(
        &self,
        py: Python<'py>,
        parts: Vec<String>,
        options: TextOptions,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.loaded(py)?;
        let options = Options::from(options);
        let width = options.dimensions.unwrap_or(engine.model.config().hidden);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let input = Input::late_parts(&parts).options(options);
        let embedded = py.detach(|| engine.run(|model| model.embed(&[input])));
        rows(py, &embedded.map_err(of_engine)?.remove(0).vectors, width)
    }

    /// The ranges of the chunks that `how` cuts `text` into.
    fn chunk(&self, py: Python<'_>, text: &str, how: &str) -> PyResult<Vec<Offsets>> {
        Ok(self.cut(py, text, how)?.iter().map(offsets).collect())
    }

    /// The ids of each text's tokens, special tokens and the instruction of the task included.
    fn token_ids(
        &self,
        py: Python<'_>,
        texts: Vec<String>,
        options: TextOptions,
    ) -> PyResult<Vec<Vec<u32>>> {
        let engine = self.loaded(py)?;
        let options = Options::from(options);
        let ids = py.detach(|| {
            engine.run(|model| {
                texts.iter().map(|text| model.token_ids(text, &options)).collect::<Result<_, _>>()
            })
        });
        ids.map_err(of_engine)
    }

    /// The number of each text's own tokens, without special tokens and instruction.
    fn count_tokens(&self, py: Python<'_>, texts: Vec<String>) -> PyResult<Vec<usize>> {
        let engine = self.loaded(py)?;
        let counts = py.detach(|| {
            engine.run(|model| {
                texts.iter().map(|text| model.count_tokens(text)).collect::<Result<_, _>>()
            })
        });
        counts.map_err(of_engine)
    }
}

impl Engine {
    fn cut(&self, py: Python<'_>, text: &str, how: &str) -> PyResult<Vec<Chunk>> {
        let engine = self.loaded(py)?;
        let chunking: Chunking = how.parse().map_err(of_engine)?;
        let chunks = py.detach(|| engine.run(|model| model.chunk(text, chunking)));
        chunks.map_err(of_engine)
    }

    /// The configuration, for tables.
    pub(crate) fn key(&self) -> &EngineKey {
        &self.key
    }
}

/// An error about a text of a block, by its number in the whole call.
fn shifted(error: kokeshi::Error, before: usize) -> kokeshi::Error {
    use kokeshi::Error;
    match error {
        Error::TooLong { index, tokens, limit } => {
            Error::TooLong { index: before + index, tokens, limit }
        }
        Error::TooLarge { index, bytes, limit } => {
            Error::TooLarge { index: before + index, bytes, limit }
        }
        other => other,
    }
}

fn rows<'py>(
    py: Python<'py>,
    vectors: &[Vec<f32>],
    width: usize,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let array = PyArray2::<f32>::zeros(py, [vectors.len(), width], false);
    let mut rows = array.readwrite();
    let elements = rows.as_slice_mut()?;
    for (row, vector) in vectors.iter().enumerate() {
        elements[row * width..][..width].copy_from_slice(vector);
    }
    drop(rows);
    Ok(array)
}

fn offsets(chunk: &Chunk) -> Offsets {
    let ends = |range: &std::ops::Range<usize>| (range.start, range.end);
    (ends(&chunk.bytes), ends(&chunk.chars), ends(&chunk.tokens))
}

/// The chunks of `text` at ranges of characters.
fn chunks_of(text: &str, ranges: &[(usize, usize)]) -> PyResult<Vec<Chunk>> {
    let mut starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
    starts.push(text.len());
    let chunk = |&(start, end): &(usize, usize)| match (starts.get(start), starts.get(end)) {
        (Some(&first), Some(&last)) if first <= last => {
            Chunk::new(text, first..last).map_err(of_engine)
        }
        _ => Err(PyValueError::new_err(format!(
            "chunk ({start}, {end}) is not a range of the {} characters of the text",
            starts.len() - 1
        ))),
    };
    ranges.iter().map(chunk).collect()
}
