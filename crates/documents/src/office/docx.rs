//! Word processor documents in Office Open XML.

use super::archive::{Archive, join};
use super::blocks::Blocks;
use super::xml::{Tag, Xml, XmlEvent};
use crate::error::Result;
use std::collections::HashMap;

/// The levels of headings, by the ids of their styles.
type Levels = HashMap<String, usize>;

pub(super) fn text(archive: &mut Archive<'_>) -> Result<String> {
    let main = archive.main_part("word/document.xml")?;
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let styles = join(folder, "styles.xml");
    let levels = match archive.contains(&styles) {
        true => levels(&archive.text(&styles)?)?,
        false => Levels::new(),
    };
    let mut text = part(&archive.text(&main)?, &levels)?;
    for notes in ["footnotes.xml", "endnotes.xml"].map(|name| join(folder, name)) {
        if archive.contains(&notes) {
            text += &part(&archive.text(&notes)?, &levels)?;
        }
    }
    Ok(text)
}

/// The levels of the styles that are called `heading 1` and so on, in every language.
fn levels(styles: &str) -> Result<Levels> {
    let (mut levels, mut style) = (Levels::new(), None);
    let mut xml = Xml::new(styles);
    while let Some(event) = xml.next()? {
        let XmlEvent::Open(tag) = event else { continue };
        match tag.name().as_str() {
            "style" => style = tag.attribute("styleId"),
            "name" => {
                let name = tag.attribute("val").unwrap_or_default().to_ascii_lowercase();
                let level = match name.strip_prefix("heading ") {
                    Some(level) => level.parse().ok(),
                    None => (name == "title").then_some(1),
                };
                if let (Some(style), Some(level)) = (style.take(), level) {
                    levels.insert(style, level);
                }
            }
            _ => {}
        }
    }
    Ok(levels)
}

/// The Markdown of a document, its notes, or a slide, whose elements have the same names.
pub(super) fn part(content: &str, levels: &Levels) -> Result<String> {
    let (mut blocks, mut xml) = (Blocks::default(), Xml::new(content));
    let (mut in_text, mut fallback) = (false, 0_usize);
    while let Some(event) = xml.next()? {
        match event {
            // What newer programs show otherwise is there twice.
            XmlEvent::Open(tag) if tag.name() == "Fallback" => fallback += 1,
            XmlEvent::Close(name) if name == "Fallback" => fallback = fallback.saturating_sub(1),
            _ if fallback > 0 => {}
            XmlEvent::Open(tag) => {
                in_text = tag.name() == "t";
                open(&mut blocks, &tag, levels);
            }
            XmlEvent::Text(text) if in_text => blocks.add(&text),
            XmlEvent::Text(_) => {}
            XmlEvent::Close(name) => {
                in_text = false;
                match name.as_str() {
                    "p" => blocks.end_paragraph(),
                    "tc" => blocks.end_cell(),
                    "tr" => blocks.end_row(),
                    _ => {}
                }
            }
        }
    }
    Ok(blocks.into_text())
}

fn open(blocks: &mut Blocks, tag: &Tag<'_>, levels: &Levels) {
    let level = |style: String| {
        let usual = style.strip_prefix("Heading").and_then(|level| level.parse().ok());
        levels.get(&style).copied().or(usual)
    };
    match tag.name().as_str() {
        "p" => blocks.begin_paragraph(),
        "tr" => blocks.begin_row(),
        "tc" => blocks.begin_cell(),
        "tab" => blocks.add("\t"),
        "br" | "cr" => blocks.add("\n"),
        "noBreakHyphen" => blocks.add("-"),
        "pStyle" => {
            if let Some(level) = tag.attribute("val").and_then(level) {
                blocks.heading(level);
            }
        }
        "numPr" => blocks.item(),
        _ => {}
    }
}
