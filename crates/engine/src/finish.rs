//! Mean states → vectors: cut to `dimensions`, then scale to unit length.

use crate::prepare::Prepared;
use crate::request::{Embedded, Options};

/// Norms below this count as this, so that a zero vector stays zero.
const SMALLEST_NORM: f32 = 1e-12;

/// The vectors of one input, from the mean states of its spans.
pub(crate) fn embedded(
    prepared: &Prepared,
    means: &mut impl Iterator<Item = Vec<f32>>,
    hidden: usize,
    options: &Options,
) -> Embedded {
    let document = means.next().unwrap_or_default();
    let blank = prepared.blank.as_ref().and_then(|_| means.next()).unwrap_or_default();
    let rows = prepared.document.spans.iter().zip(document.chunks_exact(hidden));
    let vectors = rows.map(|(span, mean)| {
        let without_tokens = span.is_empty() && prepared.blank.is_some();
        vector(if without_tokens { &blank } else { mean }, options)
    });
    Embedded {
        vectors: vectors.collect(),
        tokens: prepared.tokens(),
        truncated_tokens: prepared.truncated_tokens,
        windows: prepared.document.passes.len(),
    }
}

fn vector(mean: &[f32], options: &Options) -> Vec<f32> {
    let kept = options.dimensions.map_or(mean.len(), |dimensions| dimensions.min(mean.len()));
    let mut vector = mean[..kept].to_vec();
    if options.normalized {
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
        let options = Options { dimensions: Some(2), ..Options::default() };
        assert_eq!(vector(&[3.0, 4.0, 12.0], &options), [0.6, 0.8]);
        let options = Options { normalized: false, ..options };
        assert_eq!(vector(&[3.0, 4.0, 12.0], &options), [3.0, 4.0]);
    }

    #[test]
    fn a_zero_vector_stays_zero_and_is_similar_to_nothing() {
        assert_eq!(vector(&[0.0, 0.0], &Options::default()), [0.0, 0.0]);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }

    #[test]
    fn cosine_ignores_length() {
        assert!((cosine(&[1.0, 1.0], &[3.0, 3.0]) - 1.0).abs() < 1e-6);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
    }
}
