//! The errors of this crate.

use kokeshi_kernels::Precision;
use std::path::{Path, PathBuf};

/// The result of a model call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file, the tensor or key, and the expected value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "map" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A folder is not a checkpoint.
    #[error("{} has no {file}: a checkpoint folder contains config.json and model.safetensors (or \
             model.safetensors.index.json and its parts)", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The missing file.
        file: String,
    },
    /// A JSON file is malformed.
    #[error("{} is not valid: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's message.
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
        /// The values that are accepted.
        expected: String,
    },
    /// A weight file is truncated or corrupt.
    #[error("{} is not a complete safetensors file: {reason}; download it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// A weight file was cut off while it was in use.
    #[error(
        "{} was cut off while it was in use: it has {bytes} of {expected} bytes. Restart with a \
         complete file, and replace such files by renaming",
        path.display()
    )]
    Shortened {
        /// The file.
        path: PathBuf,
        /// Its length now.
        bytes: u64,
        /// Its length when it was opened.
        expected: usize,
    },
    /// A tensor that the network needs is not in the checkpoint.
    #[error("the checkpoint has no tensor `{name}` (looked for in {})", checkpoint.display())]
    MissingTensor {
        /// Its name, without the optional `roberta.` prefix.
        name: String,
        /// The checkpoint's folder.
        checkpoint: PathBuf,
    },
    /// A tensor's shape is not the one that the configuration implies.
    #[error("tensor `{name}` of {} has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// Its name in the file.
        name: String,
        /// The file.
        path: PathBuf,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a dtype that the network does not read there.
    #[error(
        "tensor `{name}` of {} is stored as {found}; F32, F16 and BF16 are supported, and for \
         weights with scales also I8, and I32 as `weight_packed`",
        path.display()
    )]
    Dtype {
        /// Its name in the file.
        name: String,
        /// The file.
        path: PathBuf,
        /// The dtype in the file.
        found: String,
    },
    /// A part of a quantized weight is damaged, or its arithmetic is not implemented.
    #[error("tensor `{name}` of {}: {reason}", path.display())]
    Quantized {
        /// Its name in the file.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint to be quantized consists of integers already.
    #[error("{} is quantized already; quantize the model that it was made from", checkpoint.display())]
    AlreadyQuantized {
        /// The checkpoint's folder.
        checkpoint: PathBuf,
    },
    /// The configuration describes quantized weights that the checkpoint does not contain.
    #[error(
        "`quantization_config` of {} describes weights of {scheme}, but the checkpoint has none",
        checkpoint.display()
    )]
    NotQuantized {
        /// The checkpoint's folder.
        checkpoint: PathBuf,
        /// The form of the weights.
        scheme: String,
    },
    /// Two tensors of the checkpoint are the same weight.
    #[error("the checkpoint has both `{first}` and `{second}`, which are the same weight")]
    Duplicate {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// Tensors that no part of the network uses: the checkpoint is not what its config says.
    #[error(
        "{} has {} that no part of this network uses, such as `{example}`",
        checkpoint.display(), counted(*count, "tensor")
    )]
    Unused {
        /// The checkpoint's folder.
        checkpoint: PathBuf,
        /// One of them.
        example: String,
        /// Their number.
        count: usize,
    },
    /// The CPU lacks the requested instruction set.
    #[error("this CPU lacks `{level}`; its best is `{best}`")]
    Level {
        /// The instruction set.
        level: &'static str,
        /// The best that the CPU has.
        best: &'static str,
    },
    /// The backend could not start.
    #[error("cannot start {}: {source}", counted(*count, "worker thread"))]
    Threads {
        /// The requested number.
        count: usize,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A pass does not fit the device's memory.
    #[error(
        "a pass of {tokens} tokens needs {bytes} bytes, which do not fit the device's memory: \
         use shorter texts, fewer models on the device, or the CPU"
    )]
    DeviceMemory {
        /// Tokens of the batch.
        tokens: usize,
        /// Bytes that the pass needs.
        bytes: usize,
    },
    /// The device does not compute in the requested precision.
    #[error("{device} does not compute in {precision}; it supports {supported}")]
    Precision {
        /// The requested precision.
        precision: Precision,
        /// The device, such as "a card".
        device: &'static str,
        /// The precisions that it supports.
        supported: &'static str,
    },
    /// [`Device::Cuda`](crate::Device::Cuda) without the feature `cuda`.
    #[error("cannot use an NVIDIA card: this build lacks the feature `cuda`")]
    NoCuda,
    /// The card cannot be used, or failed.
    #[cfg(feature = "cuda")]
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

/// A count with its noun in singular or plural.
fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A value for an error message: a configuration may contain anything, of any size.
fn shortened(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
