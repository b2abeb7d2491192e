//! The format of a file, and reading a file as its format.

use crate::blobs::{without_blobs, without_minified};
use crate::encoding::{decode, decode_html};
use crate::error::{Error, Result};
use crate::text::DocumentText;
use crate::{markdown, notebook, pages, rows};
use serde_json::Map;
use std::path::Path;

/// Maximum size of a file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The format that a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Paragraphs.
    Text,
    /// Sections below headings.
    Markdown,
    /// A web page, whose text is read as Markdown.
    Html,
    /// Source code.
    Code,
    /// One JSON value per line.
    Jsonl,
    /// A table with a header, separated by this byte.
    Table(u8),
    /// Pages of text.
    Pdf,
    /// The cells of a Jupyter notebook.
    Notebook,
    /// A document of a word processor: Office Open XML.
    Docx,
    /// A document of a word processor: OpenDocument.
    Odt,
    /// Slides, each of which is a page.
    Pptx,
    /// The chapters of an e-book.
    Epub,
    /// A format that is not read, although its files look like texts.
    Markup,
}

const CODE: &[&str] = &[
    "rs", "py", "pyi", "js", "mjs", "cjs", "ts", "tsx", "jsx", "go", "java", "kt", "kts", "scala",
    "c", "h", "cc", "cpp", "cxx", "hpp", "hh", "cs", "rb", "php", "swift", "m", "mm", "sh", "bash",
    "zsh", "fish", "ps1", "lua", "sql", "r", "jl", "hs", "ml", "mli", "ex", "exs", "erl", "clj",
    "lisp", "el", "zig", "nim", "dart", "pl", "pm", "vue", "svelte", "css", "scss", "proto", "tf",
    "nix",
];

impl Format {
    /// The format of a file of this name.
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "md" | "markdown" | "mdx" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "jsonl" | "ndjson" => Self::Jsonl,
            "csv" => Self::Table(b','),
            "tsv" => Self::Table(b'\t'),
            "pdf" => Self::Pdf,
            "ipynb" => Self::Notebook,
            "docx" => Self::Docx,
            "odt" => Self::Odt,
            "pptx" => Self::Pptx,
            "epub" => Self::Epub,
            "rtf" | "ps" | "eps" => Self::Markup,
            code if CODE.contains(&code) => Self::Code,
            _ => Self::Text,
        }
    }

    /// Its name, for people and for filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Code => "code",
            Self::Jsonl => "jsonl",
            Self::Table(_) => "csv",
            Self::Pdf => "pdf",
            Self::Notebook => "notebook",
            Self::Docx => "docx",
            Self::Odt => "odt",
            Self::Pptx => "pptx",
            Self::Epub => "epub",
            Self::Markup => "other",
        }
    }
}

/// Extracts the text of formats whose readers are large and may panic, loop or use up all memory.
/// The program runs them in a separate process.
pub trait Extractor {
    /// The text of `content`, a file of `format`: a web page, PDF file, office document or e-book.
    /// Each page of a PDF file and each slide ends in a form feed; other texts are Markdown.
    ///
    /// # Errors
    ///
    /// [`Error::NoText`] with a reason for people, or [`Error::MissingFeature`].
    fn extract(&self, format: Format, content: &[u8]) -> Result<String>;
}

/// Reads `content` as `format`. `None` if it is binary.
///
/// # Errors
///
/// [`Error::NoText`] if it does not have that format, or has no text; [`Error::MissingFeature`] if
/// this build cannot read the format.
pub fn read(
    format: Format,
    content: &[u8],
    extractor: &dyn Extractor,
) -> Result<Option<DocumentText>> {
    let missing = match format {
        Format::Markup => return Ok(None),
        Format::Html => return read_html(content, extractor).map(Some),
        Format::Pdf => "its pages have no text; they may be images",
        Format::Docx | Format::Odt | Format::Pptx | Format::Epub => "it has no text",
        _ => return read_text(format, content),
    };
    require_feature(format)?;
    let text = without_blobs(&extractor.extract(format, content)?).into_owned();
    if text.trim().is_empty() {
        return Err(Error::NoText(missing.to_owned()));
    }
    Ok(Some(match format {
        Format::Pdf | Format::Pptx => pages::paged(text),
        _ => DocumentText { converted: true, ..markdown::read(text) },
    }))
}

/// Reads a web page, which the extractor gets in UTF-8 with a byte order mark.
fn read_html(content: &[u8], extractor: &dyn Extractor) -> Result<DocumentText> {
    let page = decode_html(content)?;
    let text = extractor.extract(Format::Html, format!("\u{feff}{}", page.text).as_bytes())?;
    if text.trim().is_empty() && !page.text.trim().is_empty() {
        return Err(Error::NoText("the page has no text".to_owned()));
    }
    Ok(DocumentText { converted: true, guessed: page.guessed, ..markdown::read(text) })
}

