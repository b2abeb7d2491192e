//! The texts of a collection's documents, read anew from their files: stores keep chunks.

use super::extractor::Subprocess;
use super::place::Place;
use crate::input::{Origin, Source, SourceText};
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_documents::{Format, read};
use kokeshi_store::Entry;
use std::fs;
use std::path::Path;

/// The texts of `entries` by path. What cannot be read any more is told and left out.
pub(crate) fn texts(place: &Place, entries: &[Entry], printer: &Printer) -> Vec<SourceText> {
    let mut documents = Vec::new();
    for entry in entries {
        let path = place.path(&entry.path);
        match text(&path) {
            Ok(Some(text)) => {
                let source = Source::File(Path::new(&place.shown(&entry.path)).into());
                let origin = Origin { number: documents.len(), source, line: None };
                documents.push(SourceText { bytes: text.len(), text, origin, record: None });
            }
            Ok(None) => printer.warning(&format!("{} holds no text any more", path.display())),
            Err(error) => printer.warning(&format!("{error:#}; it is left out")),
        }
    }
    documents
}

fn text(path: &Path) -> anyhow::Result<Option<String>> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = read(Format::of(path), &content, &Subprocess)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.map(|text| text.text).filter(|text| !text.trim().is_empty()))
}
