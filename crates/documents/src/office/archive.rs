//! The files in an archive, and how they refer to each other.

use super::xml::{Xml, XmlEvent};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Maximum size of a file in an archive, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// How files begin that office programs protect with a password, or wrote before 2007.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0";

/// An open archive.
pub(super) struct Archive<'a>(ZipArchive<Cursor<&'a [u8]>>);

impl<'a> Archive<'a> {
    pub(super) fn open(content: &'a [u8]) -> Result<Self> {
        if content.starts_with(COMPOUND) {
            let reason = "it is protected with a password, or in a format older than its name says";
            return Err(Error::NoText(reason.to_owned()));
        }
        let archive = ZipArchive::new(Cursor::new(content));
        archive.map(Self).map_err(|error| Error::NoText(format!("it is not an archive: {error}")))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.index_for_name(name).is_some()
    }

    /// The bytes of a file.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::NoText(format!("`{name}` in it cannot be read: {error}"))
        };
        let file = self.0.by_name(name).map_err(|error| failed(&error))?;
        let mut content = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut content);
        read.map_err(|error| failed(&error))?;
        if content.len() as u64 > MAX_FILE {
            return Err(failed(&format!("it is larger than {} MiB", MAX_FILE >> 20)));
        }
        Ok(content)
    }

    /// The text of an XML file.
    pub(super) fn text(&mut self, name: &str) -> Result<String> {
        crate::encoding::decode_html(&self.bytes(name)?).map(|decoded| decoded.text)
    }

    /// The targets of the relations of the Office Open XML part `name`, by their ids, with the last
    /// word of their types.
    pub(super) fn relations(&mut self, name: &str) -> Result<HashMap<String, (String, String)>> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let path = join(folder, &format!("_rels/{file}.rels"));
        let mut relations = HashMap::new();
        if !self.contains(&path) {
            return Ok(relations);
        }
        let text = self.text(&path)?;
        let mut xml = Xml::new(&text);
        while let Some(event) = xml.next()? {
            if let XmlEvent::Open(tag) = event
                && tag.name() == "Relationship"
                && let (Some(id), Some(target)) = (tag.attribute("Id"), tag.attribute("Target"))
            {
                let kind = tag.attribute("Type").unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                relations.insert(id, (kind, join(folder, &target)));
            }
        }
        Ok(relations)
    }

    /// The part that holds the content of an Office Open XML file.
    pub(super) fn main_part(&mut self, usual: &str) -> Result<String> {
        let relations = self.relations("")?;
        let found = relations.into_values().find(|(kind, _)| kind == "officeDocument");
        Ok(found.map_or_else(|| usual.to_owned(), |(_, target)| target))
    }
}

/// The path `target`, which is relative to `folder` unless it begins with `/`.
pub(super) fn join(folder: &str, target: &str) -> String {
    let target = match target.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{folder}/{target}"),
    };
    let mut parts = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
