//! The text of a PDF file, page by page.

use crate::error::{Error, Result};

/// The text of the PDF file `content`; each page ends in a form feed. Run it in a
/// separate process: the reader may panic, and nothing bounds its time and memory.
///
/// # Errors
///
/// [`Error::NoText`] if the file cannot be read or is encrypted; [`Error::MissingFeature`] in a
/// build without the feature `pdf`.
pub fn text_of_pdf(content: &[u8]) -> Result<String> {
    extracted(content)
}

#[cfg(feature = "pdf")]
fn extracted(content: &[u8]) -> Result<String> {
    let pages = pdf_extract::extract_text_from_mem_by_pages(content);
    let pages =
        pages.map_err(|error| Error::NoText(format!("it cannot be read as PDF: {error}")))?;
    Ok(pages.iter().map(|page| page.replace('\u{c}', " ") + "\u{c}").collect())
}

#[cfg(not(feature = "pdf"))]
fn extracted(_: &[u8]) -> Result<String> {
    Err(Error::MissingFeature { feature: "pdf" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_pdf_is_refused() {
        assert!(text_of_pdf(b"not a PDF").is_err());
    }
}
