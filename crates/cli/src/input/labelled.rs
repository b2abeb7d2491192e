//! Texts with labels, from JSONL, JSON, CSV, TSV and Parquet files.

use super::records::scalar;
use super::{Purpose, Source, SourceText, default_format, read};
use crate::args::InputFormat;
use crate::failure::hinted;
use crate::printer::Printer;

/// The names of the fields that contain texts and labels. Without a name, a text is in the first
/// usual field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldNames<'a> {
    pub(crate) text: Option<&'a str>,
    pub(crate) label: &'a str,
}

/// A text and its label.
#[derive(Clone, Debug)]
pub(crate) struct LabelledText {
    pub(crate) document: SourceText,
    pub(crate) label: String,
}

/// Reads all texts of a source in its own format, or JSONL if its name does not tell. `first` is
/// the number of its first text among all texts of the command.
pub(crate) fn read_labelled(
    source: &Source,
    fields: FieldNames<'_>,
    first: usize,
    printer: &Printer,
) -> anyhow::Result<Vec<LabelledText>> {
    let format = match default_format(source, Purpose::Texts) {
        InputFormat::Document | InputFormat::Lines => InputFormat::Jsonl,
        format => format,
    };
    let texts = read(source.clone(), format, fields.text, printer)?;
    texts.zip(first..).map(|(text, number)| labelled(text?, number, fields.label)).collect()
}

fn labelled(mut document: SourceText, number: usize, name: &str) -> anyhow::Result<LabelledText> {
    document.origin.number = number;
    let fields = document.record.as_ref().map(|record| &record.fields);
    let label = fields.and_then(|fields| fields.get(name)).and_then(scalar);
    let label = label.ok_or_else(|| {
        let names = fields.into_iter().flat_map(serde_json::Map::keys);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        hinted(
            format!("{} has no label in the field `{name}`", document.origin),
            format!(
                "besides its text it has {}; --text-field, --label-field and --truth name the \
                 fields",
                if names.is_empty() { "no field".to_owned() } else { names.join(", ") }
            ),
        )
    })?;
    if label.trim() != label || label.is_empty() {
        let fault =
            if label.trim().is_empty() { "is empty" } else { "begins or ends with a space" };
        return Err(hinted(
            format!("the label {label:?} of {} {fault}", document.origin),
            "correct it: a label that only looks like another one would be a class of its own",
        ));
    }
    Ok(LabelledText { document, label })
}
