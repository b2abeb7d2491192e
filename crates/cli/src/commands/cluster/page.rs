//! A web page with a map of the texts, which loads nothing from elsewhere.

use super::{Grouping, Map, Member, show};
use crate::view::svg;
use serde_json::{Value, json};
use std::path::Path;

const TEMPLATE: &str = include_str!("page.html");
/// Where the data go in the template.
const DATA: &str = r#"{"the":"data"}"#;
/// Characters of a text that the page shows.
const SHOWN: usize = 400;

pub(super) fn write(path: &Path, grouping: &Grouping, map: &Map) -> anyhow::Result<()> {
    svg::write(path, &TEMPLATE.replacen(DATA, &data(grouping, map), 1))
}

/// The data as JSON that cannot end the element it stands in.
fn data(grouping: &Grouping, map: &Map) -> String {
    let groups = grouping.groups.iter().map(
        |group| json!({ "name": group.name, "size": group.size, "silhouette": group.silhouette }),
    );
    let points = map.places.iter().map(|&(index, [x, y])| {
        let member = &grouping.texts[index];
        json!([x, y, member.group, shortened(&member.text), place(member), member.silhouette])
    });
    let (shown, all) = (map.places.len(), grouping.texts.len());
    let sample =
        if shown < all { format!("{shown} of {all} texts are drawn; ") } else { String::new() };
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

fn place(member: &Member) -> String {
    match member.line {
        Some(line) => format!("{}, line {line}", member.source),
        None => member.source.clone(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_one_place_for_data() {
        assert_eq!(TEMPLATE.matches(DATA).count(), 1);
        assert!(!TEMPLATE.contains("http"), "nothing is loaded from elsewhere");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("é"), "é");
        assert_eq!(shortened(&"é".repeat(SHOWN + 1)), "é".repeat(SHOWN) + "…");
    }
}
