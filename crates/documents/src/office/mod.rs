//! The text of office documents and e-books: archives of XML files.

#[cfg(feature = "office")]
mod archive;
#[cfg(feature = "office")]
mod blocks;
#[cfg(feature = "office")]
mod docx;
#[cfg(feature = "office")]
mod epub;
#[cfg(feature = "office")]
mod odt;
#[cfg(feature = "office")]
mod pptx;
#[cfg(all(test, feature = "office"))]
mod tests;
#[cfg(feature = "office")]
mod xml;

#[cfg(not(feature = "office"))]
use crate::error::Error;
use crate::error::Result;
use crate::format::Format;

/// The text of the file `content`: Markdown, or the text of slides, each of which ends in a form
/// feed. Run it in a separate process: an archive may be much larger than its file.
///
/// # Errors
///
/// [`Error::NoText`](crate::Error::NoText) if the file does not have `format`, which must be
/// [`Format::Docx`], [`Format::Odt`], [`Format::Pptx`] or [`Format::Epub`];
/// [`Error::MissingFeature`](crate::Error::MissingFeature) in a build without the feature `office`.
pub fn text_of_office(format: Format, content: &[u8]) -> Result<String> {
    extracted(format, content)
}

#[cfg(feature = "office")]
fn extracted(format: Format, content: &[u8]) -> Result<String> {
    let mut archive = archive::Archive::open(content)?;
    match format {
        Format::Docx => docx::text(&mut archive),
        Format::Odt => odt::text(&mut archive),
        Format::Pptx => pptx::text(&mut archive),
        Format::Epub => epub::text(&mut archive),
        other => {
            let reason = format!("`{}` is not a format of office documents", other.name());
            Err(crate::error::Error::NoText(reason))
        }
    }
}

#[cfg(not(feature = "office"))]
fn extracted(_: Format, _: &[u8]) -> Result<String> {
    Err(Error::MissingFeature { feature: "office" })
}
