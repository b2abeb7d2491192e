//! Collections of one's own files: where their store lies, which model made them, and how files
//! become documents in them.

pub(crate) mod extractor;
pub(crate) mod indexer;
pub(crate) mod place;
pub(crate) mod plan;
mod reading;
pub(crate) mod revision;
pub(crate) mod settings;
pub(crate) mod texts;
