//! Tables of web pages. Every cell is kept, whatever the table is made of: rows are lines with `|`
//! between their cells. A table that only arranges a page is the text of its cells, one after
//! another.

use htmd::element_handler::{HandlerResult, Handlers};
use htmd::{Element, Node};
use markup5ever_rcdom::NodeData;
use std::rc::Rc;

/// Maximum number of columns or rows that a cell spans, as in browsers.
const MAX_SPAN: usize = 1000;

/// Elements that are not in tables of data.
const LAYOUT: [&str; 9] = ["table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote"];
/// Maximum length of a cell in a table of data, in bytes.
const MAX_CELL: usize = 1000;
/// Maximum length of a cell that is repeated in the rows that it spans, in bytes.
const MAX_REPEATED: usize = 100;

/// A row and whether it is a heading of the table's columns.
struct Row {
    cells: Vec<Cell>,
    is_heading: bool,
}

struct Cell {
    text: String,
    columns: usize,
    rows: usize,
}

/// The Markdown of a table.
pub(super) fn render(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let mut found = Found::default();
    collect(element.node, false, &mut found);
    let text = |node: &Rc<Node>| handlers.walk_children(node).content;
    let mut blocks: Vec<String> = found.captions.iter().map(text).collect();
    let row = |(row, in_head): &(Rc<Node>, bool)| read_row(row, *in_head, &text);
    let rows: Vec<Row> = found.rows.iter().map(row).collect();
    let is_long = rows.iter().flat_map(|row| &row.cells).any(|cell| cell.text.len() > MAX_CELL);
    if is_long || found.rows.iter().any(|(row, _)| is_layout(row)) {
        let cells = found.rows.iter().flat_map(|(row, _)| cells(row));
        blocks.extend(cells.map(|cell| text(&cell)));
    } else {
        blocks.push(lines(&rows));
    }
    let blocks = blocks.iter().map(|block| block.trim()).filter(|block| !block.is_empty());
    let blocks = blocks.collect::<Vec<_>>().join("\n\n");
    Some(format!("\n\n{blocks}\n\n").into())
}

/// What a table consists of, without the tables in its cells.
#[derive(Default)]
struct Found {
    captions: Vec<Rc<Node>>,
    /// Rows, and whether they are in the table's head.
    rows: Vec<(Rc<Node>, bool)>,
}

fn collect(node: &Rc<Node>, in_head: bool, found: &mut Found) {
    for child in node.children.borrow().iter() {
        match tag(child) {
            Some("caption") => found.captions.push(Rc::clone(child)),
            Some("tr") => found.rows.push((Rc::clone(child), in_head)),
            Some("thead") => collect(child, true, found),
            Some("tbody" | "tfoot") => collect(child, false, found),
            _ => {}
        }
    }
}

pub(super) fn tag(node: &Node) -> Option<&str> {
    match &node.data {
        NodeData::Element { name, .. } => Some(&name.local),
        _ => None,
    }
}

fn cells(row: &Rc<Node>) -> Vec<Rc<Node>> {
    let children = row.children.borrow();
    children.iter().filter(|child| matches!(tag(child), Some("td" | "th"))).cloned().collect()
}

/// Whether a row contains elements that are not in tables of data.
fn is_layout(node: &Rc<Node>) -> bool {
    let children = node.children.borrow();
    let is_layout_tag = |child: &Rc<Node>| tag(child).is_some_and(|tag| LAYOUT.contains(&tag));
    children.iter().any(|child| is_layout_tag(child) || is_layout(child))
}

fn read_row(row: &Rc<Node>, in_head: bool, text: &impl Fn(&Rc<Node>) -> String) -> Row {
    let nodes = cells(row);
    let is_heading = in_head || nodes.iter().all(|cell| tag(cell) == Some("th"));
    let cell = |node: &Rc<Node>| Cell {
        text: text(node).split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"),
        columns: span(node, "colspan"),
        rows: span(node, "rowspan"),
    };
    Row { cells: nodes.iter().map(cell).collect(), is_heading }
}

fn span(node: &Node, attribute: &str) -> usize {
    let NodeData::Element { attrs, .. } = &node.data else { return 1 };
    let attrs = attrs.borrow();
    let value = attrs.iter().find(|attr| &*attr.name.local == attribute);
    let value = value.and_then(|attr| attr.value.trim().parse::<usize>().ok());
    value.unwrap_or(1).clamp(1, MAX_SPAN)
}

