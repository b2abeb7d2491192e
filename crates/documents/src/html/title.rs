//! The title of a web page, which readers see above the page and not in it.

use super::table::tag;
use htmd::Node;
use markup5ever_rcdom::NodeData;
use std::rc::Rc;

const HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];

/// The title of the page `document` in one line, unless it has none or its first heading says the
/// same.
pub(super) fn title(document: &Rc<Node>) -> Option<String> {
    let head = child(&child(document, "html")?, "head")?;
    let title = text(&child(&head, "title")?);
    let is_heading = |node: &Rc<Node>| tag(node).is_some_and(|tag| HEADINGS.contains(&tag));
    let heading = Nodes(vec![Rc::clone(document)]).find(is_heading).map(|node| text(&node));
    let is_said = heading.is_some_and(|heading| heading.to_lowercase() == title.to_lowercase());
    (!title.is_empty() && !is_said).then_some(title)
}

fn child(node: &Rc<Node>, name: &str) -> Option<Rc<Node>> {
    node.children.borrow().iter().find(|child| tag(child) == Some(name)).cloned()
}

/// The text of an element with single spaces.
fn text(node: &Rc<Node>) -> String {
    let mut text = String::new();
    for node in Nodes(vec![Rc::clone(node)]) {
        if let NodeData::Text { contents } = &node.data {
            text.push_str(&contents.borrow());
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Nodes in the order of the page; a page may nest them deeper than the stack reaches.
struct Nodes(Vec<Rc<Node>>);

impl Iterator for Nodes {
    type Item = Rc<Node>;

    fn next(&mut self) -> Option<Rc<Node>> {
        let node = self.0.pop()?;
        self.0.extend(node.children.borrow().iter().rev().cloned());
        Some(node)
    }
}
