//! Reading XML as a series of tags and texts.

use crate::error::{Error, Result};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// A part of an XML file.
pub(super) enum XmlEvent<'a> {
    Open(Tag<'a>),
    /// The end of an element of this name.
    Close(String),
    Text(String),
}

/// The start of an element.
pub(super) struct Tag<'a>(BytesStart<'a>);

impl Tag<'_> {
    /// Its name without a prefix.
    pub(super) fn name(&self) -> String {
        self.0.local_name().as_ref().to_owned()
    }

    /// The value of an attribute, by its name without a prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.0.attributes();
        let mut attributes = attributes.with_checks(false).flatten();
        let found = attributes.find(|found| found.key.local_name().as_ref() == name);
        let value = found?.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some(value.into_owned())
    }

    /// The value of an attribute, by its name with its prefix.
    pub(super) fn attribute_with_prefix(&self, name: &str) -> Option<String> {
        let attribute = self.0.try_get_attribute(name).ok()??;
        Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
    }
}

/// The events of an XML text. An empty element is opened and closed.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    closing: Option<String>,
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { reader: Reader::from_str(text), closing: None }
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<XmlEvent<'a>>> {
        if let Some(name) = self.closing.take() {
            return Ok(Some(XmlEvent::Close(name)));
        }
        loop {
            let event = self.reader.read_event();
            let event =
                event.map_err(|error| Error::NoText(format!("its XML is broken: {error}")))?;
            return Ok(Some(match event {
                Event::Eof => return Ok(None),
                Event::Start(tag) => XmlEvent::Open(Tag(tag)),
                Event::Empty(tag) => {
                    let tag = Tag(tag);
                    self.closing = Some(tag.name());
                    XmlEvent::Open(tag)
                }
                Event::End(tag) => XmlEvent::Close(tag.local_name().as_ref().to_owned()),
                Event::Text(text) => {
                    XmlEvent::Text(text.xml_content(XmlVersion::Implicit1_0).into_owned())
                }
                Event::CData(text) => {
                    XmlEvent::Text(text.xml_content(XmlVersion::Implicit1_0).into_owned())
                }
                Event::GeneralRef(name) => {
                    let c = name.resolve_char_ref().ok().flatten();
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    let text = c.map(String::from).or_else(|| known.map(str::to_owned));
                    XmlEvent::Text(text.unwrap_or_default())
                }
                _ => continue,
            }));
        }
    }
}
