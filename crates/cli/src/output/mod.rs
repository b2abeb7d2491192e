//! Output of vectors: one module per format, all behind [`Format`].

mod csv;
mod destination;
mod json;
mod jsonl;
mod npy;
mod table;
mod wire;

use crate::args::{EmbedArguments, OffsetUnit, OutputFormat};
use crate::failure::usage;
use crate::input::Origin;
use crate::printer::Printer;
pub(crate) use destination::{Destination, is_stdout};
use kokeshi::{Chunk, EmbeddingType};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::ops::Range;

/// A vector and its text.
pub(crate) struct Row<'a> {
    /// Number among all vectors of the command, from 0.
    pub(crate) index: usize,
    /// The text: the chunk or part, if the document was cut.
    pub(crate) text: &'a str,
    pub(crate) origin: &'a Origin,
    /// The ranges of the text in its document, if it is a chunk.
    pub(crate) chunk: Option<RowChunk<'a>>,
    /// Whether the text is written with its vector.
    pub(crate) has_text: bool,
    /// The id of the record that contains the text.
    pub(crate) id: Option<&'a Value>,
    /// The other fields of that record.
    pub(crate) metadata: Vec<(&'a String, &'a Value)>,
    pub(crate) vector: &'a [f32],
}

/// The ranges of a chunk in its document.
#[derive(Clone, Copy)]
pub(crate) struct RowChunk<'a> {
    chunk: &'a Chunk,
    offsets: OffsetUnit,
}

impl<'a> RowChunk<'a> {
    pub(crate) fn new(chunk: &'a Chunk, offsets: OffsetUnit) -> Self {
        Self { chunk, offsets }
    }

    /// The range in the unit of the offsets.
    fn range(self) -> &'a Range<usize> {
        match self.offsets {
            OffsetUnit::Chars => &self.chunk.chars,
            OffsetUnit::Utf16 => &self.chunk.utf16,
        }
    }
}

/// Totals of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) vectors: usize,
    /// Tokens that the model processed, special tokens and instructions included.
    pub(crate) tokens: usize,
}

/// A format: writes rows as bytes.
trait Format {
    fn row(&mut self, row: &Row<'_>, to: &mut dyn Write) -> io::Result<()>;
    fn finish(&mut self, totals: Totals, to: &mut dyn Write) -> io::Result<()>;
}

/// An open output in a given format.
pub(crate) struct Output<'a> {
    format: Box<dyn Format + 'a>,
    destination: Destination,
}

impl<'a> Output<'a> {
    /// Checks that the options are compatible and opens the output.
    pub(crate) fn open(
        arguments: &'a EmbedArguments,
        printer: &'a Printer,
    ) -> anyhow::Result<Self> {
        let kinds = &arguments.embedding_type;
        let format = match arguments.format {
            Some(format) => format,
            None => default_format(arguments, printer)?,
        };
        let format: Box<dyn Format + 'a> = match format {
            OutputFormat::Json => Box::new(json::Json::new(&arguments.model.model, kinds)),
            OutputFormat::Jsonl => Box::new(jsonl::Jsonl::new(kinds)),
            OutputFormat::Npy => Box::new(npy::Npy::new(array_type(kinds, "npy")?)),
            OutputFormat::Csv => Box::new(csv::Csv::new(only_type(kinds, "csv")?)),
            OutputFormat::Table => Box::new(table::Table::new(printer)),
        };
        let destination = match &arguments.output {
            Some(path) => Destination::open(path, printer)?,
            None => Destination::stdout(printer),
        };
        Ok(Self { format, destination })
    }

    /// Writes one vector.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let written = self.format.row(row, self.destination.writer());
        written.map_err(|error| self.destination.failure(error))
    }

    /// Flushes, so that readers see the rows so far.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.destination.writer().flush();
        flushed.map_err(|error| self.destination.failure(error))
    }

    /// Completes the output. Without it, an output file does not appear.
    pub(crate) fn finish(mut self, totals: Totals) -> anyhow::Result<()> {
        let finished = self.format.finish(totals, self.destination.writer());
        finished.map_err(|error| self.destination.failure(error))?;
        self.destination.commit()
    }
}

/// The format of the output file by its ending, or the one that suits the reader.
fn default_format(arguments: &EmbedArguments, printer: &Printer) -> anyhow::Result<OutputFormat> {
    let path = arguments.output.as_deref().filter(|path| !is_stdout(path));
    let Some(path) = path else {
        return Ok(if printer.terminal { OutputFormat::Table } else { OutputFormat::Jsonl });
    };
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("json") => Ok(OutputFormat::Json),
        Some("npy") => Ok(OutputFormat::Npy),
        Some("csv") => Ok(OutputFormat::Csv),
        Some("jsonl" | "ndjson") | None => Ok(OutputFormat::Jsonl),
        Some("parquet") => Err(usage(
            "Parquet files are written to a folder: name one that ends in `/` as --output",
        )),
        Some(other) => Err(usage(&format!(
            "`.{other}` is not the ending of an output format: expected `.jsonl`, `.ndjson`, \
             `.json`, `.csv` or `.npy`; --format chooses one for a file of any other name"
        ))),
    }
}

fn only_type(kinds: &[EmbeddingType], format: &str) -> anyhow::Result<EmbeddingType> {
    match kinds {
        [kind] => Ok(*kind),
        _ => Err(usage(&format!("`--format {format}` supports one --embedding-type, not several"))),
    }
}

fn array_type(kinds: &[EmbeddingType], format: &str) -> anyhow::Result<EmbeddingType> {
    match only_type(kinds, format)? {
        EmbeddingType::Base64 => Err(usage(
            "`--embedding-type base64` needs `--format json`, `jsonl` or `csv`, not `npy`",
        )),
        kind => Ok(kind),
    }
}
