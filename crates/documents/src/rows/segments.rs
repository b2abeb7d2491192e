//! Rows in segments of bounded size, so that a file of any size needs little memory.

use super::table::{MAX_ROW, Table};
use super::{Rows, json_row};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::text::DocumentText;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read};

/// Maximum number of rows of a segment.
const MAX_ROWS: usize = 512;
/// Bytes of memory after which a segment ends.
const MAX_COST: usize = 1 << 20;
/// Bytes of memory of a row, and of each of its fields, besides their texts.
const ROW_COST: usize = 512;
const FIELD_COST: usize = 128;

/// The rows of a table or of JSON lines in a stream of UTF-8, a few at a time. Offsets are those
/// within a segment.
#[derive(Debug)]
pub struct Segments<R: Read> {
    rows: SegmentRows<R>,
    failed: bool,
}

#[derive(Debug)]
enum SegmentRows<R: Read> {
    Jsonl(JsonLines<BufReader<R>>),
    Table(Table<R>),
}

impl<R: Read> Segments<R> {
    /// The rows of `from`; `None` if files of this format have no rows.
    ///
    /// # Errors
    ///
    /// As [`Table::new`].
    pub fn new(format: Format, from: R) -> Result<Option<Self>> {
        Ok(match format {
            Format::Jsonl => Some(Self::jsonl(from)),
            Format::Table(separator) => Some(Self::table(from, separator)?),
            _ => None,
        })
    }

    pub(super) fn jsonl(from: R) -> Self {
        let lines = JsonLines { from: BufReader::new(from), line: 0 };
        Self { rows: SegmentRows::Jsonl(lines), failed: false }
    }

    pub(super) fn table(from: R, separator: u8) -> Result<Self> {
        Ok(Self { rows: SegmentRows::Table(Table::new(from, separator)?), failed: false })
    }

    /// The line and the fields of the next row.
    fn row(&mut self) -> Option<Result<(usize, Map<String, Value>)>> {
        match &mut self.rows {
            SegmentRows::Jsonl(lines) => lines.next().transpose(),
            SegmentRows::Table(table) => {
                table.next().map(|row| row.map(|row| (row.line, row.fields)))
            }
        }
    }
}

impl<R: Read> Iterator for Segments<R> {
    type Item = Result<DocumentText>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut rows, mut cost) = (Rows::default(), 0);
        while !self.failed && cost < MAX_COST && rows.parts.len() < MAX_ROWS {
            match self.row() {
                None => break,
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                Some(Ok((line, fields))) => {
                    let before = rows.text.len();
                    rows.push(line, &fields);
                    cost += rows.text.len() - before + ROW_COST + fields.len() * FIELD_COST;
                }
            }
        }
        (!rows.parts.is_empty()).then(|| Ok(rows.into_text()))
    }
}

/// The lines of JSON in a stream.
#[derive(Debug)]
struct JsonLines<R> {
    from: R,
    line: usize,
}

impl<R: BufRead> JsonLines<R> {
    /// The number and the fields of the next line that is not blank.
    fn next(&mut self) -> Result<Option<(usize, Map<String, Value>)>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut limited = self.from.by_ref().take(MAX_ROW as u64 + 1);
            if limited.read_until(b'\n', &mut bytes).map_err(Error::Input)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if bytes.len() > MAX_ROW {
                let (line, limit) = (self.line, MAX_ROW >> 20);
                let reason = format!("the row in line {line} is over the limit of {limit} MiB");
                return Err(Error::NoText(reason));
            }
            let text = str::from_utf8(&bytes)
                .map_err(|_| Error::NoText(format!("line {} is not UTF-8", self.line)))?;
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if !text.trim().is_empty() {
                return json_row(self.line, text).map(|fields| Some((self.line, fields)));
            }
        }
    }
}
