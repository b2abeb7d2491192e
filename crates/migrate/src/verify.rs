//! Compares both collections, and the new one with what its model computes.

use crate::detect::{chunks, cosine};
use crate::error::Result;
use crate::ledger::{Ledger, State};
use crate::plan::Plan;
use crate::preview::{DEPTH, Preview, preview};
use crate::run::is_outdated;
use crate::sample::sample;
use crate::switch::{contents, old_name};
use kokeshi_collections::Embedder;
use kokeshi_store::{Document, Filter, Provenance, Query, Source, Storage, Store};
use std::collections::{HashMap, HashSet};

/// Documents that are compared at a time.
const PAGE: usize = 256;
/// Paths that a check names.
const EXAMPLES: usize = 5;
/// Searches whose approximate results are compared with exact ones.
const SEARCHES: usize = 50;

/// Cosine from which on vectors differ by rounding alone: bf16 products move them by less than 0.0002.
const ROUNDED: f64 = 0.9998;

/// Something that must be so.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What must be so.
    pub name: &'static str,
    /// Whether it is.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What must be so; all of it, for a switch.
    pub checks: Vec<Check>,
    /// What changes for readers.
    pub preview: Preview,
    /// Share of the 10 exact results that a search through the index or the short list finds, where the
    /// new collection has one.
    pub recall: Option<f64>,
    /// What both sides hold.
    pub counts: String,
}

impl Report {
    /// Whether all checks passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Compares every document and chunk of both collections, embeds a sample again, and asks `queries`. If
/// all is well, the ledger says so afterwards.
///
/// `old` makes the vectors of the old collection, if its model is at hand.
///
/// # Errors
///
/// If a store, the ledger or the engine fails.
pub fn verify(
    plan: &Plan,
    (source, store): (&dyn Source, &dyn Store),
    ledger: &Ledger,
    (old, new): (Option<&Embedder>, &Embedder),
    queries: &[String],
) -> Result<Report> {
    let known = ledger.begin(&plan.name, &plan.fingerprint())?;
    let from = old_name(plan, store)?.to_owned();
    let before = contents(plan, &from, (source, store))?;
    let made = plan.to.provenance()?;
    let ours = |document: &Document| match plan.is_twin() {
        true => ledger.has_written(&plan.name, document),
        false => Ok(true),
    };
    let mut all = Comparison::new(&made);
    all.compare(&ours, (source, &from), (store, &plan.to.collection))?;
    let failures = ledger.failures(&plan.name)?;
    let mut checks = all.checks();
    let failed = failures.iter().map(|failure| failure.path.clone()).collect();
    checks.push(none("no document failed", "could not be embedded", &Found(failed)));
    checks.push(made_of(store, plan, &made)?);
    let documents = sample(store, &plan.to.collection, plan.sample)?;
    checks.push(embedded_again(plan, &documents, new, &made)?);
    let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
    let mut originals = source.documents(&from, &paths)?;
    originals.sort_by(|a, b| a.path.cmp(&b.path));
    let preview = preview(&originals, old, new, queries)?;
    let recall = recall(store, plan, &documents, &made)?;
    let counts = contents(plan, &from, (source, store))?;
    checks.push(Check {
        name: "nothing changed meanwhile",
        passed: counts == before,
        detail: counts.clone(),
    });
    let report = Report { checks, preview, recall, counts };
    match (report.passed(), known.state) {
        (true, State::Planned | State::Running | State::Verified) => {
            ledger.set_verified(&plan.name, &report.counts)?;
        }
        (false, State::Verified) => ledger.set_state(&plan.name, State::Running)?,
        _ => {}
    }
    Ok(report)
}

/// Paths for which something is so.
#[derive(Debug, Default)]
struct Found(Vec<String>);

/// The check that nothing was found.
fn none(name: &'static str, what: &str, found: &Found) -> Check {
    let paths = &found.0;
    let mut detail = format!("{} {what}", paths.len());
    if !paths.is_empty() {
        let shown: Vec<&str> = paths.iter().take(EXAMPLES).map(String::as_str).collect();
        let more = if paths.len() > EXAMPLES { ", …" } else { "" };
        detail = format!("{detail}: {}{more}", shown.join(", "));
    }
    Check { name, passed: paths.is_empty(), detail }
}

/// All documents of both sides, page by page.
struct Comparison<'a> {
    made: &'a Provenance,
    documents: usize,
    chunks: usize,
    missing: Found,
    only_new: usize,
    theirs: usize,
    outdated: Found,
    cut: Found,
    doubled: Found,
    width: Found,
    length: Found,
}

