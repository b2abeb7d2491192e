//! Carries out a plan: reads, embeds and writes at the same time, batch by batch. A batch that was
//! written is kept, whatever happens after it.

use crate::chunking::DocumentChunking;
use crate::chunks::LocatedChunk;
use crate::embedder::Passage;
use crate::error::{Error, Result};
use crate::left_out::{LeftOut, LeftOutReason, StoredText, record};
use crate::plan::{FileTask, IndexPlan, Unreachable};
use crate::read::{ChunkedFile, Piece, ReadFile, Reader};
use crate::settings::OpenCollection;
use kokeshi_documents::Extractor;
use kokeshi_store::{Address, Chunk, Document};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of text in the first batch; later ones grow or shrink towards [`BATCH_TIME`].
const FIRST_BATCH: usize = 32 << 10;
/// Minimum and maximum bytes of text in a batch.
const BATCH: (usize, usize) = (8 << 10, 512 << 10);
/// How long a batch should take. Ctrl-C waits as long, and a killed process loses as much.
const BATCH_TIME: Duration = Duration::from_secs(2);
/// Maximum number of files in a batch.
const BATCH_FILES: usize = 1024;
/// How much text a part counts as: each needs memory for its metadata and its vector.
const PART_BYTES: usize = 128;
/// Minimum age at which a file's modification time is reliable: file systems record it in steps of
/// up to two seconds, and a second change within a step does not alter it.
const RELIABLE_AGE_NS: i128 = 2_000_000_000;

/// Receives the progress of a run.
pub trait IndexProgress {
    /// Reports how much of the current batch is done: documents, tokens, and bytes of files.
    fn show(&mut self, documents: usize, tokens: usize, bytes: u64);
    /// Adds finished documents, tokens, and bytes of files.
    fn advance(&mut self, documents: usize, tokens: usize, bytes: u64);
}

/// Reports nothing.
impl IndexProgress for () {
    fn show(&mut self, _: usize, _: usize, _: u64) {}
    fn advance(&mut self, _: usize, _: usize, _: u64) {}
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSummary {
    /// Documents that were written.
    pub documents: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Files that were unchanged.
    pub unchanged: usize,
    /// Documents that were removed, because their files no longer exist.
    pub removed: usize,
    /// Files that are left out.
    pub left_out: Vec<LeftOut>,
    /// Roots and folders that could not be looked at.
    pub unreachable: Vec<Unreachable>,
    /// Encodings that were guessed, each with the number of files that were read so.
    pub guessed: BTreeMap<&'static str, usize>,
    /// Whether the run was stopped.
    pub stopped: bool,
}

impl IndexSummary {
    /// Whether the collection is now without something that it should have: documents that could
    /// not be read again, files that were named and not indexed, or places that could not be
    /// looked at.
    pub fn is_incomplete(&self) -> bool {
        let lost = |file: &LeftOut| file.is_named || file.text != StoredText::None;
        !self.unreachable.is_empty() || self.left_out.iter().any(lost)
    }
}

/// What a run needs besides its plan.
#[derive(Clone, Copy)]
pub struct IndexRun<'a> {
    /// The store, which the run opens a second time to write.
    pub store: &'a Address,
    /// The collection.
    pub collection: &'a OpenCollection,
    /// The reader of PDF files and web pages.
    pub extractor: &'a (dyn Extractor + Sync),
    /// When set, the run ends after the current batch.
    pub stop: &'a AtomicBool,
}

impl IndexRun<'_> {
    /// Carries out `plan`.
    ///
    /// # Errors
    ///
    /// If the store or the engine fails.
    pub fn execute(
        &self,
        plan: IndexPlan,
        progress: &mut dyn IndexProgress,
    ) -> Result<IndexSummary> {
        let chunking: DocumentChunking = self.collection.provenance.chunking.parse()?;
        let summary = IndexSummary {
            unchanged: plan.unchanged,
            left_out: plan.left_out,
            unreachable: plan.unreachable,
            removed: plan.gone.len(),
            ..IndexSummary::default()
        };
        let model = &*self.collection.embedder.model;
        let reader = Reader { chunking, model, extractor: self.extractor, stop: self.stop };
        thread::scope(|scope| {
            let files = reader.start(scope, plan.tasks);
            let (to_writer, changes) = sync_channel(1);
            let writer = scope.spawn(move || write(self.store, &self.collection.name, &changes));
            let mut batches =
                Batches { run: *self, summary, progress, to_writer, size: FIRST_BATCH };
            let mut gone = plan.gone;
            gone.extend(plan.dropped);
            let embedded = batches.remove(gone).and_then(|()| batches.embed_all(&files));
            let Batches { summary, to_writer, .. } = batches;
            drop(to_writer);
            drop(files);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // If the writer failed, its error is the cause of the other one.
            written.and(embedded.map(|()| summary))
        })
    }
}

