//! The reading thread of a run, which batches the documents that need new vectors.

use crate::error::Result;
use crate::ledger::Ledger;
use crate::locations::Locations;
use crate::plan::Plan;
use crate::run::RunLimits;
use kokeshi_store::{Document, Entry, Source, Store, pages};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

/// Number of documents that are listed at a time.
const PAGE: usize = 1024;
/// Maximum bytes of text that are embedded and written together. A killed process loses at most two
/// or three such batches.
const BATCH_BYTES: usize = 128 << 10;
/// Maximum number of documents in a batch.
const BATCH_DOCUMENTS: usize = 256;

/// Consecutive documents, in the order of the source.
pub(crate) struct Batch {
    /// The documents to embed.
    pub(crate) documents: Vec<Document>,
    /// Documents that the store of the new collection cannot hold, with the reasons.
    pub(crate) refused: Vec<(String, String)>,
    /// Those of their paths that the new collection has in an older state.
    pub(crate) outdated: HashSet<String>,
    /// Number of skipped documents, which are up to date.
    pub(crate) present: usize,
    /// The last path that is handled once this batch is written.
    pub(crate) up_to: String,
}

/// The reader of the old collection.
pub(crate) struct Reader<'a> {
    plan: &'a Plan,
    source: &'a dyn Source,
    /// The store of the new collection.
    store: Box<dyn Store>,
    ledger: Ledger,
    limits: RunLimits<'a>,
    rate_limit: RateLimit<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        source: &'a dyn Source,
        (locations, ledger): (&Locations, &Path),
        limits: RunLimits<'a>,
    ) -> Result<Self> {
        let store = locations.open_store(&plan.from.collection)?;
        let ledger = Ledger::open(ledger)?;
        Ok(Self { plan, source, store, ledger, limits, rate_limit: RateLimit::new(limits) })
    }

    /// Sends the documents to embed after the path `after`, until the limits stop it or the
    /// receiver is gone.
    pub(crate) fn send_all(&mut self, after: &str, to: &SyncSender<Batch>) -> Result<()> {
        for page in pages(self.source, &self.plan.from.collection, after, PAGE) {
            if !self.send_page(&page?, to)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the batches of a page, and returns whether to continue.
    fn send_page(&mut self, page: &[Entry], to: &SyncSender<Batch>) -> Result<bool> {
        let paths: Vec<String> = page.iter().map(|entry| entry.path.clone()).collect();
        let new = self.store.entries(&self.plan.to.collection, &paths)?;
        let new: HashMap<&str, &Entry> =
            new.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let mut needed: HashSet<&str> = page
            .iter()
            .filter(|entry| needs_embedding(entry, new.get(entry.path.as_str()).copied()))
            .map(|entry| entry.path.as_str())
            .collect();
        let outdated = page
            .iter()
            .map(|entry| &entry.path)
            .filter(|path| needed.contains(path.as_str()) && new.contains_key(path.as_str()));
        for path in self.changed_by_others(&outdated.cloned().collect::<Vec<_>>())? {
            needed.remove(path.as_str());
        }
        for entries in batches(page) {
            let batch = self.batch(entries, &needed, &new)?;
            if to.send(batch).is_err() || self.limits.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn batch(
        &mut self,
        entries: &[Entry],
        needed: &HashSet<&str>,
        new: &HashMap<&str, &Entry>,
    ) -> Result<Batch> {
        let wanted: Vec<&Entry> =
            entries.iter().filter(|entry| needed.contains(entry.path.as_str())).collect();
        self.rate_limit.wait(wanted.iter().map(|entry| entry.chunks).sum());
        let paths: Vec<String> = wanted.iter().map(|entry| entry.path.clone()).collect();
        let mut documents = self.source.documents(&self.plan.from.collection, &paths)?;
        documents.sort_by(|a, b| a.path.cmp(&b.path));
        let mut refused = Vec::new();
        documents.retain(|document| match self.store.refusal(document) {
            Some(reason) => {
                refused.push((document.path.clone(), reason));
                false
            }
            None => true,
        });
        let outdated = paths.into_iter().filter(|path| new.contains_key(path.as_str()));
        Ok(Batch {
            documents,
            refused,
            outdated: outdated.collect(),
            present: entries.len() - wanted.len(),
            up_to: entries.last().map(|entry| entry.path.clone()).unwrap_or_default(),
        })
    }

    /// Those of the `outdated` documents that another program has changed in the new collection.
    /// Only a shadow copy needs the ledger for this; otherwise, times suffice.
    fn changed_by_others(&self, outdated: &[String]) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        if !self.plan.has_shadow_copy() || outdated.is_empty() {
            return Ok(changed);
        }
        for document in self.store.documents(&self.plan.to.collection, outdated)? {
            if !self.ledger.has_written(&self.plan.name, &document)? {
                changed.push(document.path);
            }
        }
        Ok(changed)
    }
}

/// Whether a document of the old collection has to be embedded; `new` is its entry in the new
/// collection. See [`is_outdated`].
fn needs_embedding(old: &Entry, new: Option<&Entry>) -> bool {
    let state = |entry: &Entry| (entry.hash.clone(), entry.modified);
    new.is_none_or(|new| is_outdated(&state(old), &state(new)))
}

/// Whether the old collection has a document in a later state than the new one; a state is a hash
/// and a time. Otherwise, the new collection keeps what other programs have written. A time of 0
/// belongs to a file that had just been changed, an empty hash to a document that was not
/// completely written.
pub(crate) fn is_outdated(old: &(String, i64), new: &(String, i64)) -> bool {
    new.0.is_empty() || (old.0 != new.0 && (old.1 == 0 || old.1 > new.1))
}

/// Cuts a page into batches.
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

/// Limits the rate of the reader.
struct RateLimit<'a> {
    limits: RunLimits<'a>,
    start: Instant,
    chunks: usize,
}

impl<'a> RateLimit<'a> {
    fn new(limits: RunLimits<'a>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn entry(path: &str, hash: &str, modified: i64, size: u64) -> Entry {
        let (path, hash, format) = (path.to_owned(), hash.to_owned(), "text".to_owned());
        Entry { path, hash, modified, size, format, chunks: 1 }
    }

    #[test]
    fn writes_of_others_are_kept_unless_the_old_collection_is_newer() {
        let old = entry("a", "1", 10, 5);
        assert!(needs_embedding(&old, None));
        assert!(!needs_embedding(&old, Some(&entry("a", "1", 10, 5))));
        assert!(
            !needs_embedding(&old, Some(&entry("a", "2", 10, 5))),
            "changed by others at the same time"
        );
        assert!(!needs_embedding(&old, Some(&entry("a", "2", 11, 5))), "changed by others later");
        assert!(needs_embedding(&old, Some(&entry("a", "2", 9, 5))), "older");
        assert!(
            needs_embedding(&entry("a", "1", 0, 5), Some(&entry("a", "2", 9, 5))),
            "the file had just been written"
        );
        assert!(needs_embedding(&old, Some(&entry("a", "", 0, 5))), "incompletely written");
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
    fn a_rate_delays_the_reader_and_a_stop_ends_the_delay() {
        let stop = AtomicBool::new(false);
        let mut rate_limit =
            RateLimit::new(RunLimits { rate: Some(100.0), prune: false, stop: &stop });
        let start = Instant::now();
        (0..4).for_each(|_| rate_limit.wait(5));
        assert!(start.elapsed() >= Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        rate_limit.wait(1_000_000);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
