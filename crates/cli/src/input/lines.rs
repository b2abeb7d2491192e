//! Bytes to texts: lines and whole files. Every error names its line.

use super::{Origin, Source, SourceText};
use crate::failure::hinted;
use anyhow::Context;
use kokeshi::MAX_TEXT_BYTES;
use serde_json::Value;
use std::io::{BufRead, Read};

/// One line of a source, without the line break.
struct Line {
    bytes: Vec<u8>,
    /// Size in bytes, with the line break.
    size: usize,
    /// Offset of its first byte in the source.
    offset: usize,
    number: usize,
}

/// The lines of `from`, each as a text.
pub(super) fn texts(
    from: impl BufRead,
    source: Source,
) -> impl Iterator<Item = anyhow::Result<SourceText>> {
    lines(from, source.clone()).map(move |line| {
        let line = line?;
        let origin = Origin { number: 0, source: source.clone(), line: Some(line.number) };
        let text = utf8(line.bytes, line.offset, &origin)?;
        Ok(SourceText { text, origin, bytes: line.size, record: None })
    })
}

/// The whole of `from` as one text.
pub(super) fn whole(from: impl Read, source: Source) -> anyhow::Result<SourceText> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {source}"))?;
    let origin = Origin { number: 0, source, line: None };
    check_size(&bytes, &origin)?;
    let size = bytes.len();
    Ok(SourceText { text: utf8(bytes, 0, &origin)?, origin, bytes: size, record: None })
}

/// Parses a line of JSON.
pub(super) fn json(line: &SourceText) -> anyhow::Result<Value> {
    serde_json::from_str(&line.text).map_err(|error| {
        // The parser counts lines within this line: only its column means anything here.
        let (origin, column, reason) = (&line.origin, error.column(), error.to_string());
        let reason = reason.split(" at line ").next().unwrap_or_default();
        anyhow::anyhow!("{origin} is not valid JSON: {reason} at column {column}")
    })
}

/// Splits at `\n` or `\r\n` and stops at the first error.
fn lines(mut from: impl BufRead, source: Source) -> impl Iterator<Item = anyhow::Result<Line>> {
    let (mut number, mut offset, mut failed) = (0, 0, false);
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        number += 1;
        let line = next_line(&mut from, &source, number, offset).transpose()?;
        match &line {
            Ok(line) => offset += line.size,
            Err(_) => failed = true,
        }
        Some(line)
    })
}

fn next_line(
    from: &mut impl BufRead,
    source: &Source,
    number: usize,
    offset: usize,
) -> anyhow::Result<Option<Line>> {
    let mut bytes = Vec::new();
    // Two bytes over the limit of a text: the line break.
    let read = from.by_ref().take(MAX_TEXT_BYTES as u64 + 2).read_until(b'\n', &mut bytes);
    let size = read.with_context(|| format!("cannot read {source}"))?;
    if size == 0 {
        return Ok(None);
    }
    if bytes.ends_with(b"\n") {
        bytes.truncate(bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 });
    }
    check_size(&bytes, &Origin { number: 0, source: source.clone(), line: Some(number) })?;
    if number == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(.."\u{feff}".len());
    }
    Ok(Some(Line { bytes, size, offset, number }))
}

/// # Errors
///
/// If `bytes` are more than a text may have.
pub(super) fn check_size(bytes: &[u8], origin: &Origin) -> anyhow::Result<()> {
    if bytes.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let limit = MAX_TEXT_BYTES >> 20;
    let message = format!("{origin} is over the limit of {limit} MiB for one text");
    Err(hinted(message, "split it into several texts"))
}

/// Decodes `bytes`, which start at `offset` of the source; an error names the first invalid byte.
fn utf8(bytes: Vec<u8>, offset: usize, origin: &Origin) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        let line = match origin.line {
            Some(_) => origin.to_string(),
            None => format!("line {line} of {}", origin.source),
        };
        let message = format!(
            "{line} is not UTF-8: byte 0x{:02x} at offset {} of the input",
            bytes[at],
            offset + at
        );
        hinted(
            message,
            "convert text of another encoding, for example with `iconv -f LATIN1 -t UTF-8`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<String> {
        texts(bytes, Source::Stdin).map(|text| text.expect("a text").text).collect()
    }

    fn failure(bytes: &[u8]) -> String {
        let error = texts(bytes, Source::Stdin).find_map(Result::err);
        error.expect("an error").to_string()
    }

    #[test]
    fn a_line_is_a_text_whatever_ends_it() {
        assert_eq!(read(b"a\r\n\nb\0c\n\rd"), ["a", "", "b\0c", "\rd"]);
        assert_eq!(read(b""), [""; 0]);
        assert_eq!(read("\u{feff}a\n\u{feff}b".as_bytes()), ["a", "\u{feff}b"]);
    }

    #[test]
    fn a_line_of_the_limit_is_read_and_one_byte_more_is_an_error() {
        let mut bytes = vec![b'x'; MAX_TEXT_BYTES];
        bytes.extend(b"\r\nnext");
        assert_eq!(read(&bytes).len(), 2);
        bytes.insert(0, b'x');
        assert!(
            failure(&bytes).starts_with("line 1 of standard input is over the limit of 16 MiB")
        );
    }

    #[test]
    fn broken_utf8_is_located_in_lines_and_documents() {
        let expected = "line 2 of standard input is not UTF-8: byte 0xff at offset 5 of the input";
        assert_eq!(failure(b"abc\nd\xffe"), expected);
        let error = whole(&b"abc\nd\xffe"[..], Source::Stdin).expect_err("broken UTF-8");
        assert_eq!(error.to_string(), expected);
    }
}
