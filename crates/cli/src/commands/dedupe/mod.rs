//! `kokeshi dedupe`: texts that say what another one says are left out.
//!
//! Texts pass in blocks: copies are found by their hash, the others are embedded and offered to the
//! leaders ([`Leaders`]), and what is kept is written at once, so that only texts and the vectors of
//! what is kept are held.

mod show;

use crate::args::DedupeArguments;
use crate::bytes;
use crate::failure::hinted;
use crate::forward::{Forward, Length};
use crate::input::{self, Document, Origin, Purpose, Source, Texts};
use crate::meter::Meter;
use crate::output::Destination;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Options;
use kokeshi_analysis::{Audit, Compute, Error, Leaders, Match, Matrix};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::process::ExitCode;

/// Texts of a block.
const BLOCK: usize = 2048;
/// Kept texts that are compared with all others to say what was missed.
const AUDITED: usize = 500;

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Kept,
    /// The same as the text of this number.
    Copy(usize),
    Near(Match),
}

/// A text and what became of it.
struct Judged {
    text: String,
    origin: Origin,
    fate: Fate,
}

/// The result.
struct Outcome {
    texts: Vec<Judged>,
    /// Bytes of the kept texts' vectors.
    vector_bytes: usize,
    /// What was missed, if texts were not compared with all that are kept.
    audit: Option<Audit>,
}

pub(crate) fn run(arguments: &DedupeArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut to = match &arguments.output {
        Some(path) => Some(Destination::file(path)?),
        None if arguments.groups || arguments.json => None,
        None => Some(Destination::stdout(printer)),
    };
    let mut texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
    let name = &arguments.model.model;
    let model = Loader::new(&arguments.model.device)?.get(name)?;
    let meter = Meter::new(texts.bytes, printer);
    let forward = Forward { name, model, meter, printer };
    let options = forward.options(&arguments.encoding, arguments.task.as_deref(), "text-matching");
    let task = options.task.clone();
    let compute = selection::compute(&arguments.model.device)?;
    let mut run = Run { arguments, forward, options, compute, leaders: None, seen: HashMap::new() };
    let mut judged = Vec::new();
    loop {
        let block = texts.by_ref().take(BLOCK).collect::<anyhow::Result<Vec<_>>>()?;
        if block.is_empty() {
            break;
        }
        let fates = run.judge(&block)?;
        if let Some(to) = &mut to {
            write(to, &block, &fates)?;
        }
        let block = block.into_iter().zip(fates);
        judged.extend(block.map(|(Document { text, origin, .. }, fate)| Judged {
            text,
            origin,
            fate,
        }));
    }
    if judged.is_empty() {
        return Err(input::no_texts());
    }
    let leaders = run.leaders.as_ref();
    let audit = leaders.filter(|leaders| leaders.is_approximate());
    let audit = audit.map(|leaders| leaders.audit(AUDITED));
    let vector_bytes = leaders.map_or(0, Leaders::len_bytes);
    drop(run);
    let outcome = Outcome { texts: judged, vector_bytes, audit };
    to.map_or(Ok(()), Destination::commit)?;
    if arguments.json {
        show::json(arguments, task.as_deref(), &outcome, printer)?;
    } else if arguments.groups {
        printer.print(&show::people(&outcome, printer))?;
    }
    printer.note(&show::summary(&outcome));
    Ok(ExitCode::SUCCESS)
}

struct Run<'a> {
    arguments: &'a DedupeArguments,
    forward: Forward<'a>,
    options: Options,
    compute: Compute,
    /// Made when the width of vectors is known.
    leaders: Option<Leaders>,
    /// Numbers of the texts by the first half of their SHA-256.
    seen: HashMap<[u8; 16], usize>,
}

impl Run<'_> {
    /// What becomes of each text of `block`.
    fn judge(&mut self, block: &[Document]) -> anyhow::Result<Vec<Fate>> {
        let mut fates = vec![Fate::Kept; block.len()];
        let mut fresh = Vec::new();
        for (at, document) in block.iter().enumerate() {
            let number = document.origin.number;
            let first = *self.seen.entry(hash(&document.text)).or_insert(number);
            if first == number {
                fresh.push(at);
            } else {
                fates[at] = Fate::Copy(first);
            }
        }
        let documents: Vec<Document> = fresh.iter().map(|&at| block[at].clone()).collect();
        if documents.is_empty() {
            return Ok(fates);
        }
        let vectors = self.forward.vectors(&documents, &self.options, Length::Limited)?;
        let rows = Matrix::of(&vectors)?;
        let names: Vec<usize> = documents.iter().map(|document| document.origin.number).collect();
        let DedupeArguments { threshold, exact, vector_memory, .. } = *self.arguments;
        let leaders = self.leaders.get_or_insert_with(|| {
            Leaders::new(&self.compute, rows.dimensions(), threshold, exact, vector_memory)
        });
        let found = leaders.offer(&names, &rows).map_err(full)?;
        for (at, found) in fresh.into_iter().zip(found) {
            fates[at] = found.map_or(Fate::Kept, Fate::Near);
        }
        Ok(fates)
    }
}

fn full(error: Error) -> anyhow::Error {
    match error {
        Error::Memory { rows, bytes } => hinted(
            format!(
                "the vectors of {rows} kept texts take {}, all that they may",
                bytes::shown(bytes as u64)
            ),
            "give more with --vector-memory, or shorten vectors with --dimensions",
        ),
        other => other.into(),
    }
}

fn hash(text: &str) -> [u8; 16] {
    let hash = Sha256::digest(text.as_bytes());
    std::array::from_fn(|at| hash[at])
}

/// Writes what is kept of `block`: a line as it was, the path of a file.
fn write(to: &mut Destination, block: &[Document], fates: &[Fate]) -> anyhow::Result<()> {
    let kept = block.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Kept);
    for (document, _) in kept {
        let written = match (&document.record, &document.origin) {
            (Some(record), _) => writeln!(to.writer(), "{record}"),
            (None, Origin { source: Source::File(path), line: None, .. }) => {
                writeln!(to.writer(), "{}", path.display())
            }
            (None, _) => writeln!(to.writer(), "{}", document.text),
        };
        written.map_err(|error| to.failure(error))?;
    }
    let flushed = to.writer().flush();
    flushed.map_err(|error| to.failure(error))
}
