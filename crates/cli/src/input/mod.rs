//! Texts from the command line, standard input and files, read on demand.

mod compressed;
mod labelled;
mod lines;
mod open;
mod records;

pub(crate) use labelled::{FieldNames, read_labelled};
pub(crate) use records::Record;

use crate::args::{InputArguments, InputFormat};
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use anyhow::Context;
use open::{ending, is_packed, open};
use records::RecordLine;
use std::fmt;
use std::fs;
use std::io::{self, BufReader, IsTerminal};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What stands for standard input.
pub(crate) const STDIN: &str = "-";
/// Longest argument that may be the name of a file, in bytes.
const LONGEST_NAME: usize = 255;
/// Maximum number of blank texts that are named.
const NAMED: usize = 3;

/// A text and its origin.
#[derive(Clone, Debug)]
pub(crate) struct SourceText {
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// Size in its source, in bytes.
    pub(crate) bytes: usize,
    /// The record that contains it, if any.
    pub(crate) record: Option<Rc<Record>>,
}

impl SourceText {
    /// What ended its line in its source: nothing, if it was the last one. A text that is not a
    /// line has `\n`.
    pub(crate) fn line_break(&self) -> &'static str {
        let line = self.record.as_ref().map_or(&self.text, |record| &record.raw);
        let mark = if self.origin.line == Some(1) { "\u{feff}".len() } else { 0 };
        match (self.origin.line, self.bytes.checked_sub(line.len())) {
            (Some(_), Some(2)) => "\r\n",
            (Some(_), Some(0)) => "",
            (Some(_), Some(more)) if mark > 0 && more == mark + 2 => "\r\n",
            (Some(_), Some(more)) if mark > 0 && more == mark => "",
            _ => "\n",
        }
    }
}

/// Where a text comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Number among all texts of the command, from 0.
    pub(crate) number: usize,
    pub(crate) source: Source,
    /// Line, from 1, in a source of lines.
    pub(crate) line: Option<usize>,
}

/// A source of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Arguments,
    Stdin,
    File(Rc<Path>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => f.write_str("the command line"),
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} of {}", self.source),
            None => self.source.fmt(f),
        }
    }
}

/// What is done with the texts: it determines how sources without an explicit format are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Each text gets a vector.
    Texts,
    /// Each text is cut into chunks.
    Chunks,
    /// The texts of a source are the parts of one document.
    Parts,
}

/// All texts of a command.
pub(crate) struct Texts {
    /// Size of all sources, if it is known in advance.
    pub(crate) bytes: Option<u64>,
    documents: Box<dyn Iterator<Item = anyhow::Result<SourceText>>>,
    count: usize,
}

impl Texts {
    /// Resolves the sources without reading them.
    pub(crate) fn open(
        arguments: &InputArguments,
        purpose: Purpose,
        printer: &Printer,
    ) -> anyhow::Result<Self> {
        let sources = sources(arguments)?;
        let mut texts = arguments.texts.clone();
        texts.retain(|text| text != STDIN);
        warn_of_files(&texts, printer);
        if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
            // Without this note, the program would seem to hang.
            printer.note("reading texts from the terminal, one per line; end with Ctrl-D");
        }
        let bytes = sources.iter().map(|source| size(source, &texts)).sum();
        let (explicit, field) = (arguments.input_format, arguments.text_field.clone());
        let printer = printer.clone();
        let documents = sources.into_iter().flat_map(move |source| {
            let format = explicit.unwrap_or_else(|| default_format(&source, purpose));
            if source == Source::Arguments {
                return from_arguments(take(&mut texts));
            }
            let texts = read(source, format, field.as_deref(), &printer);
            texts.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
        });
        Ok(Self { bytes, documents: Box::new(documents), count: 0 })
    }
}

impl Iterator for Texts {
    type Item = anyhow::Result<SourceText>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut document = self.documents.next()?;
        if let Ok(document) = &mut document {
            document.origin.number = self.count;
            self.count += 1;
        }
        Some(document)
    }
}

