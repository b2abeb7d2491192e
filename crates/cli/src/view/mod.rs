//! Similarities as data, in the terminal and as pictures.

pub(crate) mod bars;
mod comparison;
mod grid;
mod page;
pub(crate) mod svg;
mod terminal;

pub(crate) use comparison::{MatrixComparison, RankingComparison};
use grid::Grid;
pub(crate) use page::page;

use crate::printer::Printer;
use serde::Serialize;
use std::io::{self, Write};

/// A result of `kokeshi similarity`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum View {
    Ranking(Ranking),
    Rankings(RankingComparison),
    Matrix(SimilarityMatrix),
    Matrices(MatrixComparison),
}

/// Texts ranked by similarity to a query.
#[derive(Debug, Serialize)]
pub(crate) struct Ranking {
    pub(crate) model: String,
    pub(crate) query: String,
    /// Most similar first.
    pub(crate) results: Vec<Ranked>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Ranked {
    /// Number of the text in the input.
    pub(crate) index: usize,
    /// Cosine similarity.
    pub(crate) score: f32,
    pub(crate) text: String,
}

/// Similarities of texts to each other.
#[derive(Debug, Serialize)]
pub(crate) struct SimilarityMatrix {
    pub(crate) model: String,
    pub(crate) texts: Vec<String>,
    /// Cosine similarities, [texts, texts].
    pub(crate) matrix: Vec<Vec<f32>>,
}

impl View {
    /// Prints the result for people.
    pub(crate) fn print(&self, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
        match self {
            Self::Ranking(ranking) => terminal::ranking(ranking, to, printer),
            Self::Rankings(rankings) => terminal::rankings(rankings, to, printer),
            Self::Matrix(matrix) => terminal::grid(&matrix.grid(), to, printer),
            Self::Matrices(matrices) => terminal::matrices(matrices, to, printer),
        }
    }
}

impl SimilarityMatrix {
    fn grid(&self) -> Grid<'_> {
        Grid::similarities(&self.texts, &self.matrix)
    }
}

/// The position of `score` in `range`, from 0 to 1.
fn share(score: f32, range: (f32, f32)) -> f32 {
    ((score - range.0) / (range.1 - range.0)).clamp(0.0, 1.0)
}

/// The colour of a share, from near white to dark blue: it darkens steadily, so that it also works
/// in greyscale.
fn colour(share: f32) -> [u8; 3] {
    let (light, dark) = ([247.0, 250.0, 252.0], [8.0, 64.0, 129.0]);
    std::array::from_fn(|i| (light[i] + (dark[i] - light[i]) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_clamped_to_the_ends_of_the_range() {
        assert_eq!(share(0.5, (0.25, 0.75)), 0.5);
        assert_eq!(share(1.0, (0.25, 0.75)), 1.0);
        assert_eq!(share(-1.0, (0.25, 0.75)), 0.0);
    }
}
