//! The text of a web page in Markdown.

mod table;
mod title;

use crate::blobs::without_blobs;
use crate::encoding::decode_html;
use crate::error::{Error, Result};
use htmd::element_handler::{HandlerResult, Handlers};
use htmd::{Element, HtmlToMarkdown, Node};
use std::rc::Rc;

/// Elements whose content is not text for readers.
const SKIPPED: [&str; 8] =
    ["script", "style", "noscript", "template", "svg", "nav", "iframe", "head"];

/// The text of the web page `content` in Markdown, below its title as a heading. Run it in a separate process: nothing bounds
/// the memory that a hostile page takes.
///
/// # Errors
///
/// [`Error::NoText`] if the page cannot be read.
pub fn text_of_html(content: &[u8]) -> Result<String> {
    let page = decode_html(content)?.text;
    let (tree, text) = converted(&page)?;
    // A page without text is none, whatever its title says.
    match title::title(&tree).filter(|_| !text.trim().is_empty()) {
        Some(title) => Ok(format!("# {}\n\n{text}", without_blobs(&title))),
        None => Ok(text),
    }
}

/// The text of a decoded page without its title.
#[cfg(feature = "office")]
pub(crate) fn markdown(page: &str) -> Result<String> {
    Ok(converted(page)?.1)
}

/// The nodes of a page, and its text.
fn converted(page: &str) -> Result<(Rc<Node>, String)> {
    let converter = HtmlToMarkdown::builder()
        .skip_tags(SKIPPED.to_vec())
        .add_handler(vec!["table"], table::render)
        .add_handler(vec!["img"], image)
        .build();
    let tree = converter.html_to_tree(page);
    let tree = tree.map_err(|error| Error::NoText(format!("it is not a web page: {error}")))?;
    let text = without_blobs(&converter.tree_to_markdown(&tree)).into_owned();
    Ok((tree, text))
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
        let page = "<html><head><style>t</style></head><body><h1>Über</h1><script>x()</script>\
                    <p>One <b>two</b> &amp; three</p></body></html>";
        assert_eq!(text(page), "# Über\n\nOne **two** & three");
    }

    #[test]
    fn a_title_is_the_first_line_unless_the_first_heading_says_the_same() {
        let page = |head: &str, body: &str| text(&format!("<head>{head}</head><body>{body}"));
        assert_eq!(page("<title>Ebb &amp;\n flow</title>", "<p>One"), "# Ebb & flow\n\nOne");
        let other = page("<title>Tides</title>", "<p>One<h2>The moon</h2><p>Two");
        assert_eq!(other, "# Tides\n\nOne\n\n## The moon\n\nTwo");
        let same = page("<title>The  Tides</title>", "<nav>Home</nav><h1>the <i>tides</i></h1>One");
        assert_eq!(same, "# the *tides*\n\nOne");
        // The title of a drawing is not that of the page; a title alone is no text.
        assert_eq!(page("", "<svg><title>a circle</title></svg>One"), "One");
        assert_eq!(page("<title>App</title>", "<script>start()</script>"), "");
    }

    #[test]
    fn a_deeply_nested_page_has_a_title() {
        let depth = 300;
        let page = format!("<title>Deep</title>{}x", "<div>".repeat(depth));
        assert_eq!(text(&page), "# Deep\n\nx");
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
