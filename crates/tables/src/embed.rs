//! Rows to vectors: the units that a forward pass covers, and what becomes of rows that cannot be
//! embedded.

use crate::error::Result;
use crate::rows::{RowText, Rows};
use kokeshi::{BlockSize, Chunk, Chunking, Input, Model, Options, blocks};
use std::ops::Range;

/// How texts become vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// Task, dimensions and the like.
    pub options: Options,
    /// How each text is cut into chunks with a vector each.
    pub chunking: Option<Chunking>,
    /// Whether the vectors of chunks, or of the rows of a document, are pooled from one pass.
    pub late: bool,
    /// Whether the texts of chunks are written.
    pub has_text: bool,
}

/// A vector, and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowVector {
    /// Index of the row.
    pub(crate) row: usize,
    /// Its chunk, and the number of it, if texts are cut.
    pub(crate) chunk: Option<(usize, Chunk)>,
    pub(crate) vector: Vec<f32>,
}

/// A row that has no vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedRow {
    /// Index of the row.
    pub(crate) row: usize,
    /// Why.
    pub(crate) reason: String,
}

/// The vectors of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EmbeddedRows {
    /// In the order of their rows.
    pub(crate) vectors: Vec<RowVector>,
    pub(crate) refused: Vec<RefusedRow>,
    /// Tokens that the model processed.
    pub(crate) tokens: usize,
}

/// Where the first rows of `rows` that belong together end, if more rows may follow: those of the
/// last document may go on.
pub(crate) fn complete(rows: &Rows) -> usize {
    let Some(last) = rows.texts.last() else { return 0 };
    if last.document.is_none() {
        return rows.texts.len();
    }
    let is_other = |row: &RowText| row.document != last.document;
    rows.texts.iter().rposition(is_other).map_or(0, |row| row + 1)
}

impl Method {
    /// Embeds `rows`, of whose documents none goes on after them, and calls `each` with the vectors
    /// of each block.
    pub(crate) fn embed(
        &self,
        rows: &Rows,
        has_documents: bool,
        model: &Model,
        each: &mut dyn FnMut(EmbeddedRows) -> Result<()>,
    ) -> Result<()> {
        let units = units(rows, has_documents);
        for block in blocks(&units, |unit| unit_size(unit, rows)) {
            let mut all = EmbeddedRows::default();
            let ready: Vec<Unit<'_>> =
                block.iter().filter_map(|unit| self.ready(unit, rows, model, &mut all)).collect();
            self.embed_block(ready, model, &mut all)?;
            all.refused.sort_by_key(|refused| refused.row);
            each(all)?;
        }
        Ok(())
    }

    /// The texts of `rows`, cut into chunks; `None` if they cannot be embedded, which `all` then
    /// says.
    fn ready<'r>(
        &self,
        unit: &Range<usize>,
        rows: &'r Rows,
        model: &Model,
        all: &mut EmbeddedRows,
    ) -> Option<Unit<'r>> {
        let mut refuse = |reason: &str| {
            let refused = unit.clone().map(|row| RefusedRow { row, reason: reason.to_owned() });
            all.refused.extend(refused);
        };
        let mut texts = Vec::new();
        for row in &rows.texts[unit.clone()] {
            match &row.text {
                Ok(text) => texts.push(text.as_str()),
                Err(reason) if unit.len() == 1 => {
                    refuse(reason);
                    return None;
                }
                Err(reason) => {
                    refuse(&format!(
                        "a row of its document has no text: {}: {reason}",
                        row.location
                    ));
                    return None;
                }
            }
        }
        let chunks = match (self.chunking, texts.as_slice()) {
            (Some(chunking), [text]) => match model.chunk(text, chunking) {
                Ok(chunks) if chunks.is_empty() => {
                    refuse("it has no chunks: it contains only white space");
                    return None;
                }
                Ok(chunks) => Some(chunks),
                Err(error) => {
                    refuse(&reason(&error));
                    return None;
                }
            },
            _ => None,
        };
        Some(Unit { rows: unit.clone(), texts, chunks })
    }

    /// Embeds `units` together. A unit that the model refuses is left out, and the others are
    /// embedded without it.
    fn embed_block(
        &self,
        mut units: Vec<Unit<'_>>,
        model: &Model,
        all: &mut EmbeddedRows,
    ) -> Result<()> {
        let embedded = loop {
            let inputs: Vec<Vec<Input<'_>>> = units.iter().map(|unit| self.inputs(unit)).collect();
            let owners: Vec<usize> = (0..units.len())
                .flat_map(|unit| std::iter::repeat_n(unit, inputs[unit].len()))
                .collect();
            let error = match model.embed(&inputs.concat()) {
                Ok(embedded) => break embedded,
                Err(error) => error,
            };
            let Some(owner) = refused_input(&error).and_then(|index| owners.get(index)) else {
                return Err(error.into());
            };
            let unit = units.remove(*owner);
            let reason = reason(&error);
            all.refused.extend(unit.rows.map(|row| RefusedRow { row, reason: reason.clone() }));
        };
        all.tokens += embedded.iter().map(|one| one.tokens).sum::<usize>();
        let mut vectors = embedded.into_iter().flat_map(|one| one.vectors);
        for unit in units {
            let row = unit.rows.start;
            match unit.chunks {
                Some(chunks) => {
                    for ((number, chunk), vector) in (0..).zip(chunks).zip(&mut vectors) {
                        all.vectors.push(RowVector { row, chunk: Some((number, chunk)), vector });
                    }
                }
                None => {
                    for (row, vector) in unit.rows.zip(&mut vectors) {
                        all.vectors.push(RowVector { row, chunk: None, vector });
                    }
                }
            }
        }
        Ok(())
    }

    fn inputs<'u>(&self, unit: &'u Unit<'_>) -> Vec<Input<'u>> {
        let inputs: Vec<Input<'u>> = match (&unit.chunks, self.late) {
            (Some(chunks), true) => vec![Input::late(unit.texts[0], chunks)],
            (Some(chunks), false) => {
                chunks.iter().map(|chunk| Input::new(&unit.texts[0][chunk.bytes.clone()])).collect()
            }
            (None, true) => vec![Input::late_parts(&unit.texts)],
            (None, false) => unit.texts.iter().map(|text| Input::new(text)).collect(),
        };
        inputs.into_iter().map(|input| input.options(self.options.clone())).collect()
    }
}

