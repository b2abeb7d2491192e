//! The comparison of all documents of both collections.

use crate::error::Result;
use crate::read::is_outdated;
use kokeshi_store::{Document, Provenance, Source, Storage, Store, pages};
use std::collections::HashMap;

/// Number of documents that are compared at a time.
const PAGE: usize = 256;
/// Maximum number of paths in the detail of a check.
const EXAMPLES: usize = 5;

/// A condition that a switch requires.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The condition.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// The counts and paths behind it.
    pub detail: String,
}

impl Check {
    /// The check that `paths` is empty; `what` describes them.
    pub(crate) fn none(name: &'static str, what: &str, paths: &[String]) -> Self {
        let mut detail = format!("{} {what}", paths.len());
        if !paths.is_empty() {
            let examples: Vec<&str> = paths.iter().take(EXAMPLES).map(String::as_str).collect();
            let more = if paths.len() > EXAMPLES { ", …" } else { "" };
            detail = format!("{detail}: {}{more}", examples.join(", "));
        }
        Self { name, passed: paths.is_empty(), detail }
    }
}

/// Whether kokeshi wrote a document of the new collection, and no other program has changed it
/// since.
type IsOwn<'a> = dyn Fn(&Document) -> Result<bool> + 'a;

/// The documents of both sides, compared page by page.
#[derive(Debug)]
pub(crate) struct Comparison {
    dimensions: usize,
    storage: Storage,
    documents: usize,
    chunks: usize,
    /// Documents of the new collection that the old one does not have.
    only_new: usize,
    /// Documents of the new collection that other programs have written.
    rewritten: usize,
    missing: Vec<String>,
    outdated: Vec<String>,
    changed_text: Vec<String>,
    extra_chunks: Vec<String>,
    wrong_width: Vec<String>,
    wrong_length: Vec<String>,
}

impl Comparison {
    /// A comparison with a new collection of this `provenance`.
    pub(crate) fn new(provenance: &Provenance) -> Self {
        Self {
            dimensions: provenance.dimensions,
            storage: provenance.storage,
            documents: 0,
            chunks: 0,
            only_new: 0,
            rewritten: 0,
            missing: Vec::new(),
            outdated: Vec::new(),
            changed_text: Vec::new(),
            extra_chunks: Vec::new(),
            wrong_width: Vec::new(),
            wrong_length: Vec::new(),
        }
    }

    /// Compares the collection `from` of `source` with `to` of `store`.
    pub(crate) fn compare(
        &mut self,
        is_own: &IsOwn<'_>,
        (source, from): (&dyn Source, &str),
        (store, to): (&dyn Store, &str),
    ) -> Result<()> {
        for page in pages(source, from, "", PAGE) {
            let paths: Vec<String> = page?.into_iter().map(|entry| entry.path).collect();
            let new = store.documents(to, &paths)?;
            let mut new: HashMap<String, Document> =
                new.into_iter().map(|document| (document.path.clone(), document)).collect();
            for old in source.documents(from, &paths)? {
                match new.remove(&old.path) {
                    Some(new) => {
                        let is_own = new.hash == old.hash || is_own(&new)?;
                        self.compare_pair(&old, &new, is_own);
                    }
                    None => self.missing.push(old.path),
                }
            }
        }
        self.only_new = store.count(to)?.documents.saturating_sub(self.documents);
        Ok(())
    }

    fn compare_pair(&mut self, old: &Document, new: &Document, is_own: bool) {
        self.documents += 1;
        self.chunks += new.chunks.len();
        let path = || new.path.clone();
        let state = |document: &Document| (document.hash.clone(), document.modified);
        // Other programs may have changed the texts of a document since.
        if is_own && is_outdated(&state(old), &state(new)) {
            self.outdated.push(path());
        } else if new.hash != old.hash {
            self.rewritten += 1;
        } else if new.chunks.len() > old.chunks.len() {
            self.extra_chunks.push(path());
        } else if new.chunks.len() < old.chunks.len()
            || new.chunks.iter().zip(&old.chunks).any(|(new, old)| new.text != old.text)
        {
            self.changed_text.push(path());
        }
        let vectors = || new.chunks.iter().map(|chunk| &chunk.vector);
        if vectors().any(|vector| vector.len() != self.dimensions) {
            self.wrong_width.push(path());
        }
        if vectors().any(|vector| !is_unit(vector, self.storage)) {
            self.wrong_length.push(path());
        }
    }

    /// The checks of the compared documents.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let compared = format!(
            "{} documents with {} chunks, {} of them rewritten by others; {} more only in the new \
             collection",
            self.documents, self.chunks, self.rewritten, self.only_new
        );
        let mut missing = Check::none("no document is missing", "missing", &self.missing);
        missing.detail = format!("{}; {compared}", missing.detail);
        vec![
            missing,
            Check::none(
                "no document is outdated",
                "changed in the old collection since",
                &self.outdated,
            ),
            Check::none(
                "no chunk is duplicated",
                "documents with more chunks than before",
                &self.extra_chunks,
            ),
            Check::none(
                "no text is cut",
                "documents whose texts differ from before",
                &self.changed_text,
            ),
            Check::none(
                "vectors have the plan's dimensions",
                "documents with other dimensions",
                &self.wrong_width,
            ),
            Check::none(
                "vectors have unit length",
                "documents with other lengths",
                &self.wrong_length,
            ),
        ]
    }
}

/// Whether a vector has length 1, as closely as its storage allows, or is the zero vector of a text
/// without tokens.
fn is_unit(vector: &[f32], storage: Storage) -> bool {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let tolerance = match storage {
        Storage::F32 => 1e-4,
        Storage::F16 => 2e-3,
        Storage::Int8 | Storage::Bits => 2e-2,
    };
    length == 0.0 || (length - 1.0).abs() <= tolerance
}
