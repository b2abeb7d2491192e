//! Arithmetic on vectors: cosines, nearest neighbours.

use kokeshi_store::Document;

/// The vectors of all chunks of `documents`, in their order.
pub(crate) fn chunk_vectors(documents: &[Document]) -> impl Iterator<Item = &[f32]> {
    documents.iter().flat_map(|document| &document.chunks).map(|chunk| chunk.vector.as_slice())
}

/// The cosine of two vectors; 0 if one is zero.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
