//! Reads files and cuts their texts into chunks, on separate threads, so that the model never waits
//! for a disk.

use crate::chunking::DocumentChunking;
use crate::chunks::{LocatedChunk, chunks};
use crate::left_out::LeftOutReason;
use crate::plan::FileTask;
use crate::revision::content_hash;
use kokeshi::Model;
use kokeshi_documents::{DocumentText, Error, Extractor, Format, Result, read};
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// Maximum number of documents that wait for the model.
const MAX_WAITING: usize = 64;
/// Number of reading threads.
const READERS: usize = 2;

/// The result of reading a file.
pub(crate) enum ReadFile {
    /// It has a new text.
    Changed(Box<ChunkedFile>),
    /// Its content equals the stored one.
    Unchanged(FileTask),
    /// It has no text, with the hash of its content if that could be read.
    LeftOut(FileTask, LeftOutReason, Option<String>),
}

/// A file's text and the chunks of each part.
pub(crate) struct ChunkedFile {
    pub(crate) task: FileTask,
    pub(crate) hash: String,
    pub(crate) format: Format,
    pub(crate) text: DocumentText,
    pub(crate) chunks: PartChunks,
}

/// The chunks of each part of a text.
type PartChunks = Vec<Vec<LocatedChunk>>;

/// Reads files.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) chunking: DocumentChunking,
    pub(crate) model: &'a Model,
    pub(crate) extractor: &'a (dyn Extractor + Sync),
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Reader<'a> {
    /// Reads `tasks`, approximately in their order, until `stop` is set.
    pub(crate) fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        tasks: Vec<FileTask>,
    ) -> Receiver<ReadFile>
    where
        'a: 'scope,
    {
        let (to, from) = sync_channel(MAX_WAITING);
        let tasks = Arc::new(Mutex::new(tasks.into_iter()));
        for _ in 0..READERS {
            let (to, tasks): (SyncSender<ReadFile>, _) = (to.clone(), Arc::clone(&tasks));
            scope.spawn(move || {
                let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(task) = next() {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let read = self.read(task);
                    // A stop may have ended the reader of the file, which is not the file's fault.
                    let is_cut_short = matches!(read, ReadFile::LeftOut(..))
                        && self.stop.load(Ordering::Relaxed);
                    // The receiver is gone after a failure, which is reported elsewhere.
                    if is_cut_short || to.send(read).is_err() {
                        return;
                    }
                }
            });
        }
        from
    }

    fn read(&self, task: FileTask) -> ReadFile {
        let format = Format::of(&task.file.path);
        let (content, hash) = match content(&task) {
            Ok(content) => content,
            Err(error) => return ReadFile::LeftOut(task, LeftOutReason::of(error), None),
        };
        if task.stored_hash.as_ref() == Some(&hash) {
            return ReadFile::Unchanged(task);
        }
        match self.text(&content, format) {
            Ok((text, chunks)) => {
                ReadFile::Changed(Box::new(ChunkedFile { task, hash, format, text, chunks }))
            }
            Err(reason) => ReadFile::LeftOut(task, reason, Some(hash)),
        }
    }

    /// The text of a file with this content, and its chunks, of which there is at least one.
    fn text(
        &self,
        content: &[u8],
        format: Format,
    ) -> Result<(DocumentText, PartChunks), LeftOutReason> {
        let text = read(format, content, self.extractor).map_err(LeftOutReason::of)?;
        let text = text.ok_or(LeftOutReason::Binary)?;
        let chunks = chunks(&text, self.chunking, self.model).map_err(LeftOutReason::of)?;
        match chunks.iter().all(Vec::is_empty) {
            true => Err(LeftOutReason::NoText),
            false => Ok((text, chunks)),
        }
    }
}

/// The bytes of a file and their hash.
fn content(task: &FileTask) -> Result<(Vec<u8>, String)> {
    let path = &task.file.path;
    let failed = |source| Error::Io { path: path.clone(), source };
    let mut content = Vec::new();
    let mut file = File::open(path).map_err(failed)?;
    file.read_to_end(&mut content).map_err(failed)?;
    let hash = content_hash(&mut &content[..]).map_err(failed)?;
    Ok((content, hash))
}