impl<'a> Comparison<'a> {
    fn new(made: &'a Provenance) -> Self {
        let [missing, outdated, cut, doubled, width, length] = [(); 6].map(|()| Found::default());
        let (documents, chunks, only_new, theirs) = (0, 0, 0, 0);
        Self {
            made,
            documents,
            chunks,
            missing,
            only_new,
            theirs,
            outdated,
            cut,
            doubled,
            width,
            length,
        }
    }

    /// `ours` says whether a document of the new collection that is in another state than the old one may
    /// be one that was made of an earlier state.
    fn compare(
        &mut self,
        ours: &dyn Fn(&Document) -> Result<bool>,
        (source, from): (&dyn Source, &str),
        (store, to): (&dyn Store, &str),
    ) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = source.list_after(from, &after, PAGE)?;
            let Some(last) = page.last().map(|entry| entry.path.clone()) else { break };
            let paths: Vec<String> = page.into_iter().map(|entry| entry.path).collect();
            let new = store.documents(to, &paths)?;
            let mut new: HashMap<String, Document> =
                new.into_iter().map(|document| (document.path.clone(), document)).collect();
            for old in source.documents(from, &paths)? {
                match new.remove(&old.path) {
                    Some(new) => {
                        let theirs = new.hash != old.hash && !ours(&new)?;
                        self.pair(&old, &new, theirs);
                    }
                    None => self.missing.0.push(old.path),
                }
            }
            after = last;
        }
        let held = store.count(to)?.documents;
        self.only_new = held.saturating_sub(self.documents);
        Ok(())
    }

    fn pair(&mut self, old: &Document, new: &Document, theirs: bool) {
        self.documents += 1;
        self.chunks += new.chunks.len();
        let path = || new.path.clone();
        // A document that others have written since is theirs: its texts may be others.
        let state = |document: &Document| (document.hash.clone(), document.modified);
        if !theirs && is_outdated(&state(old), &state(new)) {
            self.outdated.0.push(path());
        } else if new.hash != old.hash {
            self.theirs += 1;
        } else if new.chunks.len() > old.chunks.len() {
            self.doubled.0.push(path());
        } else if new.chunks.len() < old.chunks.len()
            || new.chunks.iter().zip(&old.chunks).any(|(new, old)| new.text != old.text)
        {
            self.cut.0.push(path());
        }
        let vectors = || new.chunks.iter().map(|chunk| &chunk.vector);
        if vectors().any(|vector| vector.len() != self.made.dimensions) {
            self.width.0.push(path());
        }
        if vectors().any(|vector| !is_unit(vector, self.made.storage)) {
            self.length.0.push(path());
        }
    }

    fn checks(&self) -> Vec<Check> {
        let compared = format!(
            "{} documents with {} chunks, {} of them rewritten by others; {} more in the new collection \
             alone",
            self.documents, self.chunks, self.theirs, self.only_new
        );
        let mut missing = none("no document is missing", "missing", &self.missing);
        missing.detail = format!("{}; {compared}", missing.detail);
        vec![
            missing,
            none("no document is outdated", "changed in the old collection since", &self.outdated),
            none(
                "no chunk is there twice",
                "documents with more chunks than before",
                &self.doubled,
            ),
            none("no text is cut", "documents whose texts are others than before", &self.cut),
            none("vectors have their dimensions", "documents with others", &self.width),
            none("vectors have unit length", "documents with others", &self.length),
        ]
    }
}

/// Whether a vector has length 1, as near as its storage allows, or is the zero of a text without tokens.
fn is_unit(vector: &[f32], storage: Storage) -> bool {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let off = match storage {
        Storage::F32 => 1e-4,
        Storage::F16 => 2e-3,
        Storage::Int8 | Storage::Bits => 2e-2,
    };
    length == 0.0 || (length - 1.0).abs() <= off
}

