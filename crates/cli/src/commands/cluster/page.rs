//! A web page with a map of the texts. It loads nothing from elsewhere.

use super::{Grouping, Map, Member, show};
use crate::printer::Printer;
use crate::view::svg;
use maud::{PreEscaped, html};
use serde_json::{Value, json};
use std::path::Path;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Maximum number of characters of a text on the page.
const TEXT_CHARS: usize = 400;

pub(super) fn write(
    path: &Path,
    grouping: &Grouping,
    map: &Map,
    printer: &Printer,
) -> anyhow::Result<()> {
    svg::write(path, &page(&data(grouping, map)), printer)
}

fn page(data: &str) -> String {
    let body = html! {
        header { h1 #summary {} span.soft #detail {} }
        div #map { canvas {} div #tip hidden {} }
        aside {
            input type="search" placeholder="Find in texts" aria-label="Find in texts";
            div #legend {}
            p.soft {
                "Click a group to see it alone, again to see all. Scroll to zoom, drag to move, "
                "double-click to start over."
            }
        }
        script type="application/json" id="data" { (PreEscaped(data)) }
        script { (PreEscaped(SCRIPT)) }
    };
    kokeshi_server::page("Groups of texts", STYLE, &body)
}

/// The data as JSON that cannot end the element that contains it.
fn data(grouping: &Grouping, map: &Map) -> String {
    let groups = grouping.groups.iter().map(
        |group| json!({ "name": group.name, "size": group.size, "silhouette": group.silhouette }),
    );
    let points = map.points.iter().map(|&(index, [x, y])| {
        let member = &grouping.texts[index];
        json!([x, y, member.group, shortened(&member.text), origin(member), member.silhouette])
    });
    let (drawn, all) = (map.points.len(), grouping.texts.len());
    let sample =
        if drawn < all { format!("{drawn} of {all} texts are drawn; ") } else { String::new() };
    let data = json!({
        "summary": show::summary(grouping),
        "detail": format!(
            "{sample}{}; model {}, task {}",
            map.axes,
            grouping.model,
            grouping.task.as_deref().unwrap_or("none")
        ),
        "groups": groups.collect::<Vec<Value>>(),
        "points": points.collect::<Vec<Value>>(),
    });
    data.to_string().replace('<', "\\u003c")
}

fn origin(member: &Member) -> String {
    match member.line {
        Some(line) => format!("{}, line {line}", member.source),
        None => member.source.clone(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = page("{}");
        assert!(!page.contains("http") && !page.contains("src="), "{page}");
    }

    #[test]
    fn data_cannot_end_their_element() {
        let member = Member {
            index: 0,
            source: "</script>".to_owned(),
            line: Some(1),
            group: 0,
            silhouette: 0.5,
            cosine: 1.0,
            text: "</script><script>".to_owned(),
        };
        let grouping = Grouping {
            model: "m".to_owned(),
            task: None,
            silhouette: 0.5,
            tried: Vec::new(),
            groups: Vec::new(),
            texts: vec![member],
        };
        let map = Map { points: vec![(0, [0.0, 1.0])], axes: "<axes>".to_owned() };
        assert!(!data(&grouping, &map).contains('<'));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("é"), "é");
        assert_eq!(shortened(&"é".repeat(TEXT_CHARS + 1)), "é".repeat(TEXT_CHARS) + "…");
    }
}
