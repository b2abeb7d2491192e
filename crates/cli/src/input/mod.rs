//! Texts from the command line, standard input and files, read on demand.

mod labelled;
mod lines;

pub(crate) use labelled::{FieldNames, read_labelled};

use crate::args::{InputArguments, InputFormat};
use crate::failure::hinted;
use crate::printer::Printer;
use anyhow::Context;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A text and its origin.
#[derive(Clone, Debug)]
pub(crate) struct SourceText {
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// Size in its source, in bytes.
    pub(crate) bytes: usize,
    /// The JSON value that contains it, if any, as it is written.
    pub(crate) record: Option<String>,
}

impl SourceText {
    /// What ended its line in its source: nothing, if it was the last one. A text that is not a
    /// line has `\n`.
    pub(crate) fn line_break(&self) -> &'static str {
        let line = self.record.as_ref().unwrap_or(&self.text);
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
        if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
            // Without this note, the program would seem to hang.
            printer.note("reading texts from the terminal, one per line; end with Ctrl-D");
        }
        let sizes = sources.iter().map(|source| size(source, &arguments.texts));
        let bytes = sizes.sum();
        let (explicit, mut texts) = (arguments.input_format, arguments.texts.clone());
        let documents = sources.into_iter().flat_map(move |source| {
            let format = explicit.unwrap_or_else(|| default_format(&source, purpose));
            documents(source, format, &mut texts)
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
    if !arguments.texts.is_empty() {
        sources.push(Source::Arguments);
    }
    for pattern in &arguments.input {
        sources.extend(matching(pattern)?);
    }
    if sources.is_empty() {
        sources.push(Source::Stdin);
    }
    Ok(sources)
}

/// The files that match `patterns` of `--input`.
pub(crate) fn files(patterns: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for source in patterns.iter().map(|pattern| matching(pattern)) {
        for source in source? {
            match source {
                Source::File(path) => files.push(path.to_path_buf()),
                _ => {
                    return Err(hinted(
                        "labels can be read from files only",
                        "name a file with --input",
                    ));
                }
            }
        }
    }
    Ok(files)
}

/// The sources of one `--input`: a file of that name, or else the files that match the glob.
fn matching(pattern: &str) -> anyhow::Result<Vec<Source>> {
    if pattern == "-" {
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

fn size(source: &Source, arguments: &[String]) -> Option<u64> {
    let path = match source {
        Source::Arguments => return Some(arguments.iter().map(|text| text.len() as u64).sum()),
        Source::Stdin => Path::new("/dev/stdin"),
        Source::File(path) => path,
    };
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

fn default_format(source: &Source, purpose: Purpose) -> InputFormat {
    let extension = match source {
        Source::File(path) => path.extension().and_then(|extension| extension.to_str()),
        _ => None,
    };
    match (extension, purpose, source) {
        (Some("jsonl" | "ndjson"), ..) => InputFormat::Jsonl,
        (_, Purpose::Chunks, _) => InputFormat::Document,
        (_, Purpose::Texts, Source::File(_)) => InputFormat::Document,
        _ => InputFormat::Lines,
    }
}

type TextIterator = Box<dyn Iterator<Item = anyhow::Result<SourceText>>>;

/// The texts of `source`, moved out of `arguments` if that is the source.
fn documents(source: Source, format: InputFormat, arguments: &mut Vec<String>) -> TextIterator {
    match source {
        Source::Arguments => Box::new(take(arguments).into_iter().map(|text| {
            let origin = Origin { number: 0, source: Source::Arguments, line: None };
            Ok(SourceText { bytes: text.len(), text, origin, record: None })
        })),
        Source::Stdin => read(io::stdin(), source, format),
        Source::File(ref path) => match File::open(path) {
            Ok(file) => read(file, source, format),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("cannot read {source}"));
                Box::new(std::iter::once(Err(error)))
            }
        },
    }
}

fn read(from: impl Read + 'static, source: Source, format: InputFormat) -> TextIterator {
    let from = BufReader::new(from);
    match format {
        InputFormat::Lines => Box::new(lines::texts(from, source)),
        InputFormat::Jsonl => Box::new(lines::jsonl(from, source)),
        InputFormat::Document => Box::new(std::iter::once_with(|| lines::whole(from, source))),
    }
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
