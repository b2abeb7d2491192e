//! The vectors of documents.

use kokeshi_store::Document;

/// The vectors of all chunks of `documents`, in their order.
pub(crate) fn chunk_vectors(documents: &[Document]) -> impl Iterator<Item = &[f32]> {
    documents.iter().flat_map(|document| &document.chunks).map(|chunk| chunk.vector.as_slice())
}
