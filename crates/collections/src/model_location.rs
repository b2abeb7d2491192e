//! Where the files of a model are.

use kokeshi::{Checkpoint, LoadOptions, Model};
use std::fmt;
use std::path::PathBuf;

/// Where the files of a model are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelLocation {
    /// In this program.
    Bundled,
    /// In a folder: the user's own, or a snapshot in the hub's cache.
    Folder(PathBuf),
}

impl ModelLocation {
    /// The configuration and the weights, without a tokenizer.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged.
    pub fn checkpoint(&self) -> kokeshi::Result<Checkpoint> {
        Ok(match self {
            Self::Bundled => Checkpoint::from_bytes(
                kokeshi_starter::CONFIG,
                Some(kokeshi_starter::SENTENCE_TRANSFORMERS_CONFIG),
                kokeshi_starter::WEIGHTS,
            )?,
            Self::Folder(folder) => Checkpoint::open(folder)?,
        })
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open(&self, options: &LoadOptions) -> kokeshi::Result<Model> {
        match self {
            Self::Bundled => Model::starter(options),
            Self::Folder(folder) => Model::open(folder, options),
        }
    }
}

impl fmt::Display for ModelLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("in this program"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}
