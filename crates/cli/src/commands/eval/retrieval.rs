//! Retrieval with one vector for each document, also across languages.

use super::dataset::{CorpusCounts, CorpusDocument, Dataset, JudgedQuery};
use super::figures::SetFigures;
use super::find::SetFiles;
use super::pass::Pass;
use crate::args::TextUse;
use kokeshi::{BLOCK_BYTES, BLOCK_TEXTS};
use kokeshi_analysis::{DEPTH, Matrix, Quality, Rankings, recall_at};
use std::collections::HashMap;

/// Ranks that are kept: one of them may be the query's own document.
const KEPT: usize = DEPTH + 1;

/// The vectors of the sets that others of their family are compared with, by family.
pub(super) type Pivots = HashMap<String, Pivot>;

/// A set in the language of `--cross-lingual`.
#[derive(Debug)]
pub(super) struct Pivot {
    language: String,
    ids: Vec<String>,
    documents: Vec<Vec<f32>>,
    queries: Vec<JudgedQuery>,
    query_vectors: Vec<Vec<f32>>,
}

/// Queries, the numbers of dimensions, and the rankings in each of these.
struct Searches {
    rankings: Vec<Rankings>,
}

impl Searches {
    fn new(vectors: &[Vec<f32>], dimensions: &[usize]) -> anyhow::Result<Self> {
        let ranking = |&dimensions: &usize| {
            anyhow::Ok(Rankings::new(Matrix::cut(vectors, dimensions)?, KEPT))
        };
        Ok(Self { rankings: dimensions.iter().map(ranking).collect::<anyhow::Result<_>>()? })
    }

    fn add(&mut self, pass: &Pass<'_>, documents: &[Vec<f32>]) -> anyhow::Result<()> {
        for (rankings, &dimensions) in self.rankings.iter_mut().zip(pass.dimensions) {
            rankings.add(pass.compute, &Matrix::cut(documents, dimensions)?)?;
        }
        Ok(())
    }

    /// The means of nDCG@10, R@1 and R@10 in the dimensions with a number.
    fn values(&self, at: usize, queries: &[JudgedQuery], ids: &[String]) -> Vec<f64> {
        let (mut sums, count) = ([0.0; 3], queries.len() as f64);
        for (number, query) in queries.iter().enumerate() {
            let ranked = self.rankings[at].of(number).iter().map(|ranked| ids[ranked.row].clone());
            let ranking = query.allowed(ranked, DEPTH);
            let Quality { ndcg, recall } = Quality::of(&ranking, &query.relevant);
            let values = [ndcg, recall_at(1, &ranking, &query.relevant), recall];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sums.map(|sum| sum / count).to_vec()
    }
}

impl Pass<'_> {
    /// The figures of a set, and of its queries and documents with those of the pivot of its family.
    pub(super) fn retrieval(
        &mut self,
        files: &SetFiles,
        mut set: Dataset,
        pivots: &mut Pivots,
    ) -> anyhow::Result<Vec<SetFigures>> {
        let pivot = pivots.get(&files.family);
        let queries: Vec<&str> = set.queries.iter().map(|query| query.text.as_str()).collect();
        let query_vectors = self.embed(&queries, TextUse::Query)?;
        let mut own = Searches::new(&query_vectors, self.dimensions)?;
        let mut from_pivot =
            pivot.map(|pivot| Searches::new(&pivot.query_vectors, self.dimensions)).transpose()?;
        let cross_lingual = self.arguments.shares.cross_lingual.as_ref();
        let is_pivot = cross_lingual.is_some() && files.language.as_ref() == cross_lingual;
        let (mut ids, mut kept) = (Vec::new(), Vec::new());
        let counts = self.embed_corpus(&mut set, |pass, block_ids, vectors| {
            ids.extend(block_ids);
            own.add(pass, &vectors)?;
            if let Some(searches) = &mut from_pivot {
                searches.add(pass, &vectors)?;
            }
            if is_pivot {
                kept.extend(vectors);
            }
            Ok(())
        })?;
        let all = self.own_figures(files, &set, (&own, &ids), counts)?;
        let mut all = vec![all];
        if let (Some(pivot), Some(searches)) = (pivot, &from_pivot) {
            all.extend(self.crossed(files, &set, (&query_vectors, &ids), (pivot, searches))?);
        }
        if let (true, Some(language)) = (is_pivot, &files.language) {
            let (language, queries) = (language.clone(), set.queries);
            let pivot = Pivot { language, ids, documents: kept, queries, query_vectors };
            pivots.insert(files.family.clone(), pivot);
        }
        Ok(all)
    }

