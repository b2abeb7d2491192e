//! Files to texts in pieces, on threads of their own, so that the model never waits for a disk.

use super::extractor::Subprocess;
use super::plan::Task;
use super::revision::content_hash;
use crate::args::Cutting;
use kokeshi::{Chunk, Model};
use kokeshi_documents::{Error, Format, Part, Text, cut, read};
use std::fs::File;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Documents that wait for the model, at most.
const WAITING: usize = 64;
/// Threads that read.
const READERS: usize = 2;

/// What became of a file.
pub(super) enum Outcome {
    /// It has a new text.
    Changed(Box<Cut>),
    /// Its content is what it was.
    Same(Task),
    /// It holds nothing for us; the reason, if people should know it.
    LeftOut(Task, Option<String>),
}

/// A text and the pieces of each part.
pub(super) struct Cut {
    pub(super) task: Task,
    pub(super) hash: String,
    pub(super) format: Format,
    pub(super) text: Text,
    /// For each part of the text.
    pub(super) chunks: Vec<Vec<Piece>>,
}

/// A chunk for the engine, relative to its part, and its lines in the file.
pub(super) struct Piece {
    pub(super) chunk: Chunk,
    pub(super) lines: (usize, usize),
}

/// Reads `tasks` in about their order, until `stop`.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    tasks: Vec<Task>,
    cutting: Cutting,
    model: &'scope Model,
    stop: &'scope AtomicBool,
) -> Receiver<Outcome> {
    let (to, from) = sync_channel(WAITING);
    let tasks = std::sync::Arc::new(Mutex::new(tasks.into_iter()));
    for _ in 0..READERS {
        let (to, tasks): (SyncSender<Outcome>, _) = (to.clone(), std::sync::Arc::clone(&tasks));
        scope.spawn(move || {
            let next = || tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            while let Some(task) = next() {
                // Nobody receives any more after a failure, which has been reported.
                if stop.load(Ordering::Relaxed) || to.send(outcome(task, cutting, model)).is_err() {
                    return;
                }
            }
        });
    }
    from
}

fn outcome(task: Task, cutting: Cutting, model: &Model) -> Outcome {
    let format = Format::of(&task.found.path);
    let result = content(&task).and_then(|(content, hash)| {
        if task.known.as_ref() == Some(&hash) {
            return Ok(None);
        }
        let Some(text) = read(format, &content, &Subprocess)? else {
            return Err(Error::NoText(String::new()));
        };
        let chunks = pieces(&text, cutting, model)?;
        Ok(Some((hash, text, chunks)))
    });
    match result {
        Ok(Some((hash, text, chunks))) => {
            Outcome::Changed(Box::new(Cut { task, hash, format, text, chunks }))
        }
        Ok(None) => Outcome::Same(task),
        Err(Error::NoText(reason)) if reason.is_empty() => Outcome::LeftOut(task, None),
        Err(error) => {
            let reason = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => format!("{}: {error}", task.found.path.display()),
            };
            Outcome::LeftOut(task, Some(reason))
        }
    }
}

fn content(task: &Task) -> Result<(Vec<u8>, String), Error> {
    let path = &task.found.path;
    let failed = |source| Error::Io { path: path.clone(), source };
    let mut content = Vec::new();
    let mut file = File::open(path).map_err(failed)?;
    file.read_to_end(&mut content).map_err(failed)?;
    let hash = content_hash(&mut &content[..]).map_err(failed)?;
    Ok((content, hash))
}

fn pieces(text: &Text, cutting: Cutting, model: &Model) -> Result<Vec<Vec<Piece>>, Error> {
    match cutting {
        Cutting::Structure(size) => {
            let parts = cut(text, size).into_iter().zip(&text.parts);
            Ok(parts.map(|(pieces, part)| relative(text, part, pieces)).collect())
        }
        Cutting::Engine(chunking) => {
            let (mut at, mut line) = (0, 1);
            let parts = text.parts.iter().map(|part| {
                let chunks = model.chunk(&text.text[part.bytes.clone()], chunking);
                let chunks = chunks.map_err(|error| Error::NoText(error.to_string()))?;
                let pieces = chunks.into_iter().map(|chunk| {
                    let bytes =
                        part.bytes.start + chunk.bytes.start..part.bytes.start + chunk.bytes.end;
                    line += newlines(&text.text[at..bytes.start]);
                    at = bytes.start;
                    let lines = (line, line + newlines(&text.text[bytes]));
                    Piece { lines: part.line.map_or(lines, |line| (line, line)), chunk }
                });
                Ok(pieces.collect())
            });
            parts.collect()
        }
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// Pieces of the text as chunks of their part. Their tokens are looked up when they are embedded.
fn relative(text: &Text, part: &Part, pieces: Vec<kokeshi_documents::Piece>) -> Vec<Piece> {
    let start = part.bytes.start;
    let (mut at, mut chars) = (start, 0);
    let mut chars_at = |to: usize| {
        chars += text.text[at..to].chars().count();
        at = to;
        chars
    };
    let relative = pieces.into_iter().map(|piece| {
        let chars = chars_at(piece.bytes.start)..chars_at(piece.bytes.end);
        let bytes = piece.bytes.start - start..piece.bytes.end - start;
        Piece { chunk: Chunk { bytes, chars, tokens: 0..0 }, lines: piece.lines }
    });
    relative.collect()
}