/// The check that the store says of the new collection what the plan says.
fn made_of(store: &dyn Store, plan: &Plan, made: &Provenance) -> Result<Check> {
    let name = "the collection is what the plan says";
    let Some(found) = store.collection(&plan.to.collection)? else {
        return Ok(Check {
            name,
            passed: false,
            detail: "there is none: `run` makes it".to_owned(),
        });
    };
    Ok(match made.check_same(&found.name, &found.provenance) {
        Ok(()) => {
            Check { name, passed: true, detail: format!("{} ({})", made.model, made.revision) }
        }
        Err(error) => Check { name, passed: false, detail: error.to_string() },
    })
}

/// The check that a sample has the vectors, bit for bit, that the model makes.
fn embedded_again(
    plan: &Plan,
    documents: &[Document],
    new: &Embedder,
    made: &Provenance,
) -> Result<Check> {
    let name = "a sample has the model's vectors, bit for bit";
    let stored: Vec<&[f32]> = chunks(documents).collect();
    let again = new.documents(documents)?.vectors;
    let expected: Vec<Vec<f32>> = again.iter().map(|vector| made.storage.rounded(vector)).collect();
    let pairs = || stored.iter().zip(&expected);
    let equal = pairs().filter(|(a, b)| ***a == b[..]).count();
    let mut detail = format!("{equal} of {} chunks of {} documents", stored.len(), documents.len());
    let near = pairs().filter(|(a, b)| rounds_again(plan, made.storage, a, b)).count();
    if near > equal {
        detail += &format!("; {} more but for the rounding of the store", near - equal);
    }
    let passed = near == stored.len();
    if !passed {
        let lowest = pairs().map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min);
        detail += &format!("; the lowest cosine is {lowest:.4}");
        if lowest >= ROUNDED {
            detail += ": the model is the same, with another --precision or on another processor";
        }
        if let Some(task) = fitting_task(documents, &stored, new, made)? {
            detail += &format!("; they are those of the task `{task}`");
        }
    }
    Ok(Check { name, passed, detail })
}

/// Whether two vectors are equal, or differ by no more than what an engine of points does to them: it
/// scales them to unit length once more, and rounds again.
fn rounds_again(plan: &Plan, storage: Storage, a: &[f32], b: &[f32]) -> bool {
    // Halves below 2⁻¹⁴ lie 2⁻²⁴ apart, however small they are.
    let (off, least) = match storage {
        Storage::F32 => (4.0 * f32::EPSILON, 0.0),
        _ => (1.0 / 1024.0, 2.0_f32.powi(-24)),
    };
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= (off * a.abs().max(b.abs())).max(least);
    a == b || (plan.store_scales_again() && a.len() == b.len() && a.iter().zip(b).all(near))
}

/// Another task of the model, whose vectors those of `documents` are.
fn fitting_task(
    documents: &[Document],
    stored: &[&[f32]],
    new: &Embedder,
    made: &Provenance,
) -> Result<Option<String>> {
    for task in &new.model.config().tasks {
        let other = Embedder { passage_task: Some(task.name.clone()), ..new.clone() };
        let vectors = other.documents(documents)?.vectors;
        let equal = stored.iter().zip(&vectors).all(|(a, b)| **a == made.storage.rounded(b)[..]);
        if equal && other.passage_task != new.passage_task && !stored.is_empty() {
            return Ok(other.passage_task);
        }
    }
    Ok(None)
}

/// Recall of searches with vectors of the sample, if exact ones are another way.
fn recall(
    store: &dyn Store,
    plan: &Plan,
    documents: &[Document],
    made: &Provenance,
) -> Result<Option<f64>> {
    if made.codes.is_none() && plan.store_is_file() {
        return Ok(None);
    }
    let vectors: Vec<&[f32]> = chunks(documents).collect();
    let step = vectors.len().div_ceil(SEARCHES).max(1);
    let (mut found, mut wanted) = (0, 0);
    let filter = Filter::default();
    for vector in vectors.into_iter().step_by(step) {
        let results = |exact| -> Result<HashSet<(String, usize, String)>> {
            let query = Query { vector, words: None, limit: DEPTH, filter: &filter, exact };
            let hits = store.search(&plan.to.collection, &query)?;
            Ok(hits.into_iter().map(|hit| (hit.path, hit.ordinal, hit.text)).collect())
        };
        let exact = results(true)?;
        found += results(false)?.intersection(&exact).count();
        wanted += exact.len();
    }
    Ok((wanted > 0).then(|| found as f64 / wanted as f64))
}
