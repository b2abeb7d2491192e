//! Texts with pages, such as those of PDF files.

use crate::text::DocumentText;
use serde_json::Map;

/// A text whose pages end in form feeds; each page is a section.
pub(crate) fn paged(text: String) -> DocumentText {
    let ends = text.match_indices('\u{c}').map(|(at, feed)| at + feed.len());
    let mut pages: Vec<usize> = std::iter::once(0).chain(ends).collect();
    pages.retain(|&at| at < text.len());
    DocumentText { pages: pages.clone(), ..DocumentText::whole(text, pages, Map::new()) }
}

impl DocumentText {
    /// The page at byte `at`, from 1, if the text has pages.
    pub fn page(&self, at: usize) -> Option<usize> {
        let page = self.pages.partition_point(|&start| start <= at);
        (page > 0).then_some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_one() {
        let text = paged("one\u{c}two\u{c}".to_owned());
        assert_eq!(text.pages, [0, 4]);
        assert_eq!([0, 3, 4, 7].map(|at| text.page(at)), [1, 1, 2, 2].map(Some));
        assert_eq!(DocumentText::default().page(0), None);
    }
}
