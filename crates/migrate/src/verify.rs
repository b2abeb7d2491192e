//! Compares both collections, and the vectors of the new one with those that its model computes.

use crate::comparison::{Check, Comparison};
use crate::error::Result;
use crate::ledger::{Ledger, State};
use crate::plan::Plan;
use crate::preview::{DEPTH, Preview, preview};
use crate::sample::sample;
use crate::switch::{old_name, state_of_both};
use crate::vectors::chunk_vectors;
use kokeshi::cosine;
use kokeshi_collections::Embedder;
use kokeshi_store::{Document, Filter, Provenance, Query, Source, Storage, Store, SwitchCheck};
use std::collections::HashSet;

/// Number of searches whose approximate results are compared with exact ones.
const SEARCHES: usize = 50;
/// Minimum cosine of vectors that differ only by rounding: bf16 products change cosines by less
/// than 0.0002.
const SAME_BUT_ROUNDED: f64 = 0.9998;

/// The result of a verification.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The conditions of a switch.
    pub checks: Vec<Check>,
    /// What changes for readers.
    pub preview: Preview,
    /// Mean share of the 10 exact results that an approximate search finds, if the new collection
    /// has an index or codes.
    pub recall: Option<f64>,
    /// The state of both collections.
    pub counts: String,
}

impl Verification {
    /// Whether all checks passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Compares every document and chunk of both collections, embeds a sample again, and ranks it for
/// `queries`. If all checks pass, the ledger records the state of both collections.
///
/// `old` is the embedder of the old collection, if its model is available.
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
) -> Result<Verification> {
    let progress = ledger.begin(plan)?;
    let from = old_name(plan, progress.record.as_ref(), store)?.to_owned();
    let before = state_of_both(plan, &from, (source, store))?;
    let mut checks = document_checks(plan, (source, &from), store, ledger)?;
    let provenance = plan.to.provenance()?;
    checks.push(provenance_check(store, plan, &provenance)?);
    checks.extend(switch_checks(plan, &from, store)?);
    let documents = sample(store, &plan.to.collection, plan.sample)?;
    checks.push(sample_check(plan, &documents, new, &provenance)?);
    let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
    let mut originals = source.documents(&from, &paths)?;
    originals.sort_by(|a, b| a.path.cmp(&b.path));
    let preview = preview(&originals, old, new, queries)?;
    let recall = recall(store, plan, &documents, &provenance)?;
    let counts = state_of_both(plan, &from, (source, store))?;
    checks.push(Check {
        name: "nothing changed meanwhile",
        passed: counts == before,
        detail: counts.clone(),
    });
    let verification = Verification { checks, preview, recall, counts };
    match (verification.passed(), progress.state) {
        (true, State::Planned | State::Running | State::Verified | State::RolledBack) => {
            ledger.set_verified(&plan.name, &verification.counts)?;
        }
        (false, State::Verified | State::RolledBack) => {
            ledger.set_state(&plan.name, State::Running)?;
        }
        _ => {}
    }
    Ok(verification)
}

/// The checks of all documents: those that were compared, and those that could not be embedded.
fn document_checks(
    plan: &Plan,
    from: (&dyn Source, &str),
    store: &dyn Store,
    ledger: &Ledger,
) -> Result<Vec<Check>> {
    let is_own = |document: &Document| match plan.has_shadow_copy() {
        true => ledger.has_written(&plan.name, document),
        false => Ok(true),
    };
    let mut comparison = Comparison::new(&plan.to.provenance()?);
    comparison.compare(&is_own, from, (store, &plan.to.collection))?;
    let mut checks = comparison.checks();
    let failures = ledger.failures(&plan.name)?;
    let failed: Vec<String> = failures.into_iter().map(|failure| failure.path).collect();
    checks.push(Check::none("no document failed", "could not be embedded", &failed));
    Ok(checks)
}

/// The checks that only the store of both collections can make.
fn switch_checks(plan: &Plan, from: &str, store: &dyn Store) -> Result<Vec<Check>> {
    let to = &plan.to.collection;
    if plan.is_between_stores() || store.collection(to)?.is_none() {
        return Ok(Vec::new());
    }
    let checks = store.switch_checks(from, to)?.into_iter();
    Ok(checks.map(|SwitchCheck { name, passed, detail }| Check { name, passed, detail }).collect())
}

