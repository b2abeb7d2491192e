//! Fills the new collection: one thread reads, this one embeds, another one writes, so that the engine
//! waits for nobody.

use crate::error::{Error, Result};
use crate::ledger::{Done, Ledger, Progress, State};
use crate::plan::Plan;
use crate::sites::Sites;
use kokeshi_collections::{Embedder, Embeddings};
use kokeshi_store::{Document, Entry, Source};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Documents that are listed at a time.
const PAGE: usize = 1024;
/// Bytes of text that are embedded, and written, together, at most. A killed process loses no more than
/// the two or three of these that were under way.
const BATCH_BYTES: usize = 128 << 10;
/// Documents of a batch, at most.
const BATCH_DOCUMENTS: usize = 256;

/// What a run may take, and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Chunks a second that are read from the old collection, at most.
    pub rate: Option<f64>,
    /// Whether documents of the new collection that the old one has not are removed in the end: those
    /// that were deleted there, and those that others have written to the new one alone.
    pub prune: bool,
    /// Set from outside, it ends the run after the batch at hand.
    pub stop: &'a AtomicBool,
}

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Documents that were written.
    pub written: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Documents that were there: of an earlier run, or of others that write to the new collection.
    pub there: usize,
    /// Documents that could not be embedded; the ledger says why.
    pub failed: usize,
    /// Documents that were removed.
    pub pruned: usize,
    /// Whether `stop` ended it.
    pub stopped: bool,
}

/// Documents in the order of their paths.
struct Batch {
    /// Those to embed.
    documents: Vec<Document>,
    /// Paths among them that the new collection has in an older state.
    outdated: HashSet<String>,
    /// Documents in between that need nothing.
    there: usize,
    /// Nothing is left to do up to this path, once they are written.
    up_to: String,
}

/// What the writer gets of a batch.
struct Embedded {
    batch: Batch,
    failures: Vec<(String, String)>,
    done: Done,
}

