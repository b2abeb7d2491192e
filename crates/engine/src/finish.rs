//! Mean states → vectors: cut to `dimensions`, then scale to unit length.

use crate::prepare::{Prepared, Request};
use crate::request::{Embedded, Options};
use crate::schedule::Sums;

/// Norms below this count as this, so that a zero vector stays zero.
const SMALLEST_NORM: f32 = 1e-12;

/// What is made of a mean state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    /// Leading dimensions that are kept; `None` keeps all.
    dimensions: Option<usize>,
    normalized: bool,
}

impl From<&Options> for Finish {
    fn from(options: &Options) -> Self {
        Self { dimensions: options.dimensions, normalized: options.normalized }
    }
}

/// The vectors of every input of a request whose passes have all run.
pub(crate) fn embedded(request: &Request, sums: Sums) -> Vec<Embedded> {
    let inputs = request.inputs.iter().zip(sums.means(request));
    inputs.map(|(input, [document, blank])| vectors(input, &document, &blank)).collect()
}

/// The vectors of one input: of the spans of its document, or of the empty text where a span has no
/// token. `document` is `[spans, hidden]`.
fn vectors(input: &Prepared, document: &[f32], blank: &[f32]) -> Embedded {
    let hidden = (document.len() / input.document.spans.len().max(1)).max(1);
    let rows = input.document.spans.iter().zip(document.chunks_exact(hidden));
    let vectors = rows.map(|(span, mean)| {
        let without_tokens = span.is_empty() && input.blank.is_some();
        vector(if without_tokens { blank } else { mean }, input.finish)
    });
    Embedded {
        vectors: vectors.collect(),
        tokens: input.tokens(),
        truncated_tokens: input.truncated_tokens,
        windows: input.document.passes.len(),
    }
}

fn vector(mean: &[f32], finish: Finish) -> Vec<f32> {
    let kept = finish.dimensions.map_or(mean.len(), |dimensions| dimensions.min(mean.len()));
    let mut vector = mean[..kept].to_vec();
    if finish.normalized {
        let norm = norm(&vector).max(SMALLEST_NORM);
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    vector
}

/// Cosine similarity of two vectors of one length; 0 if one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    dot / (norm(a) * norm(b)).max(SMALLEST_NORM)
}

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_cut_before_the_vector_is_scaled() {
        let finish = Finish { dimensions: Some(2), normalized: true };
        assert_eq!(vector(&[3.0, 4.0, 12.0], finish), [0.6, 0.8]);
        let finish = Finish { normalized: false, ..finish };
        assert_eq!(vector(&[3.0, 4.0, 12.0], finish), [3.0, 4.0]);
    }

    #[test]
    fn a_zero_vector_stays_zero_and_is_similar_to_nothing() {
        assert_eq!(vector(&[0.0, 0.0], Finish::from(&Options::default())), [0.0, 0.0]);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }

    #[test]
    fn cosine_ignores_length() {
        assert!((cosine(&[1.0, 1.0], &[3.0, 3.0]) - 1.0).abs() < 1e-6);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
    }
}
