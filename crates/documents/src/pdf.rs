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

    /// A PDF file with these pages, each of which is one line; a blank one has none.
    #[cfg(feature = "pdf")]
    fn pdf(pages: &[&str]) -> Vec<u8> {
        let kids: Vec<String> = (0..pages.len()).map(|at| format!("{} 0 R", 4 + 2 * at)).collect();
        let mut objects = vec![
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        ];
        for (at, text) in pages.iter().enumerate() {
            objects.push(format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 300] /Contents {} 0 R \
                 /Resources << /Font << /F 3 0 R >> >> >>",
                5 + 2 * at
            ));
            let stream = match *text {
                "" => "0 0 10 10 re f".to_owned(),
                text => format!("BT /F 12 Tf 50 200 Td ({text}) Tj ET"),
            };
            objects.push(format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()));
        }
        let (mut file, mut offsets) = ("%PDF-1.4\n".to_owned(), Vec::new());
        for (number, object) in (1..).zip(&objects) {
            offsets.push(file.len());
            file += &format!("{number} 0 obj\n{object}\nendobj\n");
        }
        let start = file.len();
        file += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
        for offset in offsets {
            file += &format!("{offset:010} 00000 n \n");
        }
        file += &format!("trailer << /Size {} /Root 1 0 R >>\n", objects.len() + 1);
        (file + &format!("startxref\n{start}\n%%EOF\n")).into_bytes()
    }

    #[cfg(feature = "pdf")]
    struct SameProcess;

    #[cfg(feature = "pdf")]
    impl crate::Extractor for SameProcess {
        fn extract(&self, _: crate::Format, content: &[u8]) -> Result<String> {
            text_of_pdf(content)
        }
    }

    #[cfg(feature = "pdf")]
    #[test]
    fn each_slide_is_a_chunk_with_its_page() {
        let slides = ["Tides", "Harbours", "", "Lights", "Ferries", "Maps", "Fog", "Ropes"];
        let text = crate::read(crate::Format::Pdf, &pdf(&slides), &SameProcess);
        let text = text.expect("readable").expect("a text");
        let chunks = crate::cut(&text, 256).concat();
        let found: Vec<_> = chunks
            .into_iter()
            .map(|bytes| (text.page(bytes.start).expect("a page"), &text.text[bytes]))
            .collect();
        let wanted: Vec<_> = (1..).zip(slides).filter(|(_, slide)| !slide.is_empty()).collect();
        assert_eq!(found, wanted);
    }

    #[cfg(feature = "pdf")]
    #[test]
    fn a_file_of_images_is_refused_with_the_reason() {
        let error = crate::read(crate::Format::Pdf, &pdf(&["", ""]), &SameProcess);
        let reason = error.expect_err("refused").to_string();
        assert_eq!(reason, "its pages have no text; they may be images");
    }
}