/// The content of one transaction.
enum Change {
    Upsert(Vec<Document>),
    /// A later piece of a document, and the number of chunks in earlier ones.
    Append(Document, usize),
    Seen(Vec<SeenFile>),
    Remove(Vec<String>),
}

/// What is done with files together.
#[derive(Default)]
struct ReadBatch {
    /// Files to embed.
    files: Vec<ChunkedFile>,
    /// Unchanged files.
    seen: Vec<SeenFile>,
    /// Records of files that are left out.
    records: Vec<Document>,
}

impl ReadBatch {
    fn len(&self) -> usize {
        self.files.len() + self.seen.len() + self.records.len()
    }
}

/// The document, modification time and size of an unchanged file.
type SeenFile = (String, i64, u64);

/// Writes the changes that it receives, through its own connection.
fn write(address: &Address, collection: &str, changes: &Receiver<Change>) -> Result<()> {
    let mut store = kokeshi_remote::open(address)?;
    for change in changes {
        match change {
            Change::Upsert(documents) => store.upsert(collection, &documents)?,
            Change::Append(document, first) => store.append(collection, &document, first)?,
            Change::Seen(files) => store.require_folders()?.set_seen(collection, &files)?,
            Change::Remove(names) => drop(store.remove(collection, &names)?),
        }
    }
    store.finish(collection)?;
    Ok(())
}

/// The embedding stage of a run, between its readers and its writer.
struct Batches<'a> {
    run: IndexRun<'a>,
    summary: IndexSummary,
    progress: &'a mut dyn IndexProgress,
    to_writer: SyncSender<Change>,
    /// Bytes of the next batch.
    size: usize,
}