/// Reads a format that is a text itself.
fn read_text(format: Format, content: &[u8]) -> Result<Option<DocumentText>> {
    let Some(decoded) = decode(content)? else { return Ok(None) };
    let text = &decoded.text;
    let read = match format {
        Format::Markdown => markdown::read(without_blobs(text).into_owned()),
        Format::Notebook => notebook::read(text)?,
        Format::Jsonl => rows::jsonl(text)?,
        Format::Table(separator) => rows::table(text, separator)?,
        Format::Code => {
            let text = without_minified(text).into_owned();
            let sections = top_level(&text);
            DocumentText::whole(text, sections, Map::new())
        }
        _ => DocumentText::whole(without_blobs(text).into_owned(), Vec::new(), Map::new()),
    };
    if read.text.trim().is_empty() && !text.trim().is_empty() {
        let reason = match format {
            Format::Jsonl | Format::Table(_) => "its rows have no text",
            Format::Notebook => "its cells have no text",
            _ => "it has only encoded data or minified code",
        };
        return Err(Error::NoText(reason.to_owned()));
    }
    Ok(Some(DocumentText { guessed: decoded.guessed, ..read }))
}

/// Checks that this build can read a format, before a process is started for a file.
fn require_feature(format: Format) -> Result<()> {
    let (feature, is_included) = match format {
        Format::Pdf => ("pdf", cfg!(feature = "pdf")),
        _ => ("office", cfg!(feature = "office")),
    };
    if is_included { Ok(()) } else { Err(Error::MissingFeature { feature }) }
}

/// Where top-level items begin, in bytes: at lines without indentation after a blank line.
fn top_level(text: &str) -> Vec<usize> {
    let (mut at, mut blank, mut starts) = (0, true, Vec::new());
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        if blank
            && !is_blank
            && line.starts_with(|c: char| !c.is_whitespace() && !"})]".contains(c))
        {
            starts.push(at);
        }
        blank = is_blank;
        at += line.len();
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a fixed text.
    struct Fixed(&'static str);

    impl Extractor for Fixed {
        fn extract(&self, _: Format, _: &[u8]) -> Result<String> {
            Ok(self.0.to_owned())
        }
    }

    fn read_as(name: &str, content: &[u8]) -> Result<Option<DocumentText>> {
        read(Format::of(Path::new(name)), content, &Fixed("# Title\n\nText\n"))
    }

    #[test]
    fn a_format_follows_from_the_extension() {
        for (name, format) in [
            ("README.md", "markdown"),
            ("a.HTML", "html"),
            ("x/y.rs", "code"),
            ("rows.ndjson", "jsonl"),
            ("rows.tsv", "csv"),
            ("paper.pdf", "pdf"),
            ("LICENSE", "text"),
            (".gitignore", "text"),
            ("ROWS.CSV", "csv"),
            ("rows.JSONL", "jsonl"),
            ("a.Md", "markdown"),
            ("a.HTM", "html"),
            ("plot.IPYNB", "notebook"),
            ("a.Docx", "docx"),
        ] {
            assert_eq!(Format::of(Path::new(name)).name(), format, "{name}");
        }
    }

    #[test]
    fn text_is_read_in_several_encodings_and_binary_is_skipped() {
        for content in [
            &b"h\xc3\xa9"[..],
            b"\xef\xbb\xbfh\xc3\xa9",
            b"\xff\xfeh\0\xe9\0",
            b"\xfe\xff\0h\0\xe9",
            b"h\xe9",
        ] {
            let text = read_as("a.txt", content).expect("readable").expect("a text");
            assert_eq!(text.text, "hé");
        }
        assert_eq!(read_as("a.bin", b"ELF\0\x01").expect("readable"), None);
        assert!(read_as("a.txt", b"\xff\xfe\x00\xd8").is_err());
        assert_eq!(read_as("a.txt", b"").expect("readable").expect("a text").parts, []);
    }

    #[test]
    fn code_is_cut_at_its_items() {
        let text = "use a;\n\nfn b() {\n    c();\n\n    d();\n\n}\n\nfn e() {}\n";
        let starts: Vec<&str> = top_level(text).into_iter().map(|at| &text[at..at + 4]).collect();
        assert_eq!(starts, ["use ", "fn b", "fn e"]);
    }

    #[test]
    fn web_pages_are_read_by_the_extractor() {
        let page = read_as("a.html", b"<p>").expect("readable").expect("a text");
        assert_eq!(page.parts[0].sections, [0]);
        assert!(page.converted);
    }

    #[test]
    fn a_file_without_text_is_refused_with_the_reason() {
        for (name, content, reason) in [
            ("a.jsonl", "{\"n\": 1}\n", "its rows have no text"),
            ("a.csv", "a,b\n", "its rows have no text"),
            ("a.ipynb", "{\"cells\": []}", "its cells have no text"),
        ] {
            let error = read_as(name, content.as_bytes()).expect_err(name);
            assert_eq!(error.to_string(), reason);
        }
        assert_eq!(read_as("a.rtf", b"{\\rtf1 text}").expect("readable"), None);
    }

    #[cfg(not(feature = "office"))]
    #[test]
    fn a_build_without_the_feature_names_it_for_office_documents() {
        for name in ["a.docx", "a.odt", "a.pptx", "a.epub"] {
            let error = read_as(name, b"PK").expect_err("refused");
            assert_eq!(error.to_string(), "this build lacks the feature `office`");
        }
    }

    #[cfg(feature = "pdf")]
    #[test]
    fn pdf_files_are_read_by_the_extractor() {
        let paper = read_as("a.pdf", b"%PDF").expect("readable").expect("a text");
        assert_eq!(paper.pages, [0]);
    }

    #[cfg(not(feature = "pdf"))]
    #[test]
    fn a_build_without_the_feature_names_it_for_pdf_files() {
        let error = read_as("a.pdf", b"%PDF").expect_err("refused");
        assert_eq!(error.to_string(), "this build lacks the feature `pdf`");
    }
}
