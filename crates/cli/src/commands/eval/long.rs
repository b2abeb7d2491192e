//! Late chunking against chunks alone, on long documents with known answers.

use super::figures::SetFigures;
use super::find::SetFiles;
use super::pass::Pass;
use super::set::LongSet;
use crate::args::TextUse;
use kokeshi::Chunk;
use kokeshi_analysis::{DEPTH, Matrix, Rankings};
use kokeshi_collections::DocumentChunking;
use kokeshi_documents::{DocumentPart, DocumentText, cut};
use std::ops::Range;

/// The rankings of all questions in one number of dimensions.
struct Search {
    chunks: Rankings,
    documents: Rankings,
}

/// Where all chunks are.
#[derive(Default)]
struct ChunkLocations {
    /// Document and bytes of each chunk.
    chunks: Vec<(usize, Range<usize>)>,
    /// Document and bytes of the answer to each question.
    answers: Vec<Option<(usize, Range<usize>)>>,
    documents: usize,
}

impl Pass<'_> {
    /// The figures with each chunk alone, and with late chunking.
    pub(super) fn long(
        &mut self,
        files: &SetFiles,
        set: &LongSet,
    ) -> anyhow::Result<Vec<SetFigures>> {
        let questions: Vec<&str> = set.questions.iter().map(|one| one.text.as_str()).collect();
        let questions = self.embed(&questions, TextUse::Query)?;
        let searches = || -> anyhow::Result<Vec<Search>> {
            let search = |&dimensions: &usize| {
                let rows = Matrix::cut(&questions, dimensions)?;
                let chunks = Rankings::new(rows.clone(), DEPTH);
                anyhow::Ok(Search { chunks, documents: Rankings::new(rows, DEPTH) })
            };
            self.dimensions.iter().map(search).collect()
        };
        let mut methods = [searches()?, searches()?];
        let answers = vec![None; set.questions.len()];
        let mut locations = ChunkLocations { answers, ..ChunkLocations::default() };
        set.documents(|id, text| {
            let chunks = self.chunks(&text)?;
            locations.add(set, &id, &text, &chunks)?;
            // A blank document has no chunk, and is never found.
            if !chunks.is_empty() {
                let texts: Vec<&str> =
                    chunks.iter().map(|chunk| &text[chunk.bytes.clone()]).collect();
                let alone = self.embed(&texts, TextUse::Passage)?;
                let late = self.embed_late(&text, &chunks)?;
                for (method, vectors) in methods.iter_mut().zip([alone, late]) {
                    self.rank(method, &vectors)?;
                }
            }
            Ok(())
        })?;
        let figures =
            ["each chunk alone", "late chunking"].iter().zip(&methods).map(|(name, method)| {
                let mut figures = self.long_figures(files, &locations, method)?;
                figures.name = format!("{}, {name}", files.name());
                figures.family.clone_from(&figures.name);
                anyhow::Ok(figures)
            });
        figures.collect()
    }

    /// The chunks of a document, without tokens: they are found by their bytes.
    fn chunks(&self, text: &str) -> anyhow::Result<Vec<Chunk>> {
        let ranges = match self.arguments.search.chunk.unwrap_or_default() {
            DocumentChunking::Engine(chunking) => return Ok(self.model.chunk(text, chunking)?),
            DocumentChunking::Structure(size) => {
                let part = DocumentPart { bytes: 0..text.len(), ..DocumentPart::default() };
                let document = DocumentText {
                    text: text.to_owned(),
                    parts: vec![part],
                    ..DocumentText::default()
                };
                cut(&document, size)
            }
        };
        // Only the bytes are read.
        let chunk = |bytes: Range<usize>| Chunk { bytes, ..Chunk::default() };
        Ok(ranges.into_iter().flatten().map(chunk).collect())
    }

    /// Adds the vectors of a document's chunks.
    fn rank(&self, searches: &mut [Search], vectors: &[Vec<f32>]) -> anyhow::Result<()> {
        for (search, &dimensions) in searches.iter_mut().zip(self.dimensions) {
            let rows = Matrix::cut(vectors, dimensions)?;
            search.chunks.add(self.compute, &rows)?;
            search.documents.add_best(self.compute, &rows)?;
        }
        Ok(())
    }

    fn long_figures(
        &self,
        files: &SetFiles,
        locations: &ChunkLocations,
        searches: &[Search],
    ) -> anyhow::Result<SetFigures> {
        let counts = vec![
            (locations.documents, "document"),
            (locations.chunks.len(), "chunk"),
            (locations.answers.len(), "question"),
        ];
        let mut searches = searches.iter();
        self.figures(files, counts, |_, _| {
            Ok(searches.next().map_or_else(Vec::new, |search| locations.values(search)))
        })
    }
}

impl ChunkLocations {
    /// Adds a document with its chunks, and the answers in it.
    fn add(&mut self, set: &LongSet, id: &str, text: &str, chunks: &[Chunk]) -> anyhow::Result<()> {
        for (answer, question) in self.answers.iter_mut().zip(&set.questions) {
            if question.document == id {
                *answer = Some((self.documents, question.bytes_in(text)?));
            }
        }
        if !chunks.is_empty() {
            let document = self.documents;
            self.chunks.extend(chunks.iter().map(|chunk| (document, chunk.bytes.clone())));
            self.documents += 1;
        }
        Ok(())
    }

    /// The means of answer@1, answer@10 and nDCG@10. A question has one document, so the nDCG of its
    /// ranking is that of the rank of this document.
    fn values(&self, search: &Search) -> Vec<f64> {
        let (mut sums, count) = ([0.0; 3], self.answers.len().max(1) as f64);
        for (number, answer) in self.answers.iter().enumerate() {
            let Some((document, bytes)) = answer else { continue };
            let has_answer = |row: usize| {
                let (of, chunk) = &self.chunks[row];
                of == document && chunk.start < bytes.end && bytes.start < chunk.end
            };
            let chunks = search.chunks.of(number);
            let rank = chunks.iter().position(|ranked| has_answer(ranked.row));
            let documents = search.documents.of(number);
            let place = documents.iter().position(|ranked| ranked.row == *document);
            sums[0] += f64::from(u8::from(rank == Some(0)));
            sums[1] += f64::from(u8::from(rank.is_some()));
            sums[2] += place.map_or(0.0, |place| 1.0 / (place as f64 + 2.0).log2());
        }
        sums.map(|sum| sum / count).to_vec()
    }
}
