//! Similarities as data, in the terminal and as pictures.

pub(crate) mod svg;
mod terminal;

use crate::printer::Printer;
use serde::Serialize;
use std::io::{self, Write};

/// A result of `kokeshi similarity`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum View {
    Ranking(Ranking),
    Matrix(Matrix),
}

/// Texts by their similarity to a query.
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

/// Texts by their similarity to each other.
#[derive(Debug, Serialize)]
pub(crate) struct Matrix {
    pub(crate) model: String,
    pub(crate) texts: Vec<String>,
    /// Cosine similarities, [texts, texts].
    pub(crate) matrix: Vec<Vec<f32>>,
}

impl View {
    /// Prints it for people.
    pub(crate) fn print(&self, to: &mut dyn Write, printer: &Printer) -> io::Result<()> {
        match self {
            Self::Ranking(ranking) => terminal::ranking(ranking, to, printer),
            Self::Matrix(matrix) => terminal::matrix(matrix, to, printer),
        }
    }
}

impl Matrix {
    /// Lowest and highest similarity of two different texts: what shades are spread over, since
    /// every text's similarity to itself is 1.
    fn range(&self) -> (f32, f32) {
        let others = self.matrix.iter().enumerate().flat_map(|(i, row)| {
            row.iter().enumerate().filter(move |&(j, _)| i != j).map(|(_, &score)| score)
        });
        let (low, high) = others.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
        if low < high { (low, high) } else { (0.0, 1.0) }
    }
}

/// Where `score` lies between the ends of `range`, from 0 to 1.
fn share(score: f32, range: (f32, f32)) -> f32 {
    ((score - range.0) / (range.1 - range.0)).clamp(0.0, 1.0)
}

/// The colour of a share: from near white to dark blue, ever darker, so that it also reads in grey.
fn colour(share: f32) -> [u8; 3] {
    let (light, dark) = ([247.0, 250.0, 252.0], [8.0, 64.0, 129.0]);
    std::array::from_fn(|i| (light[i] + (dark[i] - light[i]) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_spread_over_the_similarities_of_different_texts() {
        let matrix = |score: f32| Matrix {
            model: String::new(),
            texts: vec![String::new(); 3],
            matrix: vec![vec![1.0, 0.2, score], vec![0.2, 1.0, 0.4], vec![score, 0.4, 1.0]],
        };
        assert_eq!(matrix(0.6).range(), (0.2, 0.6));
        assert_eq!(share(0.5, (0.25, 0.75)), 0.5);
        assert_eq!(share(1.0, (0.25, 0.75)), 1.0);
        let alone =
            Matrix { model: String::new(), texts: vec![String::new()], matrix: vec![vec![1.0]] };
        assert_eq!(alone.range(), (0.0, 1.0));
    }
}
