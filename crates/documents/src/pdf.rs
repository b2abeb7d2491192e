//! The text of a PDF file, page by page.

use crate::error::{Error, Result};
use crate::text::Text;
use serde_json::Map;

/// The text of the PDF file `content`; every page ends in a form feed. Meant for a process of its
/// own: the reader may panic, and nothing bounds its time and memory.
///
/// # Errors
///
/// [`Error::NoText`] if the file cannot be read or is encrypted.
pub fn text_of_pdf(content: &[u8]) -> Result<String> {
    let pages = pdf_extract::extract_text_from_mem_by_pages(content);
    let pages =
        pages.map_err(|error| Error::NoText(format!("it cannot be read as PDF: {error}")))?;
    Ok(pages.iter().map(|page| page.replace('\u{c}', " ") + "\u{c}").collect())
}

/// A text whose pages end in form feeds; each page is a section.
pub(crate) fn paged(text: String) -> Text {
    let ends = text.match_indices('\u{c}').map(|(at, feed)| at + feed.len());
    let mut pages: Vec<usize> = std::iter::once(0).chain(ends).collect();
    pages.retain(|&at| at < text.len());
    Text { pages: pages.clone(), ..Text::whole(text, pages, Map::new()) }
}

impl Text {
    /// The page at byte `at`, from 1, if the text has pages.
    pub fn page(&self, at: usize) -> Option<usize> {
        let before = self.pages.partition_point(|&start| start <= at);
        (before > 0).then_some(before)
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
        assert_eq!(Text::default().page(0), None);
    }

    #[test]
    fn what_is_no_pdf_is_refused() {
        assert!(text_of_pdf(b"no PDF").is_err());
    }
}
