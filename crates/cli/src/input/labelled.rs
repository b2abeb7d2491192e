//! Texts with labels, from JSONL and CSV files.

use super::{Origin, Source, SourceText, lines};
use crate::failure::hinted;
use anyhow::Context;
use kokeshi::MAX_TEXT_BYTES;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The names of the fields of an object, or columns of a table, that contain texts and labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldNames<'a> {
    pub(crate) text: &'a str,
    pub(crate) label: &'a str,
}

/// A text and its label.
#[derive(Clone, Debug)]
pub(crate) struct LabelledText {
    pub(crate) document: SourceText,
    pub(crate) label: String,
}

/// Reads all texts of a file: a table if its name ends in `.csv` or `.tsv`, otherwise JSONL.
/// `first` is the number of its first text among all texts of the command.
pub(crate) fn read_labelled(
    path: &Path,
    fields: FieldNames<'_>,
    first: usize,
) -> anyhow::Result<Vec<LabelledText>> {
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

fn objects(file: File, path: &Path, fields: FieldNames<'_>) -> anyhow::Result<Vec<LabelledText>> {
    let lines = lines::texts(BufReader::new(file), Source::File(path.into()));
    let filled =
        lines.filter(|line| line.as_ref().map_or(true, |line| !line.text.trim().is_empty()));
    filled.map(|line| object(&line?, fields)).collect()
}

fn object(line: &SourceText, fields: FieldNames<'_>) -> anyhow::Result<LabelledText> {
    let value = lines::json(line)?;
    let field = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        // Labels are often numbers; they are compared as they are written.
        Some(number @ (Value::Number(_) | Value::Bool(_))) => Ok(number.to_string()),
        _ => Err(hinted(
            format!("{} has no text in the field `{name}`", line.origin),
            "a JSONL line is an object such as `{\"text\": \"…\", \"label\": \"…\"}`; --text-field, \
             --label-field and --truth name the fields",
        )),
    };
    let document = SourceText {
        text: field(fields.text)?,
        origin: line.origin.clone(),
        bytes: line.bytes,
        record: None,
    };
    Ok(LabelledText { document, label: field(fields.label)? })
}

fn table(
    file: File,
    path: &Path,
    delimiter: u8,
    fields: FieldNames<'_>,
) -> anyhow::Result<Vec<LabelledText>> {
    let invalid = || format!("cannot read {} as a table", path.display());
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let header = reader.headers().with_context(invalid)?.clone();
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
        let record = record.with_context(invalid)?;
        let line = record.position().map(|position| position.line() as usize);
        let origin = Origin { number: 0, source: Source::File(path.into()), line };
        // The reader refuses records that are shorter than the header.
        let cell = |column: usize| record.get(column).unwrap_or_default().to_owned();
        let text = cell(text);
        if text.len() > MAX_TEXT_BYTES {
            let limit = MAX_TEXT_BYTES >> 20;
            return Err(hinted(
                format!("{origin} is over the limit of {limit} MiB for one text"),
                "split it into several texts",
            ));
        }
        let document = SourceText { bytes: text.len(), text, origin, record: None };
        texts.push(LabelledText { document, label: cell(label) });
    }
    Ok(texts)
}
