//! Sources in UTF-16 as UTF-8, converted while they are read.

use crate::encoding::unmarked_utf16;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use std::io::{self, BufRead, Read};

/// Bytes of UTF-8 that are converted at a time.
const CONVERTED: usize = 8 << 10;

/// A source of bytes, and how they were converted.
pub struct Utf8Source {
    /// In UTF-8 if the source was in UTF-16; otherwise as it was.
    pub bytes: Box<dyn BufRead>,
    /// UTF-16 of one byte order, if it was guessed.
    pub guessed: Option<&'static str>,
}

/// Converts a source in UTF-16 to UTF-8, without its byte order mark. Without a mark, its first
/// bytes must suggest UTF-16, as for [`decode`](crate::decode).
///
/// # Errors
///
/// If the first bytes cannot be read. Later, invalid UTF-16 is an error of the kind
/// [`io::ErrorKind::InvalidData`].
pub fn utf16_to_utf8(mut from: Box<dyn BufRead>) -> io::Result<Utf8Source> {
    let start = from.fill_buf()?;
    // The mark of UTF-32 begins with that of UTF-16.
    let marked = if start.starts_with(&[0xff, 0xfe, 0, 0]) {
        None
    } else {
        Encoding::for_bom(start).filter(|(encoding, _)| [UTF_16LE, UTF_16BE].contains(encoding))
    };
    let unmarked = || Some((guess(start)?, 0));
    let Some((encoding, mark)) = marked.or_else(unmarked) else {
        return Ok(Utf8Source { bytes: from, guessed: None });
    };
    from.consume(mark);
    let guessed = (mark == 0).then(|| encoding.name());
    Ok(Utf8Source { bytes: Box::new(Utf16::new(from, encoding)), guessed })
}

/// The encoding of a source without a mark, if its first bytes suggest UTF-16. The last ones may be
/// the first half of a character.
fn guess(start: &[u8]) -> Option<&'static Encoding> {
    if !start.contains(&0) {
        return None;
    }
    let even = start.len() & !1;
    let whole = [even, even.saturating_sub(2)].map(|len| &start[..len]);
    whole.into_iter().find_map(unmarked_utf16).map(|(_, encoding)| encoding)
}

/// A source in UTF-16, read as UTF-8.
struct Utf16 {
    from: Box<dyn BufRead>,
    decoder: Decoder,
    name: &'static str,
    converted: Box<[u8; CONVERTED]>,
    /// The range of `converted` that has not been read.
    unread: std::ops::Range<usize>,
    is_over: bool,
}

impl Utf16 {
    fn new(from: Box<dyn BufRead>, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        let (converted, name) = (Box::new([0; CONVERTED]), encoding.name());
        Self { from, decoder, name, converted, unread: 0..0, is_over: false }
    }

    fn convert(&mut self) -> io::Result<()> {
        let bytes = self.from.fill_buf()?;
        let (is_last, to) = (bytes.is_empty(), &mut self.converted[..]);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(bytes, to, is_last);
        self.from.consume(read);
        self.unread = 0..written;
        match result {
            DecoderResult::InputEmpty => self.is_over = is_last,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                self.is_over = true;
                let message = format!("it begins as {} and is not valid in it", self.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }
}

impl BufRead for Utf16 {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread.is_empty() && !self.is_over {
            self.convert()?;
        }
        Ok(&self.converted[self.unread.clone()])
    }

    fn consume(&mut self, bytes: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + bytes);
    }
}

impl Read for Utf16 {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    const TEXT: &str = "Über den Flüssen\r\n灯台守の一日 \u{1f600}\n";

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    fn read(bytes: Vec<u8>, buffer: usize) -> io::Result<(Vec<u8>, Option<&'static str>)> {
        let from = BufReader::with_capacity(buffer, io::Cursor::new(bytes));
        let mut source = utf16_to_utf8(Box::new(from))?;
        let mut content = Vec::new();
        source.bytes.read_to_end(&mut content)?;
        Ok((content, source.guessed))
    }

    #[test]
    fn utf16_is_converted_whatever_the_size_of_the_buffer() {
        let long = TEXT.repeat(2000);
        for text in [TEXT, long.as_str()] {
            for (name, unit) in [
                ("UTF-16LE", u16::to_le_bytes as fn(u16) -> [u8; 2]),
                ("UTF-16BE", u16::to_be_bytes),
            ] {
                let marked = utf16(&format!("\u{feff}{text}"), unit);
                for buffer in [33, 34, 77, 8192] {
                    let (content, guessed) = read(marked.clone(), buffer).expect("UTF-16");
                    assert!(content == text.as_bytes() && guessed.is_none(), "{name} {buffer}");
                    let (content, guessed) = read(utf16(text, unit), buffer).expect("UTF-16");
                    assert!(content == text.as_bytes() && guessed == Some(name), "{name} {buffer}");
                }
            }
        }
    }

    #[test]
    fn other_bytes_are_not_converted() {
        for bytes in [
            &b""[..],
            b"a\r\n\nb\0c\n\rd",
            b"\xff\xfe\0\0a\0\0\0",
            b"caf\xe9 cr\xe8me",
            "\u{feff}Über".as_bytes(),
        ] {
            assert_eq!(read(bytes.to_vec(), 8192).expect("bytes"), (bytes.to_vec(), None));
        }
    }

    #[test]
    fn broken_utf16_is_an_error() {
        let half = [&b"\xff\xfe"[..], &utf16("text", u16::to_le_bytes), b"\0\xd8x\0"].concat();
        let odd = [&b"\xfe\xff"[..], &utf16("text", u16::to_be_bytes), b"\0"].concat();
        for (bytes, name) in [(half, "UTF-16LE"), (odd, "UTF-16BE")] {
            let error = read(bytes, 8192).expect_err("broken");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
