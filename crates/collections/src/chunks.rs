//! A document's chunks: from byte ranges to the locations that stores record, and to the engine's
//! input.

use crate::chunking::DocumentChunking;
use kokeshi::{Chunk, Model};
use kokeshi_documents::{DocumentPart, DocumentText, Error, Result, cut};
use kokeshi_store::ChunkLocation;
use std::ops::Range;

/// A chunk before it is embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocatedChunk {
    /// Where it is in the document.
    pub(crate) location: ChunkLocation,
    /// Its tokens within its part, if the engine has cut it; otherwise empty, and the engine finds
    /// them by the chunk's bytes.
    pub(crate) tokens: Range<usize>,
}

/// Cuts each part of `text` into chunks.
///
/// # Errors
///
/// [`Error::NoText`] if the engine cannot cut it.
pub(crate) fn chunks(
    text: &DocumentText,
    chunking: DocumentChunking,
    model: &Model,
) -> Result<Vec<Vec<LocatedChunk>>> {
    let mut lines = LineCounter { text: &text.text, at: 0, line: 1 };
    let mut locate = |part: &DocumentPart, bytes: Range<usize>, tokens| {
        let lines_of_text = if text.converted { (0, 0) } else { lines.of(&bytes) };
        let lines = part.line.map_or(lines_of_text, |line| (line, line));
        // A chunk begins with its first letter, not with the break between two pages.
        let chunk = &text.text[bytes.clone()];
        let page = text.page(bytes.start + chunk.len() - chunk.trim_start().len());
        LocatedChunk { location: ChunkLocation { bytes, lines, page }, tokens }
    };
    match chunking {
        DocumentChunking::Structure(size) => {
            let parts = text.parts.iter().zip(cut(text, size));
            let located = parts.map(|(part, ranges)| {
                ranges.into_iter().map(|bytes| locate(part, bytes, 0..0)).collect()
            });
            Ok(located.collect())
        }
        DocumentChunking::Engine(chunking) => {
            let parts = text.parts.iter().map(|part| {
                let chunks = model.chunk(&text.text[part.bytes.clone()], chunking);
                let chunks = chunks.map_err(|error| Error::NoText(error.to_string()))?;
                let start = part.bytes.start;
                let located = chunks.into_iter().map(|Chunk { bytes, tokens, .. }| {
                    locate(part, start + bytes.start..start + bytes.end, tokens)
                });
                Ok(located.collect())
            });
            parts.collect()
        }
    }
}

/// Counts the lines of a text in one pass, for ranges whose starts ascend.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// The first and last line of `bytes`, from 1.
    fn of(&mut self, bytes: &Range<usize>) -> (usize, usize) {
        self.line += newlines(&self.text[self.at..bytes.start]);
        self.at = bytes.start;
        (self.line, self.line + newlines(&self.text[bytes.clone()]))
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// The engine's chunks of one part of a document.
pub(crate) fn engine_chunks_of_part(
    text: &str,
    part: &DocumentPart,
    chunks: &[LocatedChunk],
) -> Vec<Chunk> {
    let start = part.bytes.start;
    let relative = |LocatedChunk { location, tokens }: &LocatedChunk| {
        (location.bytes.start - start..location.bytes.end - start, tokens.clone())
    };
    Chunk::at_ranges(text, chunks.iter().map(relative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi::LoadOptions;

    fn model() -> Model {
        Model::starter(&LoadOptions::default()).expect("a model")
    }

    #[test]
    fn lines_are_those_of_the_whole_text() {
        let text = "a\n\nb\nc\n\nd";
        let part = |bytes| DocumentPart { bytes, ..DocumentPart::default() };
        let row = DocumentPart { line: Some(70), ..part(6..text.len()) };
        let parts = vec![part(0..3), part(3..6), row];
        let text = DocumentText { text: text.to_owned(), parts, ..DocumentText::default() };
        let chunks = chunks(&text, DocumentChunking::Structure(1), &model()).expect("chunks");
        let lines: Vec<_> = chunks.iter().flatten().map(|chunk| chunk.location.lines).collect();
        assert_eq!(lines, [(1, 1), (3, 4), (70, 70)]);
    }

    #[test]
    fn a_converted_text_has_no_lines_and_a_chunk_the_page_of_its_first_letter() {
        let text = "One.\n\u{c}Two. Three.";
        let part = DocumentPart { bytes: 0..text.len(), ..DocumentPart::default() };
        let text = DocumentText {
            text: text.to_owned(),
            parts: vec![part],
            pages: vec![0, 6],
            converted: true,
            ..DocumentText::default()
        };
        let chunking = DocumentChunking::Engine(kokeshi::Chunking::Sentences(1));
        let chunks = chunks(&text, chunking, &model()).expect("chunks");
        let locations = chunks.iter().flatten().map(|chunk| &chunk.location);
        let found: Vec<_> = locations.map(|location| (location.lines, location.page)).collect();
        assert_eq!(found, [((0, 0), Some(1)), ((0, 0), Some(2)), ((0, 0), Some(2))]);
    }

    #[test]
    fn the_engine_s_chunks_keep_their_tokens_in_a_later_part() {
        let whole = "first.\n\nÄ second. A third.";
        let start = whole.find('Ä').expect("a part");
        let part = |bytes| DocumentPart { bytes, ..DocumentPart::default() };
        let parts = vec![part(0..start), part(start..whole.len())];
        let text = DocumentText { text: whole.to_owned(), parts, ..DocumentText::default() };
        let (model, sentences) = (model(), kokeshi::Chunking::Sentences(1));
        let chunks = chunks(&text, DocumentChunking::Engine(sentences), &model).expect("chunks");
        let locations = chunks.iter().flatten().map(|chunk| &whole[chunk.location.bytes.clone()]);
        assert_eq!(locations.collect::<Vec<_>>(), ["first.", "Ä second.", "A third."]);
        let second = &whole[start..];
        let wanted = model.chunk(second, sentences).expect("chunks");
        assert_eq!(engine_chunks_of_part(second, &text.parts[1], &chunks[1]), wanted);
    }
}
