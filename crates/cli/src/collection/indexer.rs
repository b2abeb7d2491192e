//! From a plan to a collection that holds what the plan says: reading, embedding and writing at the
//! same time, batch by batch. What a batch has written stays, whatever happens after it.

use super::place::Place;
use super::plan::{Plan, Task};
use super::reading::{self, Cut, Outcome};
use super::settings::Opened;
use crate::args::Cutting;
use crate::meter::Meter;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi::{Embedded, Input, Options};
use kokeshi_store::{Address, Chunk, Document};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of text in the first batch; later ones grow or shrink towards [`BATCH_TIME`].
const FIRST_BATCH: usize = 32 << 10;
/// Bytes of text in a batch, at least and at most.
const BATCH: (usize, usize) = (8 << 10, 512 << 10);
/// How long a batch should take: what Ctrl-C waits for, and what a killed process loses.
const BATCH_TIME: Duration = Duration::from_secs(2);
/// Files in a batch, at most.
const BATCH_FILES: usize = 1024;

/// What a run has done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) documents: usize,
    pub(crate) chunks: usize,
    pub(crate) tokens: usize,
    pub(crate) unchanged: usize,
    pub(crate) removed: usize,
    pub(crate) left_out: Vec<String>,
    pub(crate) stopped: bool,
}

/// Makes the collection hold what `plan` says, until `stop`.
pub(crate) fn run(
    place: &Place,
    opened: &Opened,
    plan: Plan,
    printer: &Printer,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    let meter = Meter::new(Some(plan.bytes()), printer);
    let cutting: Cutting = opened.provenance.chunking.parse().map_err(anyhow::Error::msg)?;
    let report = Report {
        unchanged: plan.unchanged,
        left_out: plan.left_out,
        removed: plan.gone.len(),
        ..Report::default()
    };
    let gone = plan.gone;
    thread::scope(|scope| {
        let outcomes = reading::start(scope, plan.tasks, cutting, &opened.model, stop);
        let (to_writer, changes) = sync_channel(1);
        let (address, name) = (place.store.clone(), opened.name.clone());
        let writer = scope.spawn(move || write(&address, &name, &changes));
        let mut run = Run { opened, report, meter, to_writer, size: FIRST_BATCH };
        let embedded = run.remove(gone).and_then(|()| run.embed_all(&outcomes, stop));
        let Run { report, to_writer, .. } = run;
        drop(to_writer);
        drop(outcomes);
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A writer that has failed is why nothing more could be sent to it.
        written.and(embedded.map(|()| report))
    })
}

/// What goes into one transaction.
enum Change {
    Upsert(Vec<Document>),
    Seen(Vec<(String, i64, u64)>),
    Remove(Vec<String>),
}

/// Writes what comes, with a connection of its own.
fn write(address: &Address, collection: &str, changes: &Receiver<Change>) -> anyhow::Result<()> {
    let mut store = address.open()?;
    for change in changes {
        match change {
            Change::Upsert(documents) => store.upsert(collection, &documents)?,
            Change::Seen(files) => store.set_seen(collection, &files)?,
            Change::Remove(names) => drop(store.remove(collection, &names)?),
        }
    }
    store.finish(collection)?;
    Ok(())
}

struct Run<'a> {
    opened: &'a Opened,
    report: Report,
    meter: Meter,
    to_writer: SyncSender<Change>,
    /// Bytes of the next batch.
    size: usize,
}

