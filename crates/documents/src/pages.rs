//! Texts with pages, such as those of PDF files.

use crate::text::DocumentText;
use serde_json::Map;

/// A text whose pages end in form feeds. Each page is a section, unless a sentence continues from
/// the page before.
pub(crate) fn paged(text: String) -> DocumentText {
    let ends = text.match_indices('\u{c}').map(|(at, feed)| at + feed.len());
    let mut pages: Vec<usize> = std::iter::once(0).chain(ends).collect();
    pages.retain(|&at| at < text.len());
    let sections = pages.iter().copied().filter(|&page| !continues(&text, page)).collect();
    let converted = true;
    DocumentText { pages, converted, ..DocumentText::whole(text, sections, Map::new()) }
}

/// Whether the last sentence before byte `at` continues after it: it has no end, and the text after
/// it begins with a small letter.
fn continues(text: &str, at: usize) -> bool {
    let last = text[..at].trim_end().chars().next_back();
    let next = text[at..].trim_start().chars().next();
    let is_open = |c: char| c.is_alphanumeric() || ",;-\u{ad}\u{2010}–—('’".contains(c);
    last.is_some_and(is_open) && next.is_some_and(char::is_lowercase)
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

    #[test]
    fn short_pages_are_chunks_of_their_own_unless_a_sentence_continues() {
        let slides = paged(
            "Tides\u{c}Harbours\n\u{c}Lights of\u{c}the coast\u{c}\u{c}Ships.\u{c}".to_owned(),
        );
        let chunks = crate::cut(&slides, 256).remove(0);
        let located =
            chunks.iter().map(|bytes| (slides.page(bytes.start), &slides.text[bytes.clone()]));
        let wanted = [
            (Some(1), "Tides"),
            (Some(2), "Harbours"),
            (Some(3), "Lights of\u{c}the coast"),
            (Some(6), "Ships."),
        ];
        assert_eq!(located.collect::<Vec<_>>(), wanted);
    }
}
