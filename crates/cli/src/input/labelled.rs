//! Texts with labels, from JSONL and CSV files.

use super::{Document, Origin, Source, lines};
use crate::failure::hinted;
use anyhow::Context;
use kokeshi::MAX_TEXT_BYTES;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The fields of an object, or columns of a table, that hold what is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) text: &'a str,
    pub(crate) label: &'a str,
}

/// A text and its label.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    pub(crate) document: Document,
    pub(crate) label: String,
}

/// All texts of a file: a table if its name ends in `.csv` or `.tsv`, otherwise JSONL. `first` is the
/// number of the first among all texts of the call.
pub(crate) fn labelled(
    path: &Path,
    fields: Fields<'_>,
    first: usize,
) -> anyhow::Result<Vec<Labelled>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut texts = match extension {
        Some("csv") => table(file, path, b',', fields)?,
        Some("tsv") => table(file, path, b'\t', fields)?,
        _ => objects(file, path, fields)?,
    };
    texts.iter_mut().zip(first..).for_each(|(text, number)| text.document.origin.number = number);
    Ok(texts)
}

fn objects(file: File, path: &Path, fields: Fields<'_>) -> anyhow::Result<Vec<Labelled>> {
    let lines = lines::texts(BufReader::new(file), Source::File(path.into()));
    let filled =
        lines.filter(|line| line.as_ref().map_or(true, |line| !line.text.trim().is_empty()));
    filled.map(|line| object(&line?, fields)).collect()
}

fn object(line: &Document, fields: Fields<'_>) -> anyhow::Result<Labelled> {
    let value = lines::json(line)?;
    let field = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        // Labels are often numbers; they are compared as they are written.
        Some(number @ (Value::Number(_) | Value::Bool(_))) => Ok(number.to_string()),
        _ => Err(hinted(
            format!("{} has no field `{name}` with a text", line.origin),
            "a JSONL line is an object such as `{\"text\": \"…\", \"label\": \"…\"}`; --text-field, \
             --label-field and --truth say how the fields are called",
        )),
    };
    let document = Document {
        text: field(fields.text)?,
        origin: line.origin.clone(),
        bytes: line.bytes,
        record: None,
    };
    Ok(Labelled { document, label: field(fields.label)? })
}

fn table(
    file: File,
    path: &Path,
    delimiter: u8,
    fields: Fields<'_>,
) -> anyhow::Result<Vec<Labelled>> {
    let damaged = || format!("{} cannot be read as a table", path.display());
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let header = reader.headers().with_context(damaged)?.clone();
    let column = |name: &str| {
        header.iter().position(|column| column.trim_start_matches('\u{feff}') == name).ok_or_else(
            || {
                let columns: Vec<&str> = header.iter().collect();
                hinted(
                    format!("{} has no column `{name}`", path.display()),
                    format!("its columns are {}", columns.join(", ")),
                )
            },
        )
    };
    let (text, label) = (column(fields.text)?, column(fields.label)?);
    let mut texts = Vec::new();
    for record in reader.records() {
        let record = record.with_context(damaged)?;
        let line = record.position().map(|position| position.line() as usize);
        let origin = Origin { number: 0, source: Source::File(path.into()), line };
        // The reader refuses records that are shorter than the header.
        let cell = |column: usize| record.get(column).unwrap_or_default().to_owned();
        let text = cell(text);
        if text.len() > MAX_TEXT_BYTES {
            let limit = MAX_TEXT_BYTES >> 20;
            return Err(hinted(
                format!("{origin} is larger than {limit} MiB, the limit of one text"),
                "split it into several texts",
            ));
        }
        let document = Document { bytes: text.len(), text, origin, record: None };
        texts.push(Labelled { document, label: cell(label) });
    }
    Ok(texts)
}
