//! Slides in Office Open XML, with the speaker's notes.

use super::archive::Archive;
use super::docx;
use super::xml::{Xml, XmlEvent};
use crate::error::Result;
use std::collections::HashMap;

pub(super) fn text(archive: &mut Archive<'_>) -> Result<String> {
    let main = archive.main_part("ppt/presentation.xml")?;
    let relations = archive.relations(&main)?;
    let mut text = String::new();
    for id in slides(&archive.text(&main)?)? {
        let Some((_, slide)) = relations.get(&id) else { continue };
        text += &page(archive, slide)?;
        text.push('\u{c}');
    }
    Ok(text)
}

/// The relations of the slides, in the order in which they are shown.
fn slides(presentation: &str) -> Result<Vec<String>> {
    let (mut ids, mut xml) = (Vec::new(), Xml::new(presentation));
    while let Some(event) = xml.next()? {
        if let XmlEvent::Open(tag) = event
            && tag.name() == "sldId"
        {
            ids.extend(tag.attribute_with_prefix("r:id"));
        }
    }
    Ok(ids)
}

fn page(archive: &mut Archive<'_>, slide: &str) -> Result<String> {
    let levels = HashMap::new();
    let mut text = docx::part(&archive.text(slide)?, &levels)?;
    let relations = archive.relations(slide)?;
    if let Some((_, notes)) = relations.values().find(|(kind, _)| kind == "notesSlide") {
        text += &docx::part(&archive.text(notes)?, &levels)?;
    }
    Ok(text.replace('\u{c}', " "))
}
