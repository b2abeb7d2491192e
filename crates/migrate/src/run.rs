//! Fills the new collection: one thread reads, the caller's thread embeds and a third one writes,
//! so that the engine never waits for a store.

use crate::error::{Error, Result};
use crate::ledger::{BatchTotals, Ledger, MigrationProgress, MigrationRecord, State};
use crate::locations::Locations;
use crate::plan::Plan;
use crate::read::{Batch, Reader};
use kokeshi_collections::{Embedder, Embeddings};
use kokeshi_store::{Document, Source, pages};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

/// Number of documents that are listed at a time to be pruned.
const PAGE: usize = 1024;

/// Limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits<'a> {
    /// Maximum number of chunks per second that are read from the old collection.
    pub rate: Option<f64>,
    /// Whether documents of the new collection that the old one lacks are removed at the end: those
    /// that were deleted there, and those that other programs have written only to the new one.
    pub prune: bool,
    /// When set, the run ends after the current batch.
    pub stop: &'a AtomicBool,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSummary {
    /// Documents that were written.
    pub written: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Documents that were up to date: written by an earlier run or by other programs.
    pub present: usize,
    /// Documents that could not be embedded; the ledger has the reasons.
    pub failed: usize,
    /// Documents that were removed.
    pub pruned: usize,
    /// Whether `stop` ended the run.
    pub stopped: bool,
}

impl RunSummary {
    /// Documents that need no more work: written, present or failed.
    pub fn handled(&self) -> usize {
        self.written + self.present + self.failed
    }
}

/// A batch on its way to the writer.
struct EmbeddedBatch {
    batch: Batch,
    failures: Vec<(String, String)>,
    totals: BatchTotals,
}

