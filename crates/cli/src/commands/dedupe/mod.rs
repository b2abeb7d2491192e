//! `kokeshi dedupe`: drops texts that mean the same as another.
//!
//! Texts are processed in blocks: copies are detected by their hash, the others are embedded and
//! compared with the leaders ([`Leaders`]), and kept texts are written at once. So only the texts
//! and the vectors of kept texts are in memory.

mod show;

use crate::args::DedupeArguments;
use crate::bytes;
use crate::embedder::{Embedder, LongTexts};
use crate::exit::Exit;
use crate::failure::hinted;
use crate::input::{self, Origin, Purpose, Source, SourceText, Texts};
use crate::meter::Meter;
use crate::output::Destination;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Options;
use kokeshi_analysis::{Audit, Compute, Error, Leaders, Match, Matrix};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::rc::Rc;

/// Number of texts in a block.
const BLOCK: usize = 2048;
/// Number of kept texts that are compared with all others to estimate what was missed.
const AUDITED: usize = 500;

/// What happens to a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Kept,
    /// Dropped: identical to the text with this number.
    Copy(usize),
    /// Dropped: close to a kept text.
    Near(Match),
}

/// A text and its verdict.
struct JudgedText {
    text: String,
    origin: Origin,
    verdict: Verdict,
}

/// The result of the command.
struct Deduplication {
    texts: Vec<JudgedText>,
    /// Bytes of the vectors of kept texts.
    vector_bytes: usize,
    /// An estimate of what was missed, if texts were not compared with all kept texts.
    audit: Option<Audit>,
}

pub(crate) fn run(arguments: &DedupeArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let mut to = match &arguments.output {
        Some(path) => Some(Destination::open(path, printer)?),
        None if arguments.groups || arguments.json => None,
        None => Some(Destination::stdout(printer)),
    };
    let mut texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
    let name = &arguments.model.model;
    let model = Loader::new(&arguments.model.device)?.get(name)?;
    let meter = Meter::new(texts.bytes, "text", printer);
    let embedder = Embedder::new(name, model, meter, printer);
    let options = embedder.options(&arguments.encoding, arguments.task.as_deref(), "text-matching");
    let task = options.task.clone();
    let compute = selection::compute(&arguments.model.device)?;
    let mut deduplicator =
        Deduplicator { arguments, embedder, options, compute, leaders: None, seen: HashMap::new() };
    let (mut processed, mut written) = (Vec::new(), WrittenLines::default());
    loop {
        let block = texts.by_ref().take(BLOCK).collect::<anyhow::Result<Vec<_>>>()?;
        if block.is_empty() {
            break;
        }
        let verdicts = deduplicator.judge(&block)?;
        if let Some(to) = &mut to {
            write(to, &block, &verdicts, &mut written)?;
        }
        let block = block.into_iter().zip(verdicts);
        processed.extend(block.map(|(SourceText { text, origin, .. }, verdict)| JudgedText {
            text,
            origin,
            verdict,
        }));
    }
    if processed.is_empty() {
        return Err(input::no_texts());
    }
    let leaders = deduplicator.leaders.as_ref();
    let audit = leaders.filter(|leaders| leaders.is_approximate());
    let audit = audit.map(|leaders| leaders.audit(AUDITED));
    let vector_bytes = leaders.map_or(0, Leaders::len_bytes);
    drop(deduplicator);
    let result = Deduplication { texts: processed, vector_bytes, audit };
    to.map_or(Ok(()), Destination::commit)?;
    if arguments.json {
        show::json(arguments, task.as_deref(), &result, printer)?;
    } else if arguments.groups {
        printer.print(&show::text(&result, printer))?;
    }
    printer.note(&show::summary(&result));
    Ok(Exit::Success)
}

struct Deduplicator<'a> {
    arguments: &'a DedupeArguments,
    embedder: Embedder<'a>,
    options: Options,
    compute: Compute,
    /// Created when the width of vectors is known.
    leaders: Option<Leaders>,
    /// Numbers of the texts by the first half of their SHA-256.
    seen: HashMap<[u8; 16], usize>,
}

impl Deduplicator<'_> {
    /// The verdict of each text of `block`.
    fn judge(&mut self, block: &[SourceText]) -> anyhow::Result<Vec<Verdict>> {
        let mut verdicts = vec![Verdict::Kept; block.len()];
        let mut fresh = Vec::new();
        for (at, document) in block.iter().enumerate() {
            let number = document.origin.number;
            let first = *self.seen.entry(hash(&document.text)).or_insert(number);
            if first == number {
                fresh.push(at);
            } else {
                verdicts[at] = Verdict::Copy(first);
            }
        }
        let documents: Vec<SourceText> = fresh.iter().map(|&at| block[at].clone()).collect();
        if documents.is_empty() {
            return Ok(verdicts);
        }
        let vectors = self.embedder.vectors(&documents, &self.options, LongTexts::Limited)?;
        let rows = Matrix::of(&vectors)?;
        let names: Vec<usize> = documents.iter().map(|document| document.origin.number).collect();
        let DedupeArguments { threshold, exact, vector_memory, .. } = *self.arguments;
        let leaders = self.leaders.get_or_insert_with(|| {
            Leaders::new(&self.compute, rows.dimensions(), threshold, exact, vector_memory)
        });
        let matches = leaders.offer(&names, &rows).map_err(out_of_memory)?;
        for (at, nearest) in fresh.into_iter().zip(matches) {
            verdicts[at] = nearest.map_or(Verdict::Kept, Verdict::Near);
        }
        Ok(verdicts)
    }
}

fn out_of_memory(error: Error) -> anyhow::Error {
    match error {
        Error::Memory { rows, bytes } => hinted(
            format!(
                "the vectors of {rows} kept texts reach the limit of {}",
                bytes::format(bytes as u64)
            ),
            "raise --vector-memory, or shorten vectors with --dimensions",
        ),
        other => other.into(),
    }
}

fn hash(text: &str) -> [u8; 16] {
    let hash = Sha256::digest(text.as_bytes());
    std::array::from_fn(|at| hash[at])
}

/// What the lines that were written so far mean for the next one.
#[derive(Default)]
struct WrittenLines {
    /// The header of the table that the last one is a row of.
    header: Option<Rc<str>>,
    /// Whether the last one has no line break.
    is_open: bool,
}

/// Writes the kept texts of `block`: lines and records unchanged, files by their paths.
fn write(
    to: &mut Destination,
    block: &[SourceText],
    verdicts: &[Verdict],
    written: &mut WrittenLines,
) -> anyhow::Result<()> {
    let kept = block.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Kept);
    for (document, _) in kept {
        let line_break = document.line_break();
        let mut lines = String::new();
        if written.is_open {
            lines.push('\n');
        }
        match (&document.record, &document.origin) {
            (Some(record), _) => {
                if record.header.is_some() && record.header != written.header {
                    written.header.clone_from(&record.header);
                    let end = if line_break.is_empty() { "\n" } else { line_break };
                    lines.extend([record.header.as_deref().unwrap_or_default(), end]);
                }
                lines.push_str(&record.raw);
            }
            (None, Origin { source: Source::File(path), line: None, .. }) => {
                lines.push_str(&path.display().to_string());
            }
            (None, _) => lines.push_str(&document.text),
        }
        lines.push_str(line_break);
        written.is_open = line_break.is_empty();
        let result = to.writer().write_all(lines.as_bytes());
        result.map_err(|error| to.failure(error))?;
    }
    let flushed = to.writer().flush();
    flushed.map_err(|error| to.failure(error))
}