/// Makes the new collection hold every document of the old one. `report` is called after each batch.
///
/// Documents that are in the new collection stay as they are, unless the old one has been changed since.
///
/// # Errors
///
/// If a store, the ledger or the engine fails, or the plan was switched already.
pub fn run(
    plan: &Plan,
    source: Box<dyn Source>,
    (sites, ledger): (&Sites, &Path),
    embedder: &Embedder,
    limits: Limits<'_>,
    report: &mut dyn FnMut(&Summary),
) -> Result<Summary> {
    let book = Ledger::open(ledger)?;
    let known = begin(plan, &*source, sites, &book)?;
    let after = known.after.unwrap_or_default();
    if after.is_empty() {
        book.clear_failures(&plan.name)?;
    }
    thread::scope(|scope| {
        let (to_us, batches) = sync_channel(2);
        let reader = scope.spawn(move || {
            read(plan, &*source, (sites, ledger), &after, limits, &to_us).map(|()| source)
        });
        let (to_writer, written) = sync_channel(2);
        let writer = scope.spawn(move || write(plan, sites, ledger, &written));
        let embedded = embed_all(embedder, &batches, &to_writer, limits.stop, report);
        drop((batches, to_writer));
        let (read, wrote) = (joined(reader), joined(writer));
        // A writer that has failed is why nothing more could be sent to it.
        wrote?;
        let source = read?;
        let mut summary = embedded?;
        if !summary.stopped {
            if limits.prune {
                summary.pruned = prune(plan, &*source, sites)?;
            }
            book.end_pass(&plan.name)?;
        }
        Ok(summary)
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Enters the run and makes the new collection if it is not there.
fn begin(plan: &Plan, source: &dyn Source, sites: &Sites, book: &Ledger) -> Result<Progress> {
    let known = book.begin(&plan.name, &plan.fingerprint())?;
    if matches!(known.state, State::Switched | State::Cleaned) {
        return Err(Error::State {
            name: plan.name.clone(),
            state: known.state,
            wanted: "run",
            next: "readers have the new collection; `rollback` takes that back first".to_owned(),
        });
    }
    let mut store = sites.store(&plan.from.collection)?;
    let old = source.collection(&plan.from.collection)?;
    let missing = || Error::Changed {
        name: plan.name.clone(),
        what: format!("there is no collection `{}` any more", plan.from.collection),
    };
    let old = old.ok_or_else(missing)?;
    // Who made vectors of another program is what the plan found out.
    if !old.provenance.is_unknown() {
        plan.from.provenance()?.check_same(&plan.from.collection, &old.provenance)?;
    }
    let made = plan.to.provenance()?;
    match store.collection(&plan.to.collection)? {
        Some(found) => found.provenance.check_same(&found.name, &made)?,
        None => store.create(&plan.to.collection, &made)?,
    }
    if !plan.is_apart() {
        for (path, options) in store.roots(&plan.from.collection)? {
            store.set_root(&plan.to.collection, &path, &options)?;
        }
    }
    book.set_state(&plan.name, State::Running)?;
    Ok(known)
}

/// Sends what has to be embedded, in the order of paths.
fn read(
    plan: &Plan,
    source: &dyn Source,
    (sites, ledger): (&Sites, &Path),
    after: &str,
    limits: Limits<'_>,
    to: &SyncSender<Batch>,
) -> Result<()> {
    let store = sites.store(&plan.from.collection)?;
    let book = Ledger::open(ledger)?;
    let mut pace = Pace::new(limits);
    let mut after = after.to_owned();
    loop {
        let page = source.list_after(&plan.from.collection, &after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.path);
        let paths: Vec<String> = page.iter().map(|entry| entry.path.clone()).collect();
        let known = store.entries(&plan.to.collection, &paths)?;
        let known: HashMap<&str, &Entry> =
            known.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let need = |entry: &&Entry| needs(entry, known.get(entry.path.as_str()).copied());
        let outdated = page.iter().filter(need).map(|entry| &entry.path);
        let outdated: Vec<String> =
            outdated.filter(|path| known.contains_key(path.as_str())).cloned().collect();
        let theirs = theirs(plan, &*store, &book, &outdated)?;
        for entries in batches(&page) {
            let need = |entry: &&Entry| need(entry) && !theirs.contains(&entry.path);
            let wanted: Vec<&Entry> = entries.iter().filter(need).collect();
            pace.wait(wanted.iter().map(|entry| entry.chunks).sum());
            let paths: Vec<String> = wanted.iter().map(|entry| entry.path.clone()).collect();
            let mut documents = source.documents(&plan.from.collection, &paths)?;
            documents.sort_by(|a, b| a.path.cmp(&b.path));
            let outdated = paths.into_iter().filter(|path| known.contains_key(path.as_str()));
            let batch = Batch {
                documents,
                outdated: outdated.collect(),
                there: entries.len() - wanted.len(),
                up_to: entries.last().map(|entry| entry.path.clone()).unwrap_or_default(),
            };
            if to.send(batch).is_err() || limits.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
}

/// Which documents of the new collection others have written, where no times tell that.
fn theirs(
    plan: &Plan,
    store: &dyn Source,
    book: &Ledger,
    outdated: &[String],
) -> Result<HashSet<String>> {
    let mut theirs = HashSet::new();
    if !plan.is_twin() || outdated.is_empty() {
        return Ok(theirs);
    }
    for document in store.documents(&plan.to.collection, outdated)? {
        if !book.has_written(&plan.name, &document)? {
            theirs.insert(document.path);
        }
    }
    Ok(theirs)
}

/// Removes documents that the old collection has not, and returns how many.
fn prune(plan: &Plan, source: &dyn Source, sites: &Sites) -> Result<usize> {
    let mut store = sites.store(&plan.from.collection)?;
    let (mut after, mut removed) = (String::new(), 0);
    loop {
        let page = store.list_after(&plan.to.collection, &after, PAGE)?;
        let Some(last) = page.last() else { return Ok(removed) };
        after.clone_from(&last.path);
        let mut paths: Vec<String> = page.into_iter().map(|entry| entry.path).collect();
        let old = source.entries(&plan.from.collection, &paths)?;
        let old: HashSet<&str> = old.iter().map(|entry| entry.path.as_str()).collect();
        paths.retain(|path| !old.contains(path.as_str()));
        if !paths.is_empty() {
            removed += store.remove(&plan.to.collection, &paths)?;
        }
    }
}

/// Whether a document has to be embedded, if the new collection has it as `new`: see [`is_outdated`].
fn needs(old: &Entry, new: Option<&Entry>) -> bool {
    let state = |entry: &Entry| (entry.hash.clone(), entry.modified);
    new.is_none_or(|new| is_outdated(&state(old), &state(new)))
}

/// Whether the old collection has a document in a later state than the new one; both are hash and time.
/// What others write to the new one wins otherwise. A time of 0 is that of a file that had just been
/// written; an empty hash, that of a document that was not written to its end.
pub(crate) fn is_outdated(old: &(String, i64), new: &(String, i64)) -> bool {
    new.0.is_empty() || (old.0 != new.0 && (old.1 == 0 || old.1 > new.1))
}

/// Runs of documents that are embedded together.
fn batches(page: &[Entry]) -> Vec<&[Entry]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in page.iter().enumerate() {
        bytes += entry.size as usize;
        if bytes >= BATCH_BYTES || at + 1 - start >= BATCH_DOCUMENTS || at + 1 == page.len() {
            batches.push(&page[start..=at]);
            (start, bytes) = (at + 1, 0);
        }
    }
    batches
}

/// Holds the reader to a rate.
struct Pace<'a> {
    limits: Limits<'a>,
    start: Instant,
    chunks: usize,
}

impl<'a> Pace<'a> {
    fn new(limits: Limits<'a>) -> Self {
        Self { limits, start: Instant::now(), chunks: 0 }
    }

    /// Waits until `chunks` more may be read.
    fn wait(&mut self, chunks: usize) {
        const STEP: Duration = Duration::from_millis(50);
        self.chunks += chunks;
        let Some(rate) = self.limits.rate.filter(|rate| *rate > 0.0) else { return };
        let due = Duration::try_from_secs_f64(self.chunks as f64 / rate).unwrap_or(Duration::MAX);
        while let Some(left) = due.checked_sub(self.start.elapsed())
            && !self.limits.stop.load(Ordering::Relaxed)
        {
            thread::sleep(left.min(STEP));
        }
    }
}

/// Embeds what comes and hands it on.
fn embed_all(
    embedder: &Embedder,
    batches: &Receiver<Batch>,
    to: &SyncSender<Embedded>,
    stop: &AtomicBool,
    report: &mut dyn FnMut(&Summary),
) -> Result<Summary> {
    let mut summary = Summary::default();
    for batch in batches {
        if stop.load(Ordering::Relaxed) {
            summary.stopped = true;
            break;
        }
        let start = Instant::now();
        let Batch { documents, there, .. } = &batch;
        let (there, several) = (*there, documents.len() > 1);
        let (documents, failures, tokens) = match embedder.documents(documents) {
            Ok(Embeddings { vectors, tokens }) => {
                (with_vectors(batch.documents, vectors), Vec::new(), tokens)
            }
            Err(error) if is_of_a_text(&error) && several => one_by_one(embedder, batch.documents)?,
            Err(error) if is_of_a_text(&error) => {
                let failed = batch.documents.into_iter();
                (Vec::new(), failed.map(|one| (one.path, error.to_string())).collect(), 0)
            }
            Err(error) => return Err(error.into()),
        };
        let done = Done {
            documents: documents.len(),
            chunks: documents.iter().map(|document| document.chunks.len()).sum(),
            tokens,
            seconds: start.elapsed().as_secs_f64(),
        };
        summary.written += done.documents;
        summary.chunks += done.chunks;
        summary.tokens += done.tokens;
        summary.there += there;
        summary.failed += failures.len();
        let batch = Batch { documents, ..batch };
        if to.send(Embedded { batch, failures, done }).is_err() {
            break;
        }
        report(&summary);
    }
    summary.stopped |= stop.load(Ordering::Relaxed);
    Ok(summary)
}

/// Whether it is a text that is at fault: others can be embedded.
fn is_of_a_text(error: &kokeshi::Error) -> bool {
    use kokeshi::Error as E;
    matches!(error, E::TooLong { .. } | E::TooLarge { .. } | E::Tokenize { .. } | E::Options(_))
}

/// Documents with their vectors, failures with their reasons, and the number of tokens.
type Outcome = (Vec<Document>, Vec<(String, String)>, usize);

fn one_by_one(embedder: &Embedder, documents: Vec<Document>) -> Result<Outcome> {
    let (mut good, mut failures, mut total) = (Vec::new(), Vec::new(), 0);
    for document in documents {
        let path = document.path.clone();
        match embedder.documents(std::slice::from_ref(&document)) {
            Ok(Embeddings { vectors, tokens }) => {
                total += tokens;
                good.extend(with_vectors(vec![document], vectors));
            }
            Err(error) if is_of_a_text(&error) => failures.push((path, error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((good, failures, total))
}

fn with_vectors(mut documents: Vec<Document>, vectors: Vec<Vec<f32>>) -> Vec<Document> {
    let chunks = documents.iter_mut().flat_map(|document| &mut document.chunks);
    chunks.zip(vectors).for_each(|(chunk, vector)| chunk.vector = vector);
    documents
}

/// Writes what comes, and then says so in the ledger.
fn write(plan: &Plan, sites: &Sites, ledger: &Path, embedded: &Receiver<Embedded>) -> Result<()> {
    let mut store = sites.store(&plan.from.collection)?;
    let book = Ledger::open(ledger)?;
    let to = &plan.to.collection;
    for Embedded { batch, failures, done } in embedded {
        let (old, new): (Vec<Document>, Vec<Document>) = batch
            .documents
            .into_iter()
            .partition(|document| batch.outdated.contains(&document.path));
        if plan.is_twin() {
            book.add_written(&plan.name, &old)?;
            book.add_written(&plan.name, &new)?;
        }
        if !old.is_empty() {
            store.upsert(to, &old)?;
        }
        if !new.is_empty() {
            store.insert(to, &new)?;
        }
        for (path, reason) in failures {
            book.add_failure(&plan.name, &path, &reason)?;
        }
        book.advance(&plan.name, &batch.up_to, &done)?;
    }
    store.finish(to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, hash: &str, modified: i64, size: u64) -> Entry {
        let (path, hash, format) = (path.to_owned(), hash.to_owned(), "text".to_owned());
        Entry { path, hash, modified, size, format, chunks: 1 }
    }

    #[test]
    fn what_others_wrote_stays_unless_the_old_collection_is_newer() {
        let old = entry("a", "1", 10, 5);
        assert!(needs(&old, None));
        assert!(!needs(&old, Some(&entry("a", "1", 10, 5))));
        assert!(!needs(&old, Some(&entry("a", "2", 10, 5))), "as new: theirs");
        assert!(!needs(&old, Some(&entry("a", "2", 11, 5))), "newer: theirs");
        assert!(needs(&old, Some(&entry("a", "2", 9, 5))), "older");
        assert!(needs(&entry("a", "1", 0, 5), Some(&entry("a", "2", 9, 5))), "just written");
        assert!(needs(&old, Some(&entry("a", "", 0, 5))), "half written");
    }

    #[test]
    fn batches_are_whole_documents_up_to_a_size() {
        let large = BATCH_BYTES as u64;
        let page: Vec<Entry> = [10, large, large / 2, large / 2, 3]
            .iter()
            .map(|&size| entry("a", "1", 0, size))
            .collect();
        let lengths: Vec<usize> = batches(&page).iter().map(|batch| batch.len()).collect();
        assert_eq!(lengths, [2, 2, 1]);
        let many = vec![entry("a", "1", 0, 1); 2 * BATCH_DOCUMENTS + 1];
        let lengths: Vec<usize> = batches(&many).iter().map(|batch| batch.len()).collect();
        assert_eq!(lengths, [BATCH_DOCUMENTS, BATCH_DOCUMENTS, 1]);
        assert!(batches(&[]).is_empty());
    }

    #[test]
    fn a_rate_holds_the_reader_and_a_stop_lets_it_go() {
        let stop = AtomicBool::new(false);
        let mut pace = Pace::new(Limits { rate: Some(100.0), prune: false, stop: &stop });
        let start = Instant::now();
        (0..4).for_each(|_| pace.wait(5));
        assert!(start.elapsed() >= Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        pace.wait(1_000_000);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
