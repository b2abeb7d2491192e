//! Records of a table: fields between separators, lines, and quotes.

use crate::error::{Error, Result};

/// Separators of tables, the likeliest first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Maximum number of fields of a record: spreadsheets have no more.
pub(super) const MAX_FIELDS: usize = 16_384;
/// Number of records by which a separator is chosen.
const SAMPLE: usize = 20;

/// A record and the line of the file on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// From 1.
    pub(super) line: usize,
    pub(super) fields: Vec<String>,
}

/// The records of a text; see [`Table`](super::Table) for what a quote means.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    text: &'a str,
    separator: u8,
    at: usize,
    line: usize,
    /// Whether a quote was looked for up to the end of the text.
    has_searched_all: bool,
}

/// What begins with a quote.
enum Quoted {
    /// A field with its text and the byte after it.
    Field(String, usize),
    /// The quote is a letter.
    Letter,
    /// It is not known where the field ends.
    Unclosed,
}

impl<'a> Records<'a> {
    /// The records of `text`, which begins with `line`.
    pub(super) fn new(text: &'a str, separator: u8, line: usize) -> Self {
        Self { text, separator, at: 0, line, has_searched_all: false }
    }

    /// The separator of the table that begins with `text`: `expected` or, if the first line lacks
    /// it, the one that divides the first records most evenly. A first line `sep=;` names it, and
    /// has as many bytes as are returned with it.
    pub(super) fn detect(text: &'a str, expected: u8) -> (u8, usize) {
        let first = text.lines().next().unwrap_or_default();
        if let Some(&[separator]) = first.trim().strip_prefix("sep=").map(str::as_bytes) {
            let mut records = Self::new(text, separator, 1);
            records.next_line(first.len());
            return (separator, records.at);
        }
        let candidates = [expected].into_iter().chain(SEPARATORS);
        let best =
            candidates.rev().max_by_key(|&separator| Self::new(text, separator, 1).evenness());
        (best.unwrap_or(expected), 0)
    }

    /// The byte after the last record, and the line that begins there.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.at, self.line)
    }

    /// Whether the records up to byte `end` would be the same in a longer text.
    pub(super) fn is_within(&self, end: usize) -> bool {
        // A line break of two characters may be cut in half.
        !self.has_searched_all && end < self.text.len()
    }

    /// The share of the first records, in thousandths, that have as many fields as the header, and
    /// that number; zero if the header has one field.
    fn evenness(self) -> (usize, usize) {
        let sample: Vec<Record> = self.take(SAMPLE).map_while(Result::ok).collect();
        let columns = sample.first().map_or(0, |header| header.fields.len());
        if columns < 2 {
            return (0, 0);
        }
        let even = sample.iter().filter(|record| record.fields.len() == columns).count();
        (1000 * even / sample.len(), columns)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Whether a field ends at byte `at`.
    fn is_end(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|byte| byte == self.separator || matches!(byte, b'\r' | b'\n'))
    }

    /// Continues after the line break at byte `at`.
    fn next_line(&mut self, at: usize) {
        let breaks = match &self.text.as_bytes()[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        self.at = at + breaks;
        self.line += usize::from(breaks > 0);
    }

    fn quoted(&mut self) -> Quoted {
        let start = self.at + 1;
        let (mut field, mut from) = (String::new(), start);
        let between_tabs = self.separator == b'\t';
        while let Some(quote) = self.text[from..].find('"').map(|at| from + at) {
            field += &self.text[from..quote];
            let spans_lines = field.contains(['\r', '\n']);
            if between_tabs && spans_lines && field.contains('\t') {
                return Quoted::Letter;
            }
            match self.byte(quote + 1) {
                Some(b'"') => field.push('"'),
                _ if self.is_end(quote + 1) => return Quoted::Field(field, quote + 1),
                _ if spans_lines && !between_tabs => return Quoted::Unclosed,
                _ => return Quoted::Letter,
            }
            from = quote + 2;
        }
        self.has_searched_all = true;
        if between_tabs { Quoted::Letter } else { Quoted::Unclosed }
    }

    /// The field at the current byte, of which it becomes the end.
    fn field(&mut self) -> Result<String> {
        if self.byte(self.at) == Some(b'"') {
            match self.quoted() {
                Quoted::Field(field, end) => {
                    self.line += line_breaks(&field);
                    self.at = end;
                    return Ok(field);
                }
                Quoted::Letter => {}
                Quoted::Unclosed => {
                    let line = self.line;
                    let reason = format!("the quote that opens a field in line {line} has no end");
                    return Err(Error::NoText(reason));
                }
            }
        }
        let start = self.at;
        while !self.is_end(self.at) {
            self.at += 1;
        }
        Ok(self.text[start..self.at].to_owned())
    }

    pub(super) fn record(&mut self) -> Result<Record> {
        let mut record = Record { line: self.line, fields: Vec::new() };
        loop {
            if record.fields.len() == MAX_FIELDS {
                let reason = format!("line {} has more than {MAX_FIELDS} fields", record.line);
                return Err(Error::NoText(reason));
            }
            record.fields.push(self.field()?);
            if self.byte(self.at) != Some(self.separator) {
                self.next_line(self.at);
                return Ok(record);
            }
            self.at += 1;
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            let record = self.record();
            if record.is_err() {
                self.at = self.text.len();
            }
            match &record {
                Ok(Record { fields, .. }) if fields.iter().all(|field| field.trim().is_empty()) => {
                }
                _ => return Some(record),
            }
        }
        None
    }
}

