//! Reads files and cuts their texts into chunks, on separate threads, so that the model never waits
//! for a disk.

use crate::chunking::DocumentChunking;
use crate::chunks::{LocatedChunk, chunks};
use crate::left_out::LeftOutReason;
use crate::plan::FileTask;
use crate::revision::content_hash;
use kokeshi::Model;
use kokeshi_documents::{DocumentText, Error, Extractor, Format, Result, Segments, read};
use std::fs::File;
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// Maximum number of documents that wait for the model.
const MAX_WAITING: usize = 64;
/// Maximum size of a file of rows in another encoding than UTF-8, which is read as a whole, in
/// bytes.
const MAX_OTHER_ROWS: u64 = 32 << 20;
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

/// A file's text, or a piece of it, and the chunks of each part.
pub(crate) struct ChunkedFile {
    pub(crate) task: FileTask,
    /// The hash of the content; empty until the last piece.
    pub(crate) hash: String,
    pub(crate) format: Format,
    pub(crate) text: DocumentText,
    pub(crate) chunks: PartChunks,
    pub(crate) piece: Piece,
}

/// Which piece of a document this is. Only files of rows have several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Number of chunks in earlier pieces.
    pub(crate) first: usize,
    /// Bytes of text in earlier pieces.
    pub(crate) start: usize,
    /// Whether others follow.
    pub(crate) has_more: bool,
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
                    let mut send = |read: ReadFile| {
                        // A stop may have ended the reader of the file, which is not the file's
                        // fault.
                        let is_cut_short = matches!(read, ReadFile::LeftOut(..))
                            && self.stop.load(Ordering::Relaxed);
                        // The receiver is gone after a failure, which is reported elsewhere.
                        !is_cut_short && to.send(read).is_ok()
                    };
                    if !self.read(task, &mut send) {
                        return;
                    }
                }
            });
        }
        from
    }

    /// Sends what a file contains, and returns whether to continue.
    fn read(&self, task: FileTask, send: &mut dyn FnMut(ReadFile) -> bool) -> bool {
        let format = Format::of(&task.file.path);
        let content = match Content::of(&task, format) {
            Ok(content) => content,
            Err(error) => return send(ReadFile::LeftOut(task, LeftOutReason::of(error), None)),
        };
        if task.stored_hash.as_deref() == Some(content.hash()) {
            return send(ReadFile::Unchanged(task));
        }
        match content {
            Content::Rows(file, hash) => self.send_rows((task, format, hash), file, send),
            Content::Bytes(content, hash) => send(match self.text(&content, format) {
                Ok((text, chunks)) => ReadFile::Changed(Box::new(ChunkedFile {
                    task,
                    hash,
                    format,
                    text,
                    chunks,
                    piece: Piece::default(),
                })),
                Err(reason) => ReadFile::LeftOut(task, reason, Some(hash)),
            }),
        }
    }

    /// Sends the rows of a file in pieces. If a row cannot be read, the whole file is left out.
    fn send_rows(
        &self,
        (task, format, hash): (FileTask, Format, String),
        file: File,
        send: &mut dyn FnMut(ReadFile) -> bool,
    ) -> bool {
        let left_out = |reason| ReadFile::LeftOut(task.clone(), reason, Some(hash.clone()));
        let mut pieces = match self.pieces(format, file) {
            Ok(pieces) => pieces.peekable(),
            Err(error) => return send(left_out(LeftOutReason::of(error))),
        };
        let mut piece = Piece::default();
        while let Some(next) = pieces.next() {
            let (text, chunks) = match next {
                Ok(next) => next,
                Err(error) => return send(left_out(LeftOutReason::of(error))),
            };
            piece.has_more = pieces.peek().is_some();
            let (count, bytes) = (chunks.iter().map(Vec::len).sum::<usize>(), text.text.len());
            let hash = if piece.has_more { String::new() } else { hash.clone() };
            let task = task.clone();
            let chunked = ChunkedFile { task, hash, format, text, chunks, piece };
            if !send(ReadFile::Changed(Box::new(chunked))) {
                return false;
            }
            (piece.first, piece.start) = (piece.first + count, piece.start + bytes);
        }
        // Not even one piece has a chunk.
        piece != Piece::default() || send(left_out(LeftOutReason::NoText))
    }

    /// The pieces of a file of rows that have chunks, with these.
    fn pieces(
        &self,
        format: Format,
        file: File,
    ) -> Result<impl Iterator<Item = Result<(DocumentText, PartChunks)>>> {
        let segments = Segments::new(format, file)?;
        let chunked = move |text: Result<DocumentText>| {
            let text = text?;
            let chunks = chunks(&text, self.chunking, self.model)?;
            Ok((text, chunks))
        };
        let has_chunks = |piece: &Result<(DocumentText, PartChunks)>| {
            piece.as_ref().map_or(true, |(_, chunks)| !chunks.iter().all(Vec::is_empty))
        };
        Ok(segments.into_iter().flatten().map(chunked).filter(has_chunks))
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

/// The content of a file, with its hash.
enum Content {
    Bytes(Vec<u8>, String),
    /// Rows in UTF-8, which are read again in pieces.
    Rows(File, String),
}

impl Content {
    fn of(task: &FileTask, format: Format) -> Result<Self> {
        let path = &task.file.path;
        let failed = |source| Error::Io { path: path.clone(), source };
        let mut file = File::open(path).map_err(failed)?;
        if matches!(format, Format::Jsonl | Format::Table(_)) {
            let mut checked = Utf8Check::new(&mut file);
            let hash = content_hash(&mut checked).map_err(failed)?;
            let is_utf8 = checked.is_utf8();
            file.rewind().map_err(failed)?;
            if is_utf8 {
                return Ok(Self::Rows(file, hash));
            }
            check_size(task, MAX_OTHER_ROWS, "rows that are not in UTF-8")?;
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let hash = content_hash(&mut &content[..]).map_err(failed)?;
        Ok(Self::Bytes(content, hash))
    }

    fn hash(&self) -> &str {
        match self {
            Self::Bytes(_, hash) | Self::Rows(_, hash) => hash,
        }
    }
}

fn check_size(task: &FileTask, limit: u64, what: &str) -> Result<()> {
    let (size, limit_mib) = (task.file.len_bytes, limit >> 20);
    match size > limit {
        false => Ok(()),
        true => Err(Error::NoText(format!(
            "it has {} MiB; the limit of {what} is {limit_mib} MiB",
            size >> 20
        ))),
    }
}

/// Passes bytes on, and checks whether they are a text in UTF-8.
struct Utf8Check<R> {
    from: R,
    /// The bytes of an incomplete character.
    rest: Vec<u8>,
    is_valid: bool,
}

impl<R: Read> Utf8Check<R> {
    fn new(from: R) -> Self {
        Self { from, rest: Vec::new(), is_valid: true }
    }

    fn is_utf8(&self) -> bool {
        self.is_valid && self.rest.is_empty()
    }
}

impl<R: Read> Read for Utf8Check<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        if self.is_valid {
            self.rest.extend_from_slice(&buffer[..count]);
            match str::from_utf8(&self.rest) {
                Ok(text) => {
                    // A file with a zero byte is not a text, or in another encoding.
                    self.is_valid = !text.contains('\0') && !text.contains("\x1b$");
                    self.rest.clear();
                }
                Err(error) if error.error_len().is_none() => {
                    self.is_valid = !self.rest[..error.valid_up_to()].contains(&0);
                    self.rest.drain(..error.valid_up_to());
                }
                Err(_) => self.is_valid = false,
            }
        }
        Ok(count)
    }
}
