//! E-books: web pages in the order of the book.

use super::archive::{Archive, join};
use super::xml::{Xml, XmlEvent};
use crate::encoding::decode_html;
use crate::error::{Error, Result};
use crate::html::markdown;
use std::collections::HashMap;

pub(super) fn text(archive: &mut Archive<'_>) -> Result<String> {
    let package = package(&archive.text("META-INF/container.xml")?)?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut text = String::new();
    for chapter in chapters(&archive.text(&package)?)? {
        let name = join(&folder, &unescaped(&chapter));
        let page = decode_html(&archive.bytes(&name)?).map_err(|error| {
            Error::NoText(format!("`{name}` in it cannot be read ({error}); it may be encrypted"))
        })?;
        text += markdown(&page.text)?.trim();
        text += "\n\n";
    }
    Ok(text)
}

/// The path of the file that lists the book's parts.
fn package(container: &str) -> Result<String> {
    let mut xml = Xml::new(container);
    while let Some(event) = xml.next()? {
        if let XmlEvent::Open(tag) = event
            && tag.name() == "rootfile"
            && let Some(path) = tag.attribute("full-path")
        {
            return Ok(path);
        }
    }
    Err(Error::NoText("it does not name its parts".to_owned()))
}

/// The addresses of the chapters, in order.
fn chapters(package: &str) -> Result<Vec<String>> {
    let (mut items, mut order) = (HashMap::new(), Vec::new());
    let mut xml = Xml::new(package);
    while let Some(event) = xml.next()? {
        let XmlEvent::Open(tag) = event else { continue };
        match tag.name().as_str() {
            "item" => {
                let kind = tag.attribute("media-type").unwrap_or_default();
                if let (Some(id), Some(path), true) =
                    (tag.attribute("id"), tag.attribute("href"), kind.contains("html"))
                {
                    items.insert(id, path);
                }
            }
            "itemref" => order.extend(tag.attribute("idref")),
            _ => {}
        }
    }
    Ok(order.iter().filter_map(|id| items.remove(id)).collect())
}

/// An address without `%20` and the like, and without `#…`.
fn unescaped(address: &str) -> String {
    let address = address.split('#').next().unwrap_or_default().as_bytes();
    let (mut bytes, mut at) = (Vec::with_capacity(address.len()), 0);
    while at < address.len() {
        let digits = address.get(at + 1..at + 3).and_then(|digits| str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (address[at], escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                at += 3;
            }
            (byte, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
