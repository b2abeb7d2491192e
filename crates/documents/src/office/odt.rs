//! Word processor documents in OpenDocument.

use super::archive::Archive;
use super::blocks::Blocks;
use super::xml::{Tag, Xml, XmlEvent};
use crate::error::{Error, Result};

/// Elements whose text readers do not see in the document.
const HIDDEN: [&str; 3] = ["annotation", "tracked-changes", "forms"];

pub(super) fn text(archive: &mut Archive<'_>) -> Result<String> {
    let manifest = "META-INF/manifest.xml";
    if archive.contains(manifest) && archive.text(manifest)?.contains("encryption-data") {
        return Err(Error::NoText("it is protected with a password".to_owned()));
    }
    markdown(&archive.text("content.xml")?)
}

fn markdown(content: &str) -> Result<String> {
    let (mut blocks, mut xml) = (Blocks::default(), Xml::new(content));
    let (mut hidden, mut items) = (0_usize, 0_usize);
    while let Some(event) = xml.next()? {
        match event {
            XmlEvent::Open(tag) if HIDDEN.contains(&tag.name().as_str()) => hidden += 1,
            XmlEvent::Close(name) if HIDDEN.contains(&name.as_str()) => {
                hidden = hidden.saturating_sub(1);
            }
            _ if hidden > 0 => {}
            XmlEvent::Open(tag) => {
                items += usize::from(tag.name() == "list-item");
                open(&mut blocks, &tag, items > 0);
            }
            // Line breaks of the file are white space.
            XmlEvent::Text(text) => blocks.add(&text.replace(['\n', '\t'], " ")),
            XmlEvent::Close(name) => match name.as_str() {
                "p" | "h" => blocks.end_paragraph(),
                "list-item" => items = items.saturating_sub(1),
                "table-cell" => blocks.end_cell(),
                "table-row" => blocks.end_row(),
                _ => {}
            },
        }
    }
    Ok(blocks.into_text())
}

fn open(blocks: &mut Blocks, tag: &Tag<'_>, in_list: bool) {
    match tag.name().as_str() {
        "p" => {
            blocks.begin_paragraph();
            if in_list {
                blocks.item();
            }
        }
        "h" => {
            let level = tag.attribute("outline-level").and_then(|level| level.parse().ok());
            blocks.begin_paragraph();
            blocks.heading(level.unwrap_or(1));
        }
        "table-row" => blocks.begin_row(),
        "table-cell" => blocks.begin_cell(),
        "s" => blocks.add(" "),
        "tab" => blocks.add("\t"),
        "line-break" => blocks.add("\n"),
        _ => {}
    }
}