impl Run<'_> {
    fn send(&self, change: Change) -> anyhow::Result<()> {
        self.to_writer.send(change).context("the store takes nothing more")
    }

    fn remove(&self, names: Vec<String>) -> anyhow::Result<()> {
        if names.is_empty() { Ok(()) } else { self.send(Change::Remove(names)) }
    }

    fn embed_all(&mut self, outcomes: &Receiver<Outcome>, stop: &AtomicBool) -> anyhow::Result<()> {
        loop {
            let (batch, seen, more) = self.next_batch(outcomes);
            if !seen.is_empty() {
                self.send(Change::Seen(seen))?;
            }
            if stop.load(Ordering::Relaxed) {
                self.report.stopped = true;
                return Ok(());
            }
            if !batch.is_empty() {
                let documents = self.embed(batch)?;
                self.send(Change::Upsert(documents))?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The texts to embed together, files that are as they were, and whether more may come.
    fn next_batch(
        &mut self,
        outcomes: &Receiver<Outcome>,
    ) -> (Vec<Cut>, Vec<(String, i64, u64)>, bool) {
        let (mut batch, mut seen, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < self.size && batch.len() + seen.len() < BATCH_FILES {
            match outcomes.recv() {
                Ok(Outcome::Changed(cut)) => {
                    bytes += cut.text.text.len();
                    batch.push(*cut);
                }
                Ok(Outcome::Same(task)) => {
                    self.report.unchanged += 1;
                    self.meter.advance(0, 0, task.found.size);
                    seen.push((task.name.clone(), lasting(&task), task.found.size));
                }
                Ok(Outcome::LeftOut(task, reason)) => {
                    self.meter.advance(0, 0, task.found.size);
                    self.report.left_out.extend(reason);
                }
                Err(_) => return (batch, seen, false),
            }
        }
        (batch, seen, true)
    }

    fn embed(&mut self, batch: Vec<Cut>) -> anyhow::Result<Vec<Document>> {
        let start = Instant::now();
        let provenance = &self.opened.provenance;
        let options = Options {
            task: provenance.passage_task.clone(),
            dimensions: Some(provenance.dimensions),
            ..Options::default()
        };
        let chunks: Vec<Vec<kokeshi::Chunk>> = batch
            .iter()
            .flat_map(|cut| &cut.chunks)
            .map(|pieces| pieces.iter().map(|piece| piece.chunk.clone()).collect())
            .collect();
        let parts = batch
            .iter()
            .flat_map(|cut| cut.text.parts.iter().map(|part| &cut.text.text[part.bytes.clone()]));
        let mut inputs = Vec::new();
        for (text, chunks) in parts.zip(&chunks).filter(|(_, chunks)| !chunks.is_empty()) {
            if provenance.late {
                inputs.push(Input::late(text, chunks).options(options.clone()));
            } else {
                let whole = |chunk: &kokeshi::Chunk| Input::new(&text[chunk.bytes.clone()]);
                inputs.extend(chunks.iter().map(|chunk| whole(chunk).options(options.clone())));
            }
        }
        let bytes: u64 = batch.iter().map(|cut| cut.task.found.size).sum();
        let embedded = self.opened.model.embed_with(&inputs, &mut |progress| {
            let share = progress.tokens as f64 / progress.total_tokens.max(1) as f64;
            self.meter.show(0, progress.tokens, (share * bytes as f64) as u64);
        })?;
        let tokens = embedded.iter().map(|result| result.tokens).sum();
        self.meter.advance(batch.len(), tokens, bytes);
        self.report.tokens += tokens;
        self.resize(start.elapsed());
        Ok(self.documents(batch, embedded))
    }

    /// Lets the next batch take about [`BATCH_TIME`].
    fn resize(&mut self, took: Duration) {
        let ratio = BATCH_TIME.as_secs_f64() / took.as_secs_f64().max(1e-3);
        self.size = ((self.size as f64 * ratio.clamp(0.25, 2.0)) as usize).clamp(BATCH.0, BATCH.1);
    }

    fn documents(&mut self, batch: Vec<Cut>, embedded: Vec<Embedded>) -> Vec<Document> {
        let mut vectors = embedded.into_iter().flat_map(|result| result.vectors);
        let documents = batch.into_iter().map(|cut| document(cut, &mut vectors));
        let documents: Vec<Document> = documents.collect();
        self.report.documents += documents.len();
        self.report.chunks += documents.iter().map(|document| document.chunks.len()).sum::<usize>();
        documents
    }
}

fn document(cut: Cut, vectors: &mut impl Iterator<Item = Vec<f32>>) -> Document {
    let text = &cut.text;
    let parts = text.parts.iter().zip(&cut.chunks);
    let chunks = parts.flat_map(|(part, pieces)| pieces.iter().map(move |piece| (part, piece)));
    let chunks = chunks.zip(vectors).map(|((part, piece), vector)| {
        let start = part.bytes.start;
        let bytes = start + piece.chunk.bytes.start..start + piece.chunk.bytes.end;
        let place = kokeshi_store::Place {
            lines: piece.lines,
            page: text.page(bytes.start),
            bytes: bytes.clone(),
        };
        let metadata = part.metadata.clone();
        Chunk { place, text: text.text[bytes].to_owned(), metadata, vector }
    });
    Document {
        chunks: chunks.collect(),
        modified: lasting(&cut.task),
        path: cut.task.name,
        hash: cut.hash,
        size: cut.task.found.size,
        format: cut.format.name().to_owned(),
        metadata: cut.text.metadata,
    }
}

/// The time of change, if a later change is sure to have another: file systems count in steps of up
/// to two seconds. Otherwise the file is read again next time.
fn lasting(task: &Task) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = i128::try_from(now.as_nanos()).unwrap_or(0) - i128::from(task.found.modified);
    if age > 2_000_000_000 { task.found.modified } else { 0 }
}
