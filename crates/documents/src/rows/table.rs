//! The rows of a table below its header, read one by one from a stream.

use super::delimited::{Record, Records};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// Maximum size of a row, in bytes: a text has no more.
pub(super) const MAX_ROW: usize = 16 << 20;
/// Bytes that are read at a time.
const READ: usize = 64 << 10;
/// Bytes by which the separator is chosen.
const SAMPLE: usize = 1 << 20;

/// A row of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The row as it was written, without the line break at its end.
    pub raw: String,
    /// Its fields by the names of their columns.
    pub fields: Map<String, Value>,
}

/// Reads a table with a header from a stream of UTF-8, and needs memory only for one row.
///
/// A field in quotes may contain separators, line breaks and doubled quotes. A quote at the start
/// of a field that does not end with one is a letter, and so is any other quote. If its end would
/// be on another line, it is a letter only between tabs: other programs that write tabs do not
/// quote. Two columns never have the same name, and fields beyond the header are named by their
/// numbers.
#[derive(Debug)]
pub struct Table<R> {
    window: Window<R>,
    separator: u8,
    header: String,
    columns: Vec<String>,
    names: Names,
    failed: bool,
}

impl<R: Read> Table<R> {
    /// Reads the header. The separator is `expected` or, if the header lacks it, another usual one.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if the stream fails, [`Error::NoText`] if it is not UTF-8 or the header
    /// cannot be read.
    pub fn new(from: R, expected: u8) -> Result<Self> {
        let mut window = Window::new(from);
        window.fill(SAMPLE)?;
        let is_whole = window.at_end;
        let sample = window.text();
        let sample = match (is_whole, sample.rfind(['\n', '\r'])) {
            (false, Some(last)) => &sample[..last],
            _ => sample,
        };
        let (separator, skipped) = Records::detect(sample, expected);
        window.skip(skipped);
        let mut table = Self {
            window,
            separator,
            header: String::new(),
            columns: Vec::new(),
            names: Names::default(),
            failed: false,
        };
        if let Some((record, raw)) = table.record()? {
            table.header = raw;
            let fields = (1..).zip(record.fields);
            let names = &mut table.names;
            table.columns =
                fields.map(|(number, name)| names.unique(number, name.trim())).collect();
        }
        Ok(table)
    }

    /// The header as it was written.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The names of the columns, no two of which are the same.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next record that is not blank, and how it was written.
    fn record(&mut self) -> Result<Option<(Record, String)>> {
        while let Some((record, raw)) = self.window.record(self.separator)? {
            if record.fields.iter().any(|field| !field.trim().is_empty()) {
                return Ok(Some((record, raw)));
            }
        }
        Ok(None)
    }

    fn row(&mut self) -> Result<Option<TableRow>> {
        let Some((record, raw)) = self.record()? else { return Ok(None) };
        while self.columns.len() < record.fields.len() {
            let name = self.names.unique(self.columns.len() + 1, "");
            self.columns.push(name);
        }
        let fields = self.columns.iter().cloned().zip(record.fields.into_iter().map(Value::from));
        Ok(Some(TableRow { line: record.line, raw, fields: fields.collect() }))
    }
}

impl<R: Read> Iterator for Table<R> {
    type Item = Result<TableRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.row().transpose();
        self.failed = matches!(row, Some(Err(_)));
        row
    }
}

/// The part of a stream that has been read and not used.
#[derive(Debug)]
struct Window<R> {
    from: R,
    text: String,
    /// Bytes of `text` that have been used.
    used: usize,
    /// Bytes at the end of what was read that do not make a whole character.
    rest: Vec<u8>,
    at_end: bool,
    line: usize,
}

impl<R: Read> Window<R> {
    fn new(from: R) -> Self {
        Self { from, text: String::new(), used: 0, rest: Vec::new(), at_end: false, line: 1 }
    }

    fn text(&self) -> &str {
        &self.text[self.used..]
    }

    /// Leaves out `bytes`, and the line break that they end with.
    fn skip(&mut self, bytes: usize) {
        self.used += bytes;
        self.line += usize::from(bytes > 0);
    }

