//! A preview of what a migration changes: neighbours and rankings on a sample, and the size of
//! vectors.

use crate::error::Result;
use crate::vectors::chunk_vectors;
use kokeshi_collections::{Embedder, Embeddings};
use kokeshi_store::{Document, Storage};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Number of neighbours and ranks that are compared.
pub(crate) const DEPTH: usize = 10;

/// The changes on a sample.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Documents of the sample.
    pub documents: usize,
    /// Its chunks.
    pub chunks: usize,
    /// Its tokens in the new model.
    pub tokens: usize,
    /// How long the new model took to embed it.
    pub took: Duration,
    /// Mean share of a chunk's 10 nearest neighbours in the sample that are the same for both
    /// models; `None` if the sample has 10 chunks or fewer, or a chunk without an old vector.
    pub overlap: Option<f64>,
    /// The ranking of each query in the sample.
    pub rankings: Vec<Ranking>,
}

/// The best documents for a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The query.
    pub query: String,
    /// Paths by the old vectors, best first; `None` if the old model is unknown.
    pub old: Option<Vec<String>>,
    /// Paths by the new vectors, best first.
    pub new: Vec<String>,
}

/// The size of vectors in each storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorSizes {
    /// Bytes by storage.
    pub by_storage: [(Storage, u64); 4],
}

impl VectorSizes {
    /// The size of `chunks` vectors with `dimensions` elements.
    pub fn new(chunks: usize, dimensions: usize) -> Self {
        let bytes = |storage: Storage| (chunks * storage.bytes(dimensions)) as u64;
        Self { by_storage: Storage::ALL.map(|storage| (storage, bytes(storage))) }
    }
}

/// Embeds `documents`, which have their old vectors, with the new model, and `queries` with both,
/// and compares the results.
///
/// # Errors
///
/// If the engine fails.
pub fn preview(
    documents: &[Document],
    old: Option<&Embedder>,
    new: &Embedder,
    queries: &[String],
) -> Result<Preview> {
    let start = Instant::now();
    let Embeddings { vectors, tokens } = new.documents(documents)?;
    let took = start.elapsed();
    let old_vectors: Vec<Vec<f32>> = chunk_vectors(documents).map(unit).collect();
    let new_vectors: Vec<Vec<f32>> = vectors.iter().map(|vector| unit(vector)).collect();
    let texts = || queries.iter().map(String::as_str);
    let new_queries = new.queries(texts())?;
    let old_queries = old.map(|old| old.queries(texts())).transpose()?;
    let rankings = (0..queries.len()).map(|at| Ranking {
        query: queries[at].clone(),
        old: old_queries.as_ref().map(|all| ranked(documents, &old_vectors, &all[at])),
        new: ranked(documents, &new_vectors, &new_queries[at]),
    });
    Ok(Preview {
        documents: documents.len(),
        chunks: old_vectors.len(),
        tokens,
        took,
        overlap: overlap(&old_vectors, &new_vectors),
        rankings: rankings.collect(),
    })
}

/// Mean share of common neighbours between two sets of vectors of the same chunks.
pub(crate) fn overlap(old: &[Vec<f32>], new: &[Vec<f32>]) -> Option<f64> {
    if old.len() <= DEPTH || old.iter().any(Vec::is_empty) {
        return None;
    }
    let shared = |at: usize| {
        let before: HashSet<usize> = nearest(old, &old[at], Some(at)).into_iter().collect();
        nearest(new, &new[at], Some(at)).iter().filter(|at| before.contains(at)).count()
    };
    let total: usize = (0..old.len()).map(shared).sum();
    Some(total as f64 / (DEPTH * old.len()) as f64)
}

/// Indexes of the vectors nearest to `query`, nearest first, without `except`.
fn nearest(vectors: &[Vec<f32>], query: &[f32], except: Option<usize>) -> Vec<usize> {
    let mut scored = scores(vectors, query);
    scored.retain(|(_, at)| Some(*at) != except);
    scored.truncate(DEPTH);
    scored.into_iter().map(|(_, at)| at).collect()
}

fn scores(vectors: &[Vec<f32>], query: &[f32]) -> Vec<(f32, usize)> {
    let dot = |vector: &Vec<f32>| vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut scored: Vec<(f32, usize)> = vectors.iter().map(dot).zip(0..).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored
}

/// Paths of the best documents, each ranked by its best chunk.
fn ranked(documents: &[Document], vectors: &[Vec<f32>], query: &[f32]) -> Vec<String> {
    let paths: Vec<&str> = documents
        .iter()
        .flat_map(|document| document.chunks.iter().map(|_| document.path.as_str()))
        .collect();
    let mut seen = HashSet::new();
    let order = scores(vectors, query).into_iter().map(|(_, at)| paths[at]);
    let first = order.filter(|path| seen.insert(*path));
    first.take(DEPTH).map(str::to_owned).collect()
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|x| (f64::from(*x) * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_the_share_of_common_neighbours() {
        // On a line of angles, neighbours are those at the smallest distance.
        let line = |scale: f32| -> Vec<Vec<f32>> {
            (0..40_u8).map(|n| f32::from(n) * scale).map(|x| vec![x.cos(), x.sin()]).collect()
        };
        assert_eq!(overlap(&line(0.01), &line(0.02)), Some(1.0));
        let mut reversed = line(0.01);
        reversed.reverse();
        assert_eq!(overlap(&line(0.01), &reversed), Some(1.0), "distances are the same");
        let shuffled: Vec<Vec<f32>> = (0..40_u16)
            .map(|n| f32::from(n * 7 % 40) * 0.01)
            .map(|x| vec![x.cos(), x.sin()])
            .collect();
        let shared = overlap(&line(0.01), &shuffled).expect("enough");
        assert!(shared < 0.5, "{shared}");
        assert_eq!(overlap(&line(0.01)[..10], &line(0.01)[..10]), None);
    }
}