/// The check that the new collection has the provenance of the plan.
fn provenance_check(store: &dyn Store, plan: &Plan, provenance: &Provenance) -> Result<Check> {
    let name = "the collection is what the plan says";
    let Some(found) = store.collection(&plan.to.collection)? else {
        return Ok(Check {
            name,
            passed: false,
            detail: "it does not exist: `run` creates it".to_owned(),
        });
    };
    Ok(match provenance.check_same(&found.name, &found.provenance) {
        Ok(()) => {
            let detail = format!("{} ({})", provenance.model, provenance.revision);
            Check { name, passed: true, detail }
        }
        Err(error) => Check { name, passed: false, detail: error.to_string() },
    })
}

/// The check that a sample has the vectors that the model computes, bit for bit.
fn sample_check(
    plan: &Plan,
    documents: &[Document],
    new: &Embedder,
    provenance: &Provenance,
) -> Result<Check> {
    let name = "a sample has the model's vectors, bit for bit";
    let stored: Vec<&[f32]> = chunk_vectors(documents).collect();
    let again = new.documents(documents)?.vectors;
    let expected: Vec<Vec<f32>> =
        again.iter().map(|vector| provenance.storage.rounded(vector)).collect();
    let pairs = || stored.iter().zip(&expected);
    let equal = pairs().filter(|(a, b)| ***a == b[..]).count();
    let mut detail = format!("{equal} of {} chunks of {} documents", stored.len(), documents.len());
    let close = pairs().filter(|(a, b)| equals_stored(plan, provenance.storage, a, b)).count();
    if close > equal {
        detail += &format!("; {} more apart from the rounding of the store", close - equal);
    }
    let passed = close == stored.len();
    if !passed {
        let lowest = pairs().map(|(a, b)| f64::from(cosine(a, b))).fold(f64::INFINITY, f64::min);
        detail += &format!("; the lowest cosine is {lowest:.4}");
        if lowest >= SAME_BUT_ROUNDED {
            detail += ": the model is the same, with another precision or on another processor";
        }
        if let Some(task) = fitting_task(documents, &stored, new, provenance)? {
            detail += &format!("; they are those of the task `{task}`");
        }
    }
    Ok(Check { name, passed, detail })
}

/// Whether two vectors are equal, or differ only because a vector database has normalized and
/// rounded one of them again.
fn equals_stored(plan: &Plan, storage: Storage, a: &[f32], b: &[f32]) -> bool {
    // f16 values below 2⁻¹⁴ are always 2⁻²⁴ apart.
    let (relative, absolute) = match storage {
        Storage::F32 => (4.0 * f32::EPSILON, 0.0),
        _ => (1.0 / 1024.0, 2.0_f32.powi(-24)),
    };
    let close =
        |(a, b): (&f32, &f32)| (a - b).abs() <= (relative * a.abs().max(b.abs())).max(absolute);
    a == b || (plan.store_normalizes() && a.len() == b.len() && a.iter().zip(b).all(close))
}

/// Another task of the model whose vectors `documents` have, if there is one.
fn fitting_task(
    documents: &[Document],
    stored: &[&[f32]],
    new: &Embedder,
    provenance: &Provenance,
) -> Result<Option<String>> {
    for task in &new.model.config().tasks {
        let other = Embedder { passage_task: Some(task.name.clone()), ..new.clone() };
        let vectors = other.documents(documents)?.vectors;
        let equal =
            stored.iter().zip(&vectors).all(|(a, b)| **a == provenance.storage.rounded(b)[..]);
        if equal && other.passage_task != new.passage_task && !stored.is_empty() {
            return Ok(other.passage_task);
        }
    }
    Ok(None)
}

/// Recall of searches with vectors of the sample; `None` if all searches are exact.
fn recall(
    store: &dyn Store,
    plan: &Plan,
    documents: &[Document],
    provenance: &Provenance,
) -> Result<Option<f64>> {
    if provenance.codes.is_none() && plan.store_is_file() {
        return Ok(None);
    }
    let vectors: Vec<&[f32]> = chunk_vectors(documents).collect();
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
