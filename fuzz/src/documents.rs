//! Files of documents: each part of the text lies in it, and each chunk in its part.

use kokeshi_documents::{Error, Extractor, Format, Result, Segments, cut, read, text_of_html};
use std::io::Read;

const FORMATS: [Format; 10] = [
    Format::Text,
    Format::Markdown,
    Format::Html,
    Format::Code,
    Format::Jsonl,
    Format::Table(b','),
    Format::Table(b'\t'),
    Format::Notebook,
    // Read from what an extractor printed.
    Format::Pdf,
    Format::Pptx,
];

/// What the process that extracts texts prints may be anything.
struct Foreign;

impl Extractor for Foreign {
    fn extract(&self, format: Format, content: &[u8]) -> Result<String> {
        match format {
            Format::Html => text_of_html(content),
            _ => Ok(String::from_utf8_lossy(content).into_owned()),
        }
    }
}

/// The first byte chooses the format.
pub(crate) fn read_as_any_format(bytes: &[u8]) {
    let Some((format, content)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let Ok(Some(text)) = read(format, content, &Foreign) else { return };
    let chunks = cut(&text, 200);
    assert_eq!(chunks.len(), text.parts.len());
    for (part, chunks) in text.parts.iter().zip(chunks) {
        assert!(text.text.get(part.bytes.clone()).is_some());
        for chunk in chunks {
            assert!(text.text.get(chunk.clone()).is_some(), "{chunk:?} of {:?}", part.bytes);
        }
    }
}

/// A web page gives text, or an error.
pub(crate) fn html(page: &[u8]) {
    drop(text_of_html(page));
}

/// An office document or e-book gives text, or an error.
#[cfg(feature = "all")]
pub(crate) fn office(content: &[u8]) {
    for format in [Format::Docx, Format::Odt, Format::Pptx, Format::Epub] {
        drop(kokeshi_documents::text_of_office(format, content));
    }
}

/// A file that comes in pieces, so that every boundary is between two reads once.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// Rows have the same texts in whatever pieces their file is read.
pub(crate) fn rows(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let format = [Format::Jsonl, Format::Table(b','), Format::Table(b'\t')][usize::from(*kind) % 3];
    let texts = |piece| -> Result<Vec<String>> {
        let Some(segments) = Segments::new(format, Pieces(content, piece))? else {
            return Err(Error::NoText(String::new()));
        };
        segments.map(|segment| segment.map(|segment| segment.text)).collect()
    };
    let (whole, bytewise) = (texts(usize::MAX), texts(1));
    assert_eq!(whole.is_ok(), bytewise.is_ok());
    if let (Ok(whole), Ok(bytewise)) = (whole, bytewise) {
        assert_eq!(whole.concat(), bytewise.concat());
    }
}
