//! Comma-separated values (RFC 4180): one row per vector, one column per dimension.

use super::{Format, Row, Totals};
use kokeshi::{EmbeddingType, Encoded, encode};
use std::io::{self, Write};

pub(super) struct Csv {
    kind: EmbeddingType,
    started: bool,
}

impl Csv {
    pub(super) fn new(kind: EmbeddingType) -> Self {
        Self { kind, started: false }
    }
}

impl Format for Csv {
    fn row(&mut self, row: &Row<'_>, to: &mut dyn Write) -> io::Result<()> {
        let values = values(row.vector, self.kind);
        let mut writer = csv::Writer::from_writer(to);
        if !std::mem::replace(&mut self.started, true) {
            writer.write_record(header(row, values.len(), self.kind)).map_err(into_io)?;
        }
        let record = origin_columns(row).into_iter().chain(values);
        writer.write_record(record).map_err(into_io)?;
        writer.flush()
    }

    fn finish(&mut self, _: Totals, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn header(row: &Row<'_>, values: usize, kind: EmbeddingType) -> Vec<String> {
    let mut columns: Vec<String> = ["index", "source", "line"].map(str::to_owned).into();
    columns.extend(row.id.map(|_| "id".to_owned()));
    if let Some(chunk) = row.chunk {
        columns.extend(["document", "byte_start", "byte_end"].map(str::to_owned));
        columns.extend(chunk.offsets.columns().map(str::to_owned));
    }
    columns.extend(row.has_text.then(|| "text".to_owned()));
    match kind {
        EmbeddingType::Base64 => columns.push("embedding".to_owned()),
        _ => columns.extend((0..values).map(|i| i.to_string())),
    }
    columns
}

fn origin_columns(row: &Row<'_>) -> Vec<String> {
    let line = row.origin.line.map(|line| line.to_string());
    let origin = [row.index.to_string(), row.origin.source.to_string(), line.unwrap_or_default()];
    let ranges = row.chunk.map(|chunk| {
        let (bytes, range) = (&chunk.chunk.bytes, chunk.range());
        [row.origin.number, bytes.start, bytes.end, range.start, range.end].map(|n| n.to_string())
    });
    let id = row.id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    let text = row.has_text.then(|| row.text.to_owned());
    origin.into_iter().chain(id).chain(ranges.into_iter().flatten()).chain(text).collect()
}

fn values(vector: &[f32], kind: EmbeddingType) -> Vec<String> {
    match encode(vector, kind) {
        Encoded::Float(values) => values.iter().map(ToString::to_string).collect(),
        Encoded::Base64(text) => vec![text],
        Encoded::Binary(bytes) => bytes.iter().map(ToString::to_string).collect(),
        Encoded::Ubinary(bytes) => bytes.iter().map(ToString::to_string).collect(),
    }
}

/// Keeps the kind of an I/O error, which distinguishes a closed pipe from a full disk.
fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
