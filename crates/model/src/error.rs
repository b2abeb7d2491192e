//! What can be wrong with a checkpoint.

use kokeshi_kernels::Precision;
use std::path::{Path, PathBuf};

/// The result of a model call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file, the tensor or key, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "map" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder holds no checkpoint.
    #[error("{} has no {file}: a checkpoint folder holds config.json and model.safetensors (or \
             model.safetensors.index.json and its parts)", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The file that was looked for.
        file: String,
    },
    /// A JSON file is malformed.
    #[error("{} is not valid: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A configuration value that the encoder does not implement.
    #[error("{}: `{key}` is {found}, but this program supports {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A weight file is truncated or corrupt.
    #[error("{} is not a whole safetensors file: {reason}; download it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A tensor that the network needs is not in the checkpoint.
    #[error("the checkpoint has no tensor `{name}` (looked for in {})", place.display())]
    MissingTensor {
        /// Its name, without the optional `roberta.` prefix.
        name: String,
        /// The checkpoint.
        place: PathBuf,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` of {} has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// Its name in the file.
        name: String,
        /// The file.
        path: PathBuf,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor is stored as something else than F32, F16 or BF16.
    #[error("tensor `{name}` of {} is stored as {found}; F32, F16 and BF16 are supported", path.display())]
    Dtype {
        /// Its name in the file.
        name: String,
        /// The file.
        path: PathBuf,
        /// The data type in the file.
        found: String,
    },
    /// Two tensors of the checkpoint mean the same weight.
    #[error("the checkpoint has both `{first}` and `{second}`, which are the same weight")]
    Duplicate {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// Tensors that no part of the network uses: the checkpoint is not what its config says.
    #[error("{} holds {count} tensor(s) that no part of this network uses, such as `{example}`", place.display())]
    Unused {
        /// The checkpoint.
        place: PathBuf,
        /// One of them.
        example: String,
        /// How many there are.
        count: usize,
    },
    /// The CPU lacks an instruction set that was asked for.
    #[error("this CPU lacks `{level}`; its best is `{best}`")]
    Level {
        /// The instruction set.
        level: &'static str,
        /// The best that the CPU has.
        best: &'static str,
    },
    /// The backend could not start.
    #[error("cannot start {count} worker threads: {source}")]
    Threads {
        /// How many were asked for.
        count: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The device has no memory for a pass.
    #[error(
        "a pass of {tokens} tokens needs {bytes} bytes of the device's memory, and it has no more: \
         use shorter texts, fewer models on the device, or the CPU"
    )]
    DeviceMemory {
        /// Tokens of the batch.
        tokens: usize,
        /// What it needs.
        bytes: usize,
    },
    /// The device does not compute in the precision that was asked for.
    #[error("{device} does not compute in {precision}; it supports {supported}")]
    Precision {
        /// What was asked for.
        precision: Precision,
        /// The device, with its article.
        device: &'static str,
        /// A list of what it supports.
        supported: &'static str,
    },
    /// The device cannot be used, or failed.
    #[error(transparent)]
    Device(#[from] kokeshi_cuda::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn config(
        path: &Path,
        key: &'static str,
        found: Option<&serde_json::Value>,
        expected: &str,
    ) -> Self {
        let found = found.map_or("missing".to_owned(), shortened);
        Self::Config { path: path.to_owned(), key, found, expected: expected.to_owned() }
    }
}

/// A value for an error message: a config may hold anything, of any size.
fn shortened(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