/// The lines of standard input, each as soon as it arrives.
pub(crate) fn stdin_lines() -> impl Iterator<Item = anyhow::Result<SourceText>> {
    lines::texts(BufReader::new(io::stdin()), Source::Stdin)
}

/// The error if no source contains a text.
pub(crate) fn no_texts() -> anyhow::Error {
    hinted(
        "no text to embed: the input is empty",
        "pass texts as arguments, with --input, or one per line on standard input",
    )
}

fn sources(arguments: &InputArguments) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let (stdin, texts): (Vec<&String>, Vec<&String>) =
        arguments.texts.iter().partition(|text| *text == STDIN);
    if !texts.is_empty() {
        sources.push(Source::Arguments);
    }
    if !stdin.is_empty() {
        sources.push(Source::Stdin);
    }
    for pattern in &arguments.input {
        sources.extend(matching(pattern)?);
    }
    if sources.is_empty() {
        sources.push(Source::Stdin);
    }
    Ok(sources)
}

/// The sources that match `patterns` of `--input`.
pub(crate) fn matching_sources(patterns: &[String]) -> anyhow::Result<Vec<Source>> {
    let sources = patterns.iter().map(|pattern| matching(pattern));
    Ok(sources.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

/// The sources of one `--input`: a file of that name, or else the files that match the glob.
fn matching(pattern: &str) -> anyhow::Result<Vec<Source>> {
    if pattern == STDIN {
        return Ok(vec![Source::Stdin]);
    }
    let path = Path::new(pattern);
    if path.is_dir() {
        let hint = format!("`--input '{}/*.txt'` reads the files in it", path.display());
        return Err(hinted(format!("`{pattern}` is a folder"), hint));
    }
    if path.exists() {
        return Ok(vec![Source::File(path.into())]);
    }
    let paths = glob::glob(pattern).with_context(|| format!("`{pattern}` is not a valid glob"))?;
    let files: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    let files: Vec<_> = files.iter().filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(hinted(
            format!("no file matches `{pattern}`"),
            "--input accepts a file, a glob, or `-` for standard input",
        ));
    }
    Ok(files.into_iter().map(|path| Source::File(path.as_path().into())).collect())
}

/// The source that an option for one file names.
pub(crate) fn source_of(path: &Path) -> Source {
    if is_stdin(path) { Source::Stdin } else { Source::File(path.into()) }
}

/// Whether the file that an option names is standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Warns of arguments that are texts, but also names of files: probably the files are meant.
fn warn_of_files(texts: &[String], printer: &Printer) {
    let is_file = |text: &&String| text.len() <= LONGEST_NAME && Path::new(text).is_file();
    let mut files = texts.iter().filter(is_file);
    let Some(first) = files.next() else { return };
    let others = match files.count() {
        0 => String::new(),
        others => format!("; {} as well", counted(others, "more argument")),
    };
    printer.warning(&format!(
        "`{first}` is the name of a file, but used as a text; `--input {first}` reads the \
         file{others}"
    ));
}

/// Leaves out texts without any letter, which are similar to everything, and says which.
pub(crate) fn leave_out_blank(documents: &mut Vec<SourceText>, printer: &Printer) {
    let is_blank = |document: &SourceText| document.text.trim().is_empty();
    let blank: Vec<String> =
        documents.iter().filter(|one| is_blank(one)).map(|one| one.origin.to_string()).collect();
    // Texts that are all blank are not left out: there would be none.
    if blank.is_empty() || blank.len() == documents.len() {
        return;
    }
    documents.retain(|document| !is_blank(document));
    let more = blank.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = blank[..blank.len().min(NAMED)].join(", ");
    printer.warning(&format!(
        "left out {}: {named}{more}; --keep-blank keeps them",
        counted(blank.len(), "blank text")
    ));
}

/// The size of a source, if it is known and that of its texts.
fn size(source: &Source, arguments: &[String]) -> Option<u64> {
    let path = match source {
        Source::Arguments => return Some(arguments.iter().map(|text| text.len() as u64).sum()),
        Source::Stdin => Path::new("/dev/stdin"),
        Source::File(path) if is_packed(path) => return None,
        Source::File(path) => path,
    };
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// The format of a source without an explicit one: by its name, or else by what is done with it.
fn default_format(source: &Source, purpose: Purpose) -> InputFormat {
    let ending = match source {
        Source::File(path) => ending(path),
        _ => String::new(),
    };
    match (ending.as_str(), purpose, source) {
        ("jsonl" | "ndjson", ..) => InputFormat::Jsonl,
        ("json", ..) => InputFormat::Json,
        ("csv", ..) => InputFormat::Csv,
        ("tsv", ..) => InputFormat::Tsv,
        ("parquet", ..) => InputFormat::Parquet,
        (_, Purpose::Chunks, _) => InputFormat::Document,
        (_, Purpose::Texts, Source::File(_)) => InputFormat::Document,
        _ => InputFormat::Lines,
    }
}

type TextIterator = Box<dyn Iterator<Item = anyhow::Result<SourceText>>>;

fn from_arguments(texts: Vec<String>) -> TextIterator {
    Box::new(texts.into_iter().map(|text| {
        let origin = Origin { number: 0, source: Source::Arguments, line: None };
        Ok(SourceText { bytes: text.len(), text, origin, record: None })
    }))
}

/// The texts of a file or of standard input.
fn read(
    source: Source,
    format: InputFormat,
    text_field: Option<&str>,
    printer: &Printer,
) -> anyhow::Result<TextIterator> {
    let open = |source: &Source| open(source, printer);
    let field = text_field.map(str::to_owned);
    let with_text = move |record: anyhow::Result<RecordLine>| record?.text(field.as_deref());
    Ok(match format {
        InputFormat::Lines => Box::new(lines::texts(open(&source)?, source)),
        InputFormat::Document => {
            let from = open(&source)?;
            Box::new(std::iter::once_with(|| lines::whole(from, source)))
        }
        InputFormat::Jsonl => Box::new(records::jsonl(open(&source)?, source).map(with_text)),
        InputFormat::Json => Box::new(records::json(open(&source)?, source)?.map(with_text)),
        InputFormat::Csv => Box::new(records::table(open(&source)?, source, b',')?.map(with_text)),
        InputFormat::Tsv => Box::new(records::table(open(&source)?, source, b'\t')?.map(with_text)),
        InputFormat::Parquet => Box::new(records::parquet(source)?.map(with_text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_format_follows_the_file_name_and_the_purpose() {
        let file = |name: &str| Source::File(Path::new(name).into());
        let cases = [
            (file("a.jsonl"), Purpose::Chunks, InputFormat::Jsonl),
            (file("a.ndjson"), Purpose::Texts, InputFormat::Jsonl),
            (file("a.JSONL.gz"), Purpose::Chunks, InputFormat::Jsonl),
            (file("a.Csv"), Purpose::Parts, InputFormat::Csv),
            (file("a.json"), Purpose::Texts, InputFormat::Json),
            (file("a.txt.zst"), Purpose::Texts, InputFormat::Document),
            (file("a.md"), Purpose::Texts, InputFormat::Document),
            (file("a.txt"), Purpose::Chunks, InputFormat::Document),
            (file("a.txt"), Purpose::Parts, InputFormat::Lines),
            (Source::Stdin, Purpose::Texts, InputFormat::Lines),
            (Source::Stdin, Purpose::Chunks, InputFormat::Document),
            (Source::Stdin, Purpose::Parts, InputFormat::Lines),
        ];
        for (source, purpose, expected) in cases {
            assert_eq!(default_format(&source, purpose), expected, "{source} {purpose:?}");
        }
    }
}
