//! The texts of a collection's documents, which are read from their files: stores keep only chunks.

use crate::error::{Error, Result};
use kokeshi_documents::{Extractor, Format, read};
use std::path::Path;

/// The text of the file at `path`; `None` if it is binary or blank.
///
/// # Errors
///
/// If it cannot be read.
pub fn document_text(path: &Path, extractor: &dyn Extractor) -> Result<Option<String>> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let content = std::fs::read(path).map_err(failed)?;
    let text = read(Format::of(path), &content, extractor)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(text.map(|text| text.text).filter(|text| !text.trim().is_empty()))
}
