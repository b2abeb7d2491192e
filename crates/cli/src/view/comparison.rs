//! The same texts under two models.

use super::{Grid, Ranking, SimilarityMatrix};
use serde::Serialize;
use std::collections::HashMap;

/// Rankings of the same texts for the same query.
#[derive(Debug, Serialize)]
pub(crate) struct RankingComparison {
    pub(crate) models: [String; 2],
    pub(crate) query: String,
    /// In the order of the first model.
    pub(crate) results: Vec<RankChange>,
}

/// A text in both rankings.
#[derive(Debug, Serialize)]
pub(crate) struct RankChange {
    /// Number of the text in the input.
    pub(crate) index: usize,
    /// Rank under each model, from 1.
    pub(crate) ranks: [usize; 2],
    /// Ranks that it gains from the first model to the second; negative if it falls.
    pub(crate) climb: isize,
    /// Cosine similarities.
    pub(crate) scores: [f32; 2],
    pub(crate) text: String,
}

impl RankingComparison {
    pub(crate) fn new(first: Ranking, second: Ranking) -> Self {
        let ranked = (1..).zip(&second.results);
        let ranked: HashMap<usize, (usize, f32)> =
            ranked.map(|(rank, result)| (result.index, (rank, result.score))).collect();
        let changes = (1..).zip(first.results).map(|(rank, result)| {
            let (second_rank, second_score) = ranked[&result.index];
            RankChange {
                index: result.index,
                ranks: [rank, second_rank],
                climb: rank as isize - second_rank as isize,
                scores: [result.score, second_score],
                text: result.text,
            }
        });
        let results = changes.collect();
        Self { models: [first.model, second.model], query: first.query, results }
    }

    /// Number of texts whose rank changes.
    pub(super) fn moves(&self) -> usize {
        self.results.iter().filter(|result| result.climb != 0).count()
    }
}

/// Similarities of the same texts to each other under two models.
#[derive(Debug, Serialize)]
pub(crate) struct MatrixComparison {
    pub(crate) models: [String; 2],
    pub(crate) texts: Vec<String>,
    /// Cosine similarities under each model, [texts, texts].
    pub(crate) matrices: [Vec<Vec<f32>>; 2],
    /// The similarities of the second model minus those of the first.
    pub(crate) difference: Vec<Vec<f32>>,
}

impl MatrixComparison {
    pub(crate) fn new(first: SimilarityMatrix, second: SimilarityMatrix) -> Self {
        let subtract = |(a, b): (&Vec<f32>, &Vec<f32>)| -> Vec<f32> {
            a.iter().zip(b).map(|(a, b)| b - a).collect()
        };
        let difference = first.matrix.iter().zip(&second.matrix).map(subtract).collect();
        Self {
            models: [first.model, second.model],
            texts: first.texts,
            matrices: [first.matrix, second.matrix],
            difference,
        }
    }

    /// The grids to draw, with their headings.
    pub(super) fn grids(&self) -> [(String, Grid<'_>); 3] {
        let ([a, b], [first, second]) = (&self.models, &self.matrices);
        [
            (format!("A  {a}"), Grid::similarities(&self.texts, first)),
            (format!("B  {b}"), Grid::similarities(&self.texts, second)),
            ("B - A".to_owned(), Grid::differences(&self.texts, &self.difference)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Ranked;

    #[test]
    fn a_climb_is_counted_from_the_first_ranking_to_the_second() {
        let ranking = |order: [(usize, f32); 3]| Ranking {
            model: String::new(),
            query: String::new(),
            results: order
                .map(|(index, score)| Ranked { index, score, text: index.to_string() })
                .into(),
        };
        let first = ranking([(2, 0.9), (0, 0.5), (1, 0.1)]);
        let second = ranking([(1, 0.8), (0, 0.7), (2, 0.6)]);
        let rankings = RankingComparison::new(first, second);
        let changes: Vec<_> =
            rankings.results.iter().map(|m| (m.index, m.ranks, m.climb, m.scores)).collect();
        let expected =
            [(2, [1, 3], -2, [0.9, 0.6]), (0, [2, 2], 0, [0.5, 0.7]), (1, [3, 1], 2, [0.1, 0.8])];
        assert_eq!(changes, expected);
        assert_eq!(rankings.moves(), 2);
    }
}