/// Rows that one pass of late chunking covers, or a single one, ready for the model.
struct Unit<'r> {
    rows: Range<usize>,
    texts: Vec<&'r str>,
    /// The chunks of its only text, if texts are cut.
    chunks: Option<Vec<Chunk>>,
}

/// The rows of each document, or else each row.
fn units(rows: &Rows, has_documents: bool) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    for (row, text) in rows.texts.iter().enumerate() {
        match units.last_mut() {
            // Rows without a document are not one together.
            Some(last)
                if has_documents
                    && text.document.is_some()
                    && rows.texts[last.start].document == text.document =>
            {
                last.end = row + 1;
            }
            _ => units.push(row..row + 1),
        }
    }
    units
}

/// What a unit adds to the block that it is embedded in.
fn unit_size(unit: &Range<usize>, rows: &Rows) -> BlockSize {
    let of_row = |row: &RowText| row.text.as_ref().map_or(0, String::len);
    BlockSize { texts: unit.len(), bytes: rows.texts[unit.clone()].iter().map(of_row).sum() }
}

/// The input that an error is about, if the others can be embedded without it.
fn refused_input(error: &kokeshi::Error) -> Option<usize> {
    match error {
        kokeshi::Error::TooLong { index, .. } | kokeshi::Error::TooLarge { index, .. } => {
            Some(*index)
        }
        _ => None,
    }
}

/// Why the model refuses a text, without its number in the call.
fn reason(error: &kokeshi::Error) -> String {
    match error {
        kokeshi::Error::TooLong { tokens, limit, .. } => {
            format!("it has {tokens} tokens; the limit of the model is {limit}")
        }
        kokeshi::Error::TooLarge { bytes, limit, .. } => {
            format!("it has {bytes} bytes; the limit is {limit}")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Schema;
    use std::sync::Arc;

    /// Rows of documents, with so many bytes of text each.
    fn rows(documents: &[(Option<&str>, usize)]) -> Rows {
        let schema = Arc::new(Schema::empty());
        let text = |(document, bytes): &(Option<&str>, usize)| RowText {
            text: Ok("x".repeat(*bytes)),
            location: String::new(),
            id: None,
            document: document.map(str::to_owned),
        };
        Rows { texts: documents.iter().map(text).collect(), ..Rows::none(schema) }
    }

    #[test]
    fn rows_of_a_document_are_one_unit_if_they_are_adjacent() {
        let (a, b) = (Some("a"), Some("b"));
        let rows = rows(&[(a, 1), (a, 1), (b, 1), (None, 1), (None, 1), (a, 1)]);
        assert_eq!(units(&rows, true), [0..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(units(&rows, false).len(), 6);
        assert_eq!(complete(&rows), 5);
        assert_eq!(complete(&Rows { texts: rows.texts[..2].to_vec(), ..rows.clone() }), 0);
    }
}
