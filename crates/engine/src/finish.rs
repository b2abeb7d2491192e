//! Mean states → vectors: cut to `dimensions` (done by pooling), then scaled to unit length.

use crate::embedded::Embedded;
use crate::input::Options;
use crate::request::{Prepared, Request};
use crate::schedule::RequestSums;

/// Lower bound of a norm, so that a zero vector stays zero.
const MIN_NORM: f32 = 1e-12;

/// How a mean state becomes a vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    /// Number of leading dimensions to keep, at least 1. Pooling sums no others.
    pub(crate) width: usize,
    normalized: bool,
}

impl Finish {
    /// For states of width `hidden`. The options must have been checked.
    pub(crate) fn new(options: &Options, hidden: usize) -> Self {
        Self { width: options.dimensions.unwrap_or(hidden), normalized: options.normalized }
    }
}

/// The results of a request whose passes have all run, one per input.
pub(crate) fn embedded(request: &Request, sums: RequestSums) -> Vec<Embedded> {
    let inputs = request.inputs.iter().zip(sums.means(request));
    inputs.map(|(input, [document, blank])| vectors(input, &document, &blank)).collect()
}

/// The result of one input. A span's vector is computed from its mean in `document`,
/// `[spans, width]`, or from `blank`, the empty text's, `[width]`, if the span has no token.
fn vectors(input: &Prepared, document: &[f32], blank: &[f32]) -> Embedded {
    let rows = input.document.spans.iter().zip(document.chunks_exact(input.finish.width));
    let vectors = rows.map(|(span, mean)| {
        let without_tokens = span.is_empty() && input.blank.is_some();
        let mean = if without_tokens { blank } else { mean };
        if input.finish.normalized { unit(mean) } else { mean.to_vec() }
    });
    Embedded {
        vectors: vectors.collect(),
        tokens: input.tokens(),
        truncated_tokens: input.truncated_tokens,
        windows: input.document.passes.len(),
    }
}

/// `mean`, scaled to unit length.
fn unit(mean: &[f32]) -> Vec<f32> {
    let norm = norm(mean).max(MIN_NORM);
    mean.iter().map(|x| x / norm).collect()
}

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_scaled_to_unit_length() {
        assert_eq!(unit(&[3.0, 4.0]), [0.6, 0.8]);
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        assert_eq!(unit(&[0.0, 0.0]), [0.0, 0.0]);
    }
}