impl Batches<'_> {
    fn send(&self, change: Change) -> Result<()> {
        self.to_writer.send(change).map_err(|_| Error::WriterStopped)
    }

    fn remove(&self, names: Vec<String>) -> Result<()> {
        if names.is_empty() { Ok(()) } else { self.send(Change::Remove(names)) }
    }

    /// Sends whole documents and first pieces together, and each later piece after them.
    fn send_all(&self, documents: Vec<(Document, Piece)>) -> Result<()> {
        let (first, later): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|(_, piece)| piece.first == 0);
        if !first.is_empty() {
            self.send(Change::Upsert(first.into_iter().map(|(document, _)| document).collect()))?;
        }
        later
            .into_iter()
            .try_for_each(|(document, piece)| self.send(Change::Append(document, piece.first)))
    }

    fn embed_all(&mut self, files: &Receiver<ReadFile>) -> Result<()> {
        loop {
            let (ReadBatch { files: batch, seen, records }, more) = self.next_batch(files);
            if !seen.is_empty() {
                self.send(Change::Seen(seen))?;
            }
            if !records.is_empty() {
                self.send(Change::Upsert(records))?;
            }
            if self.run.stop.load(Ordering::Relaxed) {
                self.summary.stopped = true;
                return Ok(());
            }
            if !batch.is_empty() {
                let documents = self.embed(batch)?;
                self.send_all(documents)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The next batch, and whether more may follow.
    fn next_batch(&mut self, files: &Receiver<ReadFile>) -> (ReadBatch, bool) {
        let (mut batch, mut bytes) = (ReadBatch::default(), 0);
        while bytes < self.size && batch.len() < BATCH_FILES {
            match files.recv() {
                Ok(ReadFile::Changed(file)) => {
                    bytes += file.text.text.len() + file.text.parts.len() * PART_BYTES;
                    if let Some(encoding) = file.text.guessed {
                        *self.summary.guessed.entry(encoding).or_default() += 1;
                    }
                    batch.files.push(*file);
                }
                Ok(ReadFile::Unchanged(task)) => {
                    self.summary.unchanged += 1;
                    self.progress.advance(0, 0, task.file.len_bytes);
                    let time = reliable_time(&task);
                    batch.seen.push((task.name.clone(), time, task.file.len_bytes));
                }
                Ok(ReadFile::LeftOut(task, reason, hash)) => {
                    // Its record must not be replaced by pieces that were read before the mistake.
                    batch.files.retain(|file| file.task.name != task.name);
                    self.progress.advance(0, 0, task.file.len_bytes);
                    batch.records.extend(self.leave_out(task, reason, hash));
                }
                Err(_) => return (batch, false),
            }
        }
        (batch, true)
    }

    /// Leaves a file out. Its record replaces the text that was stored of it, unless that may still
    /// be right.
    fn leave_out(
        &mut self,
        task: FileTask,
        reason: LeftOutReason,
        hash: Option<String>,
    ) -> Option<Document> {
        let kind = reason.kind();
        let left_out = LeftOut::new(&task, reason);
        let is_recorded = left_out.text != StoredText::Kept;
        self.summary.left_out.push(left_out);
        let time = reliable_time(&task);
        hash.filter(|_| is_recorded).map(|hash| record(task, &kind, &hash, time))
    }

    fn embed(&mut self, batch: Vec<ChunkedFile>) -> Result<Vec<(Document, Piece)>> {
        let start = Instant::now();
        let passages: Vec<Passage<'_>> =
            batch.iter().flat_map(|file| Passage::of_parts(&file.text, &file.chunks)).collect();
        let bytes: u64 = batch.iter().map(len_bytes).sum();
        let embedder = &self.run.collection.embedder;
        let embeddings = embedder.passages(&passages, &mut |progress| {
            let share = progress.tokens as f64 / progress.total_tokens.max(1) as f64;
            self.progress.show(0, progress.tokens, (share * bytes as f64) as u64);
        })?;
        drop(passages);
        let whole = batch.iter().filter(|file| !file.piece.has_more).count();
        self.progress.advance(whole, embeddings.tokens, bytes);
        self.summary.tokens += embeddings.tokens;
        self.resize(start.elapsed());
        let mut vectors = embeddings.vectors.into_iter();
        let documents: Vec<(Document, Piece)> = batch
            .into_iter()
            .map(|file| (file.piece, file))
            .map(|(piece, file)| (document(file, &mut vectors), piece))
            .collect();
        self.summary.documents += whole;
        let chunks = documents.iter().map(|(document, _)| document.chunks.len());
        self.summary.chunks += chunks.sum::<usize>();
        Ok(documents)
    }

    /// Sizes the next batch to take about [`BATCH_TIME`].
    fn resize(&mut self, elapsed: Duration) {
        let ratio = BATCH_TIME.as_secs_f64() / elapsed.as_secs_f64().max(1e-3);
        self.size = ((self.size as f64 * ratio.clamp(0.25, 2.0)) as usize).clamp(BATCH.0, BATCH.1);
    }
}

/// The bytes of a file that count as done with this piece of it.
fn len_bytes(file: &ChunkedFile) -> u64 {
    let ChunkedFile { piece, text, task, .. } = file;
    let (done, size) = (piece.start as u64, task.file.len_bytes);
    match piece.has_more {
        // Its text may be longer than the file: rows contain the names of their columns.
        true => (text.text.len() as u64).min(size.saturating_sub(done)),
        false => size.saturating_sub(done),
    }
}

/// The document of a file, whose chunks get the next `vectors`.
fn document(file: ChunkedFile, vectors: &mut impl Iterator<Item = Vec<f32>>) -> Document {
    let ChunkedFile { task, hash, format, text, chunks, piece } = file;
    let parts = text.parts.into_iter().zip(chunks);
    let chunks = parts.flat_map(|(part, chunks)| {
        chunks.into_iter().map(move |chunk| (part.metadata.clone(), chunk))
    });
    let chunks = chunks.zip(vectors).map(|((metadata, chunk), vector)| {
        let LocatedChunk { mut location, .. } = chunk;
        let chunk = text.text[location.bytes.clone()].to_owned();
        location.bytes = piece.start + location.bytes.start..piece.start + location.bytes.end;
        Chunk { text: chunk, location, metadata, vector }
    });
    Document {
        chunks: chunks.collect(),
        modified: if piece.has_more { 0 } else { reliable_time(&task) },
        path: task.name,
        hash,
        size: task.file.len_bytes,
        format: format.name().to_owned(),
        metadata: text.metadata,
    }
}

/// A file's modification time, or 0 if a later change may have the same time. Then the next run
/// reads the file again.
fn reliable_time(task: &FileTask) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = i128::try_from(now.as_nanos()).unwrap_or(0) - i128::from(task.file.modified);
    if age > RELIABLE_AGE_NS { task.file.modified } else { 0 }
}
