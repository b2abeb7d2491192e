//! The text of a web page in Markdown.

mod table;

use crate::blobs::without_blobs;
use crate::encoding::decode_html;
use crate::error::{Error, Result};
use htmd::element_handler::{HandlerResult, Handlers};
use htmd::{Element, HtmlToMarkdown};

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
    markdown(&decode_html(content)?.text)
}

/// The text of a decoded page.
pub(crate) fn markdown(page: &str) -> Result<String> {
    let converter = HtmlToMarkdown::builder()
        .skip_tags(SKIPPED.to_vec())
        .add_handler(vec!["table"], table::render)
        .add_handler(vec!["img"], image)
        .build();
    let text = converter.convert(page);
    let text = text.map_err(|error| Error::NoText(format!("it is not a web page: {error}")))?;
    Ok(without_blobs(&text).into_owned())
}

/// An image that is part of the page is its alternative text.
fn image(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let attribute = |name: &str| {
        let mut attributes = element.attrs.iter();
        let found = attributes.find(|attribute| &*attribute.name.local == name);
        found.map(|attribute| attribute.value.to_string())
    };
    match attribute("src") {
        Some(source) if !source.trim_start().starts_with("data:") => handlers.fallback(element),
        _ => attribute("alt").map(HandlerResult::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &str) -> String {
        text_of_html(page.as_bytes()).expect("a text").trim().to_owned()
    }

    #[test]
    fn headings_and_text_are_kept_and_scripts_are_dropped() {
        let page = "<html><head><title>t</title></head><body><h1>Über</h1><script>x()</script>\
                    <p>One <b>two</b> &amp; three</p></body></html>";
        assert_eq!(text(page), "# Über\n\nOne **two** & three");
    }

    #[test]
    fn an_inline_image_is_its_alternative_text() {
        let page = "<p>See <img alt='the harbour' src='data:image/png;base64,iVBORw0KGgo='> and \
                    <img alt='a map' src='map.png'>.</p><img src='data:image/gif;base64,R0lGOD'>";
        assert_eq!(text(page), "See the harbour and ![a map](map.png).");
    }

    #[test]
    fn a_page_in_another_encoding_is_read() {
        let page = b"<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2</p>";
        assert_eq!(text_of_html(page).expect("a text").trim(), "Привет");
    }
}
