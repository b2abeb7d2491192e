//! Files that a collection leaves out, and why.
//!
//! A collection records them as documents without chunks, so that the next run need not read them
//! again.

use crate::plan::FileTask;
use kokeshi_documents::{Error, MAX_FILE_BYTES, reader};
use kokeshi_store::{Document, Entry};
use serde_json::Map;
use std::fmt;
use std::path::PathBuf;

/// The start of the format of a record.
const LEFT_OUT: &str = "left out: ";

/// Why a file is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOutReason {
    /// It is not a text.
    Binary,
    /// It has a format that this program reads, but no text.
    NoText,
    /// It has this size in bytes, which is over the limit.
    TooLarge(u64),
    /// Its content is not what its format requires; what is wrong, for people.
    Invalid(String),
    /// This build lacks the feature that reads its format.
    MissingFeature(&'static str),
    /// Its name is not in UTF-8.
    Name,
    /// The system does not let it be read; why, for people.
    Inaccessible(String),
    /// An earlier run left it out for the reason of this name.
    Earlier(String),
}

impl LeftOutReason {
    pub(crate) fn of(error: Error) -> Self {
        match error {
            Error::MissingFeature { feature } => Self::MissingFeature(feature),
            Error::Io { source, .. } | Error::Input(source) => {
                Self::Inaccessible(source.to_string())
            }
            other => Self::Invalid(other.to_string()),
        }
    }

    /// The kind of the reason, which many files share.
    pub fn kind(&self) -> String {
        match self {
            Self::Binary => "binary".to_owned(),
            Self::NoText => "no text".to_owned(),
            Self::TooLarge(_) => format!("larger than {} MiB", MAX_FILE_BYTES >> 20),
            Self::Invalid(_) => "not readable".to_owned(),
            Self::MissingFeature(feature) => format!("needs the feature `{feature}`"),
            Self::Name => "name not in UTF-8".to_owned(),
            Self::Inaccessible(_) => "not accessible".to_owned(),
            Self::Earlier(kind) => kind.clone(),
        }
    }

    /// Whether the file's content is unknown, so that a text stored earlier may still be right.
    pub(crate) fn keeps_text(&self) -> bool {
        matches!(self, Self::MissingFeature(_) | Self::Inaccessible(_) | Self::Name)
    }
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("it is not a text"),
            Self::NoText => f.write_str("it contains no text"),
            Self::TooLarge(size) => {
                let limit = MAX_FILE_BYTES >> 20;
                write!(f, "it has {} MiB; the limit is {limit} MiB", size >> 20)
            }
            Self::Invalid(reason) | Self::Inaccessible(reason) => f.write_str(reason),
            Self::MissingFeature(feature) => write!(f, "this build lacks the feature `{feature}`"),
            Self::Name => f.write_str("its name is not in UTF-8"),
            Self::Earlier(kind) => f.write_str(kind),
        }
    }
}

/// A file that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: LeftOutReason,
    /// What happens to the text that an earlier run read from it.
    pub text: StoredText,
    /// Whether it was named as a path to index, not found in a folder.
    pub is_named: bool,
}

/// The text that a collection has of a file that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredText {
    /// There is none.
    None,
    /// It is removed, because it is no longer the file's.
    Removed,
    /// It is kept, because the file could not be looked at.
    Kept,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl LeftOut {
    pub(crate) fn new(task: &FileTask, reason: LeftOutReason) -> Self {
        let text = match (task.is_stored, reason.keeps_text()) {
            (false, _) => StoredText::None,
            (true, true) => StoredText::Kept,
            (true, false) => StoredText::Removed,
        };
        Self { path: task.file.path.clone(), reason, text, is_named: task.is_named }
    }
}

/// The record of a left-out file with this content.
pub(crate) fn record(task: FileTask, kind: &str, hash: &str, modified: i64) -> Document {
    Document {
        path: task.name,
        hash: record_hash(hash),
        modified,
        size: task.file.len_bytes,
        format: format!("{LEFT_OUT}{kind}"),
        metadata: Map::new(),
        chunks: Vec::new(),
    }
}

/// The kind of reason that an entry records; `None` for a document.
pub fn left_out_kind(entry: &Entry) -> Option<&str> {
    entry.format.strip_prefix(LEFT_OUT)
}

/// The hash in the record of a left-out file: another build may be able to read it.
pub(crate) fn record_hash(hash: &str) -> String {
    format!("{} {hash}", reader())
}

/// Whether this build left out the file that the entry records.
pub(crate) fn is_of_this_reader(entry: &Entry) -> bool {
    entry.hash.strip_prefix(&reader()).is_some_and(|rest| rest.starts_with(' '))
}