    /// Reads until the window has `bytes`, or the stream ends.
    fn fill(&mut self, bytes: usize) -> Result<()> {
        if !self.at_end && self.text.len() - self.used < bytes {
            self.text.drain(..self.used);
            self.used = 0;
        }
        while !self.at_end && self.text.len() < self.used + bytes {
            self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let before = self.rest.len();
        self.rest.resize(before + READ, 0);
        let read = loop {
            match self.from.read(&mut self.rest[before..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(Error::Input)?,
            }
        };
        self.rest.truncate(before + read);
        self.at_end = read == 0;
        let valid = match str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && !self.at_end => error.valid_up_to(),
            Err(error) => {
                let before = error.valid_up_to();
                let breaks = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
                let here = String::from_utf8_lossy(&self.rest[..before]);
                let line = self.line + breaks(self.text()) + breaks(&here);
                return Err(Error::NoText(format!("line {line} is not UTF-8")));
            }
        };
        let is_first = self.text.is_empty() && self.line == 1 && self.used == 0;
        let text = String::from_utf8_lossy(&self.rest[..valid]);
        self.text += if is_first { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
        self.rest.drain(..valid);
        Ok(())
    }

    /// The next record, which may be blank, and how it was written.
    fn record(&mut self, separator: u8) -> Result<Option<(Record, String)>> {
        let mut size = READ;
        loop {
            self.fill(size)?;
            if self.text().is_empty() {
                return Ok(None);
            }
            let mut records = Records::new(self.text(), separator, self.line);
            let record = records.record();
            let (used, line) = records.position();
            let is_full = self.text().len() >= MAX_ROW;
            // A record that reaches to the end of the window may continue after it.
            let is_within = records.is_within(used) || is_full && used < self.text().len();
            if self.at_end || (record.is_ok() && is_within) {
                let raw = self.text()[..used].trim_end_matches(['\r', '\n']).to_owned();
                let record = record?;
                (self.used, self.line) = (self.used + used, line);
                return Ok(Some((record, raw)));
            }
            if is_full {
                record?;
                let (line, limit) = (self.line, MAX_ROW >> 20);
                let reason = format!("the row in line {line} is over the limit of {limit} MiB");
                return Err(Error::NoText(reason));
            }
            size = (2 * self.text().len()).clamp(READ, MAX_ROW);
        }
    }
}

/// Names of columns, no two of which are the same.
#[derive(Debug, Default)]
struct Names {
    taken: HashSet<String>,
    /// How often a name was wanted.
    wanted: HashMap<String, usize>,
}

impl Names {
    /// The name of a column: `name`, or `name 2` and so on if it is taken, or by its number.
    fn unique(&mut self, number: usize, name: &str) -> String {
        let name = if name.is_empty() { format!("column {number}") } else { name.to_owned() };
        loop {
            let count = self.wanted.entry(name.clone()).or_default();
            *count += 1;
            let unique = if *count == 1 { name.clone() } else { format!("{name} {count}") };
            if self.taken.insert(unique.clone()) {
                return unique;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::delimited::MAX_FIELDS as MAX_COLUMNS;

    /// Gives a few bytes at a time, so that every record is cut somewhere.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn rows(text: &str, separator: u8) -> Vec<TableRow> {
        Table::new(text.as_bytes(), separator)
            .expect("a table")
            .map(|row| row.expect("a row"))
            .collect()
    }

    #[test]
    fn rows_are_the_same_however_the_stream_is_cut() {
        let cell = "x".repeat(READ / 3);
        let mut text = "\u{feff}id,\"te\"\"xt\",ä\r\n".to_owned();
        for number in 0..12 {
            text += &format!("{number},\"{cell}\r\n\"\"{number}\"\"\",ü\r\n\r\n");
        }
        let whole = rows(&text, b',');
        assert_eq!(whole.len(), 12);
        assert_eq!(whole[1].line, 5);
        assert_eq!(whole[1].fields["te\"xt"], format!("{cell}\r\n\"1\""));
        for size in [61, 4096, READ - 1] {
            let table = Table::new(Drops(text.as_bytes(), size), b',').expect("a table");
            assert_eq!(table.header(), "id,\"te\"\"xt\",ä");
            let read: Vec<TableRow> = table.map(|row| row.expect("a row")).collect();
            assert!(read == whole, "{size}");
        }
    }

    #[test]
    fn a_row_is_kept_as_it_was_written() {
        let rows = rows("a;b\n1;\"x\ny\"\n\n2;3;4\n", b',');
        assert_eq!(rows[0].raw, "1;\"x\ny\"");
        assert_eq!((rows[1].raw.as_str(), rows[1].line), ("2;3;4", 5));
        assert_eq!(rows[1].fields["column 3"], "4");
    }

    #[test]
    fn what_is_over_a_limit_is_named_by_its_line() {
        let quote = format!("a,b\n1,\"{}", "x\n".repeat(MAX_ROW));
        let long = format!("a,b\n1,2\n3,{}\n", "x".repeat(MAX_ROW));
        let wide = format!("a,b\n{}\n", ",x".repeat(MAX_COLUMNS));
        for (text, wanted) in [
            (quote, "the quote that opens a field in line 2 has no end"),
            (long, "the row in line 3 is over the limit of 16 MiB"),
            (wide, "line 2 has more than 16384 fields"),
        ] {
            let mut table = Table::new(text.as_bytes(), b',').expect("a table");
            let error = table.find_map(Result::err).expect("an error").to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(table.next().is_none());
        }
        let error = Table::new(&b"a,b\n1,\xff\n"[..], b',').expect_err("not UTF-8").to_string();
        assert_eq!(error, "line 2 is not UTF-8");
    }

    #[test]
    fn thousands_of_equal_names_take_no_time() {
        let header = "name,".repeat(MAX_COLUMNS - 1);
        let text = format!("{header}\n{}\n", "1,".repeat(MAX_COLUMNS - 1));
        let rows = rows(&text, b',');
        assert_eq!(rows[0].fields.len(), MAX_COLUMNS);
        assert_eq!(rows[0].fields[&format!("name {}", MAX_COLUMNS - 1)], "1");
    }
}