    /// Embeds a corpus block by block, and calls `each` with the ids and vectors of each block.
    fn embed_corpus(
        &mut self,
        set: &mut Dataset,
        mut each: impl FnMut(&Self, Vec<String>, Vec<Vec<f32>>) -> anyhow::Result<()>,
    ) -> anyhow::Result<CorpusCounts> {
        let with_title = self.arguments.texts.title;
        let (mut block, mut bytes) = (Vec::new(), 0);
        let mut flush = |block: &mut Vec<(String, String)>| {
            let (ids, texts): (Vec<String>, Vec<String>) = block.drain(..).unzip();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = self.embed(&texts, TextUse::Passage)?;
            each(self, ids, vectors)
        };
        let counts = set.documents(|document| {
            let passage = document.passage(with_title);
            let CorpusDocument { id, .. } = document;
            bytes += passage.len();
            block.push((id, passage));
            if block.len() >= BLOCK_TEXTS || bytes >= BLOCK_BYTES {
                bytes = 0;
                flush(&mut block)?;
            }
            Ok(())
        })?;
        if !block.is_empty() {
            flush(&mut block)?;
        }
        Ok(counts)
    }

    fn own_figures(
        &mut self,
        files: &SetFiles,
        set: &Dataset,
        (searches, ids): (&Searches, &[String]),
        counts: CorpusCounts,
    ) -> anyhow::Result<SetFigures> {
        let sizes = vec![(counts.documents, "document"), (set.queries.len(), "query")];
        let mut at = 0..;
        let mut figures = self.figures(files, sizes, |_, _| {
            Ok(searches.values(at.next().unwrap_or_default(), &set.queries, ids))
        })?;
        figures.notes.extend(notes(&counts));
        Ok(figures)
    }

    /// The figures of the set's queries on the pivot's documents, and the reverse.
    fn crossed(
        &mut self,
        files: &SetFiles,
        set: &Dataset,
        (query_vectors, ids): (&[Vec<f32>], &[String]),
        (pivot, from_pivot): (&Pivot, &Searches),
    ) -> anyhow::Result<Vec<SetFigures>> {
        let language = files.language.clone().unwrap_or_default();
        let mut known = ids.to_vec();
        let mut of_pivot = pivot.ids.clone();
        known.sort_unstable();
        of_pivot.sort_unstable();
        anyhow::ensure!(
            known == of_pivot,
            "the documents of {} and of its set in `{}` have different ids",
            files.path.display(),
            pivot.language
        );
        let mut to_pivot = Searches::new(query_vectors, self.dimensions)?;
        to_pivot.add(self, &pivot.documents)?;
        let ways = [
            (&to_pivot, &set.queries, &pivot.ids[..], [&language, &pivot.language]),
            (from_pivot, &pivot.queries, ids, [&pivot.language, &language]),
        ];
        let mut all = Vec::new();
        for (searches, queries, ids, [from, to]) in ways {
            let sizes = vec![(ids.len(), "document"), (queries.len(), "query")];
            let mut at = 0..;
            let mut figures = self.figures(files, sizes, |_, _| {
                Ok(searches.values(at.next().unwrap_or_default(), queries, ids))
            })?;
            figures.name = format!("{} {from}→{to}", files.family);
            figures.family = match *from == language {
                true => format!("{} →{}", files.family, pivot.language),
                false => format!("{} {}→", files.family, pivot.language),
            };
            figures.notes.clear();
            all.push(figures);
        }
        Ok(all)
    }
}

/// What a reader must know about a corpus.
fn notes(counts: &CorpusCounts) -> Vec<String> {
    let mut notes = Vec::new();
    if counts.own > 0 {
        let queries = counted_queries(counts.own);
        notes.push(format!("{queries} left out the document with the same id"));
    }
    let kept = counts.namesakes.saturating_sub(counts.own);
    if kept > 0 {
        notes.push(format!(
            "{} had the id of a document with another text, and could find it",
            counted_queries(kept)
        ));
    }
    if counts.absent > 0 {
        notes.push(format!(
            "{} of the answers are not in the corpus, and count as not found",
            counts.absent
        ));
    }
    notes
}

/// `1 query`, `2 queries`.
fn counted_queries(count: usize) -> String {
    if count == 1 { "1 query".to_owned() } else { format!("{count} queries") }
}
