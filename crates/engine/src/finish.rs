//! Mean states → vectors: cut to `dimensions`, which pooling does, then scale to unit length.

use crate::prepare::{Prepared, Request};
use crate::request::{Embedded, Options};
use crate::schedule::Sums;

/// Norms below this count as this, so that a zero vector stays zero.
const SMALLEST_NORM: f32 = 1e-12;

/// What is made of a mean state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    /// Leading dimensions that are kept, at least 1. Pooling sums no others.
    pub(crate) width: usize,
    normalized: bool,
}

impl Finish {
    /// Of states of `hidden` numbers. The options were checked.
    pub(crate) fn new(options: &Options, hidden: usize) -> Self {
        Self { width: options.dimensions.unwrap_or(hidden), normalized: options.normalized }
    }
}

/// The vectors of every input of a request whose passes have all run.
pub(crate) fn embedded(request: &Request, sums: Sums) -> Vec<Embedded> {
    let inputs = request.inputs.iter().zip(sums.means(request));
    inputs.map(|(input, [document, blank])| vectors(input, &document, &blank)).collect()
}

/// The vectors of one input: of the spans of its document, or of the empty text where a span has no
/// token. `document` is `[spans, width]`.
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
    let norm = norm(mean).max(SMALLEST_NORM);
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
