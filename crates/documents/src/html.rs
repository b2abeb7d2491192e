//! The text of a web page in Markdown.

use crate::error::{Error, Result};
use htmd::HtmlToMarkdown;

/// Elements whose content is not text for readers.
const SKIPPED: [&str; 8] =
    ["script", "style", "noscript", "template", "svg", "nav", "iframe", "head"];

/// The text of the web page `content` in Markdown. Run it in a separate process: nothing bounds
/// the memory that a hostile page takes.
///
/// # Errors
///
/// [`Error::NoText`] if the page cannot be read.
pub fn text_of_html(content: &[u8]) -> Result<String> {
    let page = String::from_utf8_lossy(content);
    let converter = HtmlToMarkdown::builder().skip_tags(SKIPPED.to_vec()).build();
    converter
        .convert(&page)
        .map_err(|error| Error::NoText(format!("it is not a web page: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_text_are_kept_and_scripts_are_dropped() {
        let page = "<html><head><title>t</title></head><body><h1>Über</h1><script>x()</script>\
                    <p>One <b>two</b> &amp; three</p></body></html>";
        let text = text_of_html(page.as_bytes()).expect("a text");
        assert_eq!(text.trim(), "# Über\n\nOne **two** & three");
    }
}