/// One line for each row. A cell that spans several rows is repeated in each, so that a line can be
/// understood alone, if it is short; one that spans columns leaves the others empty.
fn lines(rows: &[Row]) -> String {
    let mut lines = String::new();
    // For each column, the text of a cell above and the number of rows that it still covers.
    let mut above: Vec<(String, usize)> = Vec::new();
    let columns = rows.iter().map(|row| row.cells.iter().map(|cell| cell.columns).sum::<usize>());
    let columns = columns.max().unwrap_or(0);
    for (number, row) in rows.iter().enumerate() {
        let line = fill(row, &mut above);
        if line.iter().all(String::is_empty) {
            continue;
        }
        lines += &format!("| {} |\n", line.join(" | "));
        let starts_table = number == 0 && row.is_heading && rows.len() > 1;
        if starts_table {
            lines += &format!("|{}\n", " --- |".repeat(columns.max(line.len())));
        }
    }
    lines
}

/// The cells of a row, with those of rows above that reach into it.
fn fill(row: &Row, above: &mut Vec<(String, usize)>) -> Vec<String> {
    let (mut line, mut cells) = (Vec::new(), row.cells.iter());
    loop {
        let at = line.len();
        if let Some((text, rows)) = above.get_mut(at).filter(|(_, rows)| *rows > 0) {
            *rows -= 1;
            line.push(text.clone());
            continue;
        }
        let Some(cell) = cells.next() else { break };
        for column in at..at + cell.columns {
            let text = if column == at { cell.text.clone() } else { String::new() };
            line.push(text.clone());
            if above.len() <= column {
                above.resize(column + 1, (String::new(), 0));
            }
            let repeated = if text.len() > MAX_REPEATED { String::new() } else { text };
            above[column] = (repeated, cell.rows - 1);
        }
    }
    let kept = line.iter().rposition(|text| !text.is_empty()).map_or(0, |last| last + 1);
    line.truncate(kept);
    line
}

#[cfg(test)]
mod tests {
    use crate::html::text_of_html;

    fn text(page: &str) -> String {
        text_of_html(page.as_bytes()).expect("a text").trim().to_owned()
    }

    #[test]
    fn headings_beside_values_are_kept_with_them() {
        let page = "<table><tr><th>Born</th><td>1871 in Kiel</td></tr>\
                    <tr><th>Died</th><td>1950</td></tr></table>";
        assert_eq!(text(page), "| Born | 1871 in Kiel |\n| Died | 1950 |");
    }

    #[test]
    fn heads_bodies_feet_and_captions_are_kept_in_any_mixture() {
        let head = "<thead><tr><th>A</th><td>B</td></tr><tr><td>a</td><th>b</th></tr></thead>";
        let body = "<tr><td>1</td><th>2</th></tr><tbody><tr><td>3</td><td>4</td></tr></tbody>";
        let foot = "<tfoot><tr><td>5</td><td>6</td></tr></tfoot>";
        let page = format!("<table><caption>T</caption>{head}{body}{foot}</table>");
        let rows = "| A | B |\n| --- | --- |\n| a | b |\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |";
        assert_eq!(text(&page), format!("T\n\n{rows}"));
    }

    #[test]
    fn a_first_row_of_headings_alone_is_the_head() {
        let page = "<table><tr><th>x</th><th>y</th></tr><tr><td>1</td><td>a|b</td></tr></table>";
        assert_eq!(text(page), "| x | y |\n| --- | --- |\n| 1 | a\\|b |");
    }

    #[test]
    fn spanning_cells_keep_the_columns_in_line() {
        let page = "<table><tr><td rowspan=2>North</td><td>1</td></tr><tr><td>2</td></tr>\
                    <tr><td colspan=2>both</td><td>3</td></tr></table>";
        assert_eq!(text(page), "| North | 1 |\n| North | 2 |\n| both |  | 3 |");
    }

    #[test]
    fn a_table_in_a_table_is_a_table_of_its_own() {
        let page = "<table><tr><td><p>Left</p></td><td><table><tr><td>a</td><td>b</td></tr>\
                    <tr><th>c</th><td>d</td></tr></table></td></tr></table>";
        assert_eq!(text(page), "Left\n\n| a | b |\n| c | d |");
    }

    #[test]
    fn a_table_that_arranges_a_page_is_its_text() {
        let long = vec!["Words."; 200].join(" ");
        let page = format!(
            "<table><tr><td><h1>Head</h1><p>One</p><p>Two</p></td><td>side</td></tr></table>\
             <table><tr><td><p>{long}</p><p>end</p></td></tr></table>"
        );
        let wanted = format!("# Head\n\nOne\n\nTwo\n\nside\n\n{long}\n\nend");
        assert_eq!(text(&page), wanted);
    }

    #[test]
    fn hostile_spans_are_bounded() {
        let page = "<table><tr><td colspan=4000000000 rowspan=99999999999999999999>x</td>\
                    <td colspan=0 rowspan=-1>y</td></tr></table>";
        let text = text(page);
        assert!(text.starts_with("| x |") && text.ends_with("| y |") && text.len() < 4000);
    }
}
