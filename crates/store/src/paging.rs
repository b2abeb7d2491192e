//! All documents of a collection, a page at a time.

use crate::error::Result;
use crate::record::Entry;
use crate::traits::Source;

/// The pages of a collection's documents, in the order of the source. Ends after an error.
pub struct Pages<'a, S: ?Sized> {
    source: &'a S,
    collection: &'a str,
    /// The path of the last document returned; `None` after the last page.
    after: Option<String>,
    limit: usize,
}

/// The documents of `collection` after the path `after` (from the first if it is empty), in pages
/// of up to `limit`. No page is empty.
pub fn pages<'a, S: Source + ?Sized>(
    source: &'a S,
    collection: &'a str,
    after: &str,
    limit: usize,
) -> Pages<'a, S> {
    Pages { source, collection, after: Some(after.to_owned()), limit }
}

impl<S: Source + ?Sized> Iterator for Pages<'_, S> {
    type Item = Result<Vec<Entry>>;

    fn next(&mut self) -> Option<Self::Item> {
        let after = self.after.take()?;
        let page = match self.source.list_after(self.collection, &after, self.limit) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.after = Some(page.last()?.path.clone());
        Some(Ok(page))
    }
}