/// Brings the new collection up to date with the old one. `report` is called after each batch.
///
/// Documents of the new collection are left alone unless the old one has them in a later state.
///
/// # Errors
///
/// If a store, the ledger or the engine fails, or the plan is already switched.
pub fn run(
    plan: &Plan,
    source: Box<dyn Source>,
    (locations, ledger_path): (&Locations, &Path),
    embedder: &Embedder,
    limits: RunLimits<'_>,
    report: &mut dyn FnMut(&RunSummary),
) -> Result<RunSummary> {
    let ledger = Ledger::open(ledger_path)?;
    let progress = begin(plan, &*source, locations, &ledger)?;
    let after = progress.after.unwrap_or_default();
    if after.is_empty() {
        ledger.clear_failures(&plan.name)?;
    }
    thread::scope(|scope| {
        let (to_embedder, batches) = sync_channel(2);
        let reader = scope.spawn(move || {
            Reader::new(plan, &*source, (locations, ledger_path), limits)?
                .send_all(&after, &to_embedder)?;
            Ok(source)
        });
        let (to_writer, embedded) = sync_channel(2);
        let writer = scope.spawn(move || write(plan, locations, ledger_path, &embedded));
        let summary = embed_all(embedder, &batches, &to_writer, limits.stop, report);
        drop((batches, to_writer));
        let (read, written) = (join(reader), join(writer));
        // If the writer failed, its error is the cause of the others.
        written?;
        let source = read?;
        let mut summary = summary?;
        if !summary.stopped {
            if limits.prune {
                summary.pruned = prune(plan, &*source, locations)?;
            }
            ledger.end_pass(&plan.name)?;
        }
        Ok(summary)
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Records the run in the ledger, and creates the new collection if it does not exist.
fn begin(
    plan: &Plan,
    source: &dyn Source,
    locations: &Locations,
    ledger: &Ledger,
) -> Result<MigrationProgress> {
    let progress = ledger.begin(plan)?;
    if matches!(progress.state, State::Switched | State::Cleaned) {
        return Err(Error::State {
            name: plan.name.clone(),
            state: progress.state,
            wanted: "run",
            next: "readers use the new collection; `rollback` undoes that first".to_owned(),
        });
    }
    let mut store = locations.open_store(&plan.from.collection)?;
    let old = source.collection(&plan.from.collection)?;
    let old = old.ok_or_else(|| Error::missing(&plan.name, &plan.from.collection))?;
    // For foreign vectors, the plan is the only record of their provenance.
    if !old.provenance.is_unknown() {
        plan.from.provenance()?.check_same(&plan.from.collection, &old.provenance)?;
    }
    let provenance = plan.to.provenance()?;
    if store.collection(&plan.to.collection)?.is_none() {
        store.create(&plan.to.collection, &provenance)?;
    }
    let new = store.collection(&plan.to.collection)?;
    let new = new.ok_or_else(|| Error::missing(&plan.name, &plan.to.collection))?;
    new.provenance.check_same(&new.name, &provenance)?;
    if !plan.is_between_stores() {
        for (path, options) in store.roots(&plan.from.collection)? {
            store.require_folders()?.set_root(&plan.to.collection, &path, &options)?;
        }
    }
    // A source may know a collection by its name alone.
    let old = match plan.is_between_stores() {
        true => None,
        false => store.collection(&plan.from.collection)?.map(|found| found.id),
    };
    let record = MigrationRecord { plan: plan.to_value(), old, new: new.id };
    ledger.set_record(&plan.name, &record)?;
    ledger.set_state(&plan.name, State::Running)?;
    Ok(progress)
}

/// Removes documents that the old collection lacks, and returns how many.
fn prune(plan: &Plan, source: &dyn Source, locations: &Locations) -> Result<usize> {
    let mut store = locations.open_store(&plan.from.collection)?;
    let mut gone = Vec::new();
    for page in pages(&*store, &plan.to.collection, "", PAGE) {
        let paths: Vec<String> = page?.into_iter().map(|entry| entry.path).collect();
        let old = source.entries(&plan.from.collection, &paths)?;
        let old: HashSet<&str> = old.iter().map(|entry| entry.path.as_str()).collect();
        gone.extend(paths.into_iter().filter(|path| !old.contains(path.as_str())));
    }
    let mut removed = 0;
    for paths in gone.chunks(PAGE) {
        removed += store.remove(&plan.to.collection, paths)?;
    }
    Ok(removed)
}

/// Embeds all batches and sends them to the writer.
fn embed_all(
    embedder: &Embedder,
    batches: &Receiver<Batch>,
    to: &SyncSender<EmbeddedBatch>,
    stop: &AtomicBool,
    report: &mut dyn FnMut(&RunSummary),
) -> Result<RunSummary> {
    let mut summary = RunSummary::default();
    for batch in batches {
        if stop.load(Ordering::Relaxed) {
            summary.stopped = true;
            break;
        }
        let present = batch.present;
        let embedded = embed(embedder, batch)?;
        summary.written += embedded.totals.documents;
        summary.chunks += embedded.totals.chunks;
        summary.tokens += embedded.totals.tokens;
        summary.present += present;
        summary.failed += embedded.failures.len();
        if to.send(embedded).is_err() {
            break;
        }
        report(&summary);
    }
    summary.stopped |= stop.load(Ordering::Relaxed);
    Ok(summary)
}

/// Embeds a batch in one call or, if one of its texts cannot be embedded, one document at a time.
fn embed(embedder: &Embedder, batch: Batch) -> Result<EmbeddedBatch> {
    let start = Instant::now();
    let Batch { documents, refused, outdated, present, up_to } = batch;
    let (documents, mut failures, tokens) = match embedder.documents(&documents) {
        Ok(Embeddings { vectors, tokens }) => {
            (with_vectors(documents, vectors), Vec::new(), tokens)
        }
        Err(error) if is_caused_by_a_text(&error) => one_by_one(embedder, documents)?,
        Err(error) => return Err(error.into()),
    };
    let totals = BatchTotals {
        documents: documents.len(),
        chunks: documents.iter().map(|document| document.chunks.len()).sum(),
        tokens,
        seconds: start.elapsed().as_secs_f64(),
    };
    failures.extend(refused);
    let batch = Batch { documents, refused: Vec::new(), outdated, present, up_to };
    Ok(EmbeddedBatch { batch, failures, totals })
}

/// Whether an error is caused by one text, so that others can be embedded.
fn is_caused_by_a_text(error: &kokeshi::Error) -> bool {
    use kokeshi::Error as E;
    matches!(error, E::TooLong { .. } | E::TooLarge { .. } | E::Tokenize { .. } | E::Options(_))
}

/// Documents with their vectors, failures with their reasons, and the number of tokens.
type EmbeddedDocuments = (Vec<Document>, Vec<(String, String)>, usize);

fn one_by_one(embedder: &Embedder, documents: Vec<Document>) -> Result<EmbeddedDocuments> {
    let (mut embedded, mut failures, mut total) = (Vec::new(), Vec::new(), 0);
    for document in documents {
        match embedder.documents(std::slice::from_ref(&document)) {
            Ok(Embeddings { vectors, tokens }) => {
                total += tokens;
                embedded.extend(with_vectors(vec![document], vectors));
            }
            Err(error) if is_caused_by_a_text(&error) => {
                failures.push((document.path, error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((embedded, failures, total))
}

fn with_vectors(mut documents: Vec<Document>, vectors: Vec<Vec<f32>>) -> Vec<Document> {
    let chunks = documents.iter_mut().flat_map(|document| &mut document.chunks);
    chunks.zip(vectors).for_each(|(chunk, vector)| chunk.vector = vector);
    documents
}

/// Writes each batch, and then records it in the ledger.
fn write(
    plan: &Plan,
    locations: &Locations,
    ledger: &Path,
    embedded: &Receiver<EmbeddedBatch>,
) -> Result<()> {
    let mut store = locations.open_store(&plan.from.collection)?;
    let ledger = Ledger::open(ledger)?;
    let to = &plan.to.collection;
    for EmbeddedBatch { batch, failures, totals } in embedded {
        let (outdated, new): (Vec<Document>, Vec<Document>) = batch
            .documents
            .into_iter()
            .partition(|document| batch.outdated.contains(&document.path));
        if plan.has_shadow_copy() {
            ledger.add_written(&plan.name, &outdated)?;
            ledger.add_written(&plan.name, &new)?;
        }
        if !outdated.is_empty() {
            store.upsert(to, &outdated)?;
        }
        if !new.is_empty() {
            store.insert(to, &new)?;
        }
        for (path, reason) in failures {
            ledger.add_failure(&plan.name, &path, &reason)?;
        }
        ledger.advance(&plan.name, &batch.up_to, &totals)?;
    }
    store.finish(to)?;
    Ok(())
}