fn line_breaks(text: &str) -> usize {
    let pairs = text.matches("\r\n").count();
    text.bytes().filter(|byte| matches!(byte, b'\r' | b'\n')).count() - pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str, separator: u8) -> Vec<(usize, Vec<String>)> {
        let records = Records::new(text, separator, 1).map(|record| record.expect("a record"));
        records.map(|Record { line, fields }| (line, fields)).collect()
    }

    fn row(line: usize, fields: &[&str]) -> (usize, Vec<String>) {
        (line, fields.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn between_tabs_a_quote_is_a_letter_unless_the_field_ends_with_one() {
        let text = "id\ttext\n1\tfine\n2\t\"Hello there\n3\tThe parcel is late\n\
                    4\tRain \"in Spain\n5\t\"a \"\"b\"\"\"\n6\t\"two\nlines\"\n7\t\"x\" y\n8\t5\"\n";
        let wanted = [
            row(1, &["id", "text"]),
            row(2, &["1", "fine"]),
            row(3, &["2", "\"Hello there"]),
            row(4, &["3", "The parcel is late"]),
            row(5, &["4", "Rain \"in Spain"]),
            row(6, &["5", "a \"b\""]),
            row(7, &["6", "two\nlines"]),
            row(9, &["7", "\"x\" y"]),
            row(10, &["8", "5\""]),
        ];
        assert_eq!(all(text, b'\t'), wanted);
    }

    #[test]
    fn an_unclosed_quote_between_commas_is_an_error_with_the_line_where_it_opened() {
        for text in ["a,b\n\n1,\"open\n2,x\n", "a,b\r\n\r\n1,\"open\r\n2,x \"y\" z\r\n"] {
            let error = Records::new(text, b',', 1).find_map(Result::err).expect("an error");
            let wanted = "the quote that opens a field in line 3 has no end";
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn lines_are_those_of_the_file_with_any_line_break() {
        for (text, lines) in [
            ("id,text\r\n1,one\r\n2,two\r\n3,three\r\n", [1, 2, 3, 4]),
            ("id,text\n1,one\n2,two\n3,three", [1, 2, 3, 4]),
            ("id,text\r1,one\r2,two\r3,three\r", [1, 2, 3, 4]),
            ("id,text\r\n\r\n1,one\r\n \r\n2,two\r\n\r\n\r\n3,three\r\n", [1, 3, 5, 8]),
            ("id,text\r\n1,\"on\r\ne\"\r\n2,two\r\n3,three\r\n", [1, 2, 4, 5]),
            ("id,text\n1,\"on\n\ne\"\n2,two\n3,three\n", [1, 2, 5, 6]),
        ] {
            let found: Vec<usize> = all(text, b',').into_iter().map(|(line, _)| line).collect();
            assert_eq!(found, lines, "{text:?}");
        }
    }

    #[test]
    fn the_separator_is_found() {
        for (text, expected, separator) in [
            ("a,b\n1,2\n", b',', b','),
            ("a;b;c\n1,5;2;3\n", b',', b';'),
            ("a\tb\n1\t2\n", b',', b'\t'),
            ("a|b\n1|2\n", b',', b'|'),
            ("a,b\n1,2\n", b'\t', b','),
            ("a\tb\nx, y\tz\n", b'\t', b'\t'),
            ("id;text, long\n1;one\n2;a, b, c\n", b',', b';'),
            ("alone\nx; y\n", b',', b','),
            ("id,text\n1,\"a;b\"\n", b',', b','),
        ] {
            assert_eq!(Records::detect(text, expected).0, separator, "{text:?}");
        }
        assert_eq!(Records::detect("sep=|\r\na|b\r\n", b','), (b'|', "sep=|\r\n".len()));
    }

    /// Fields of letters and of what separates fields and records.
    fn fields() -> impl Strategy<Value = String> {
        let chars = prop::sample::select(vec!['a', 'ä', '"', ',', ' ', '\n']);
        prop::collection::vec(chars, 1..8).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn between_tabs_nothing_is_lost(
            parts in prop::collection::vec(
                prop::sample::select(vec!["a", "b c", "\"", "\"\"", "\t", "\n", "\r\n", "ä", ","]),
                0..60,
            )
        ) {
            let text = parts.concat();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let read: String = Records::new(&text, b'\t', 1)
                .flat_map(|record| record.expect("a record").fields)
                .collect();
            prop_assert_eq!(letters(&read), letters(&text));
        }

        #[test]
        fn every_record_has_the_line_on_which_it_begins(
            fields in prop::collection::vec(fields(), 1..20)
        ) {
            let mut text = String::new();
            let mut lines = Vec::new();
            for field in &fields {
                lines.push(1 + text.matches('\n').count());
                text += &format!("x,\"{}\"\n", field.replace('"', "\"\""));
            }
            let records: Vec<Record> =
                Records::new(&text, b',', 1).map(|record| record.expect("a record")).collect();
            let found: Vec<usize> = records.iter().map(|record| record.line).collect();
            prop_assert_eq!(found, lines);
            let read: Vec<&String> = records.iter().map(|record| &record.fields[1]).collect();
            prop_assert_eq!(read, fields.iter().collect::<Vec<_>>());
        }
    }
}
