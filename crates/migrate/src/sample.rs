//! A sample of a collection's documents.

use crate::error::Result;
use kokeshi_store::{Document, Source, pages};

/// Number of documents that are listed at a time.
const PAGE: usize = 4096;

/// About `size` documents of `collection` that have chunks, at equal intervals in the order of the
/// source: the same ones every time.
///
/// # Errors
///
/// If the store fails.
pub fn sample(store: &dyn Source, collection: &str, size: usize) -> Result<Vec<Document>> {
    let total = store.count(collection)?.documents;
    let step = total.div_ceil(size.max(1)).max(1);
    let (mut paths, mut seen) = (Vec::new(), 0);
    for page in pages(store, collection, "", PAGE) {
        for entry in page?.into_iter().filter(|entry| entry.chunks > 0) {
            if seen % step == 0 {
                paths.push(entry.path);
            }
            seen += 1;
        }
    }
    let mut documents = store.documents(collection, &paths)?;
    documents.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(documents)
}
