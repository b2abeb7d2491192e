//! The format of a file, and reading a file as its format.

use crate::error::{Error, Result};
use crate::text::DocumentText;
use crate::{markdown, pages, rows};
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
        }
    }
}

/// Extracts the text of formats whose readers are large and may panic, loop or use up all memory.
/// The program runs them in a separate process.
pub trait Extractor {
    /// The text of `content`, a file of `format` ([`Format::Html`] or [`Format::Pdf`]). Each page
    /// ends in a form feed.
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
/// [`Error::NoText`] if it does not have that format, [`Error::MissingFeature`] if this build
/// cannot read the format.
pub fn read(
    format: Format,
    content: &[u8],
    extractor: &dyn Extractor,
) -> Result<Option<DocumentText>> {
    match format {
        Format::Pdf => {
            require_pdf()?;
            return extractor.extract(format, content).map(pages::paged).map(Some);
        }
        Format::Html => {
            return extractor.extract(format, content).map(markdown::read).map(Some);
        }
        _ => {}
    }
    let Some(text) = decoded(content)? else { return Ok(None) };
    Ok(Some(match format {
        Format::Markdown => markdown::read(text),
        Format::Jsonl => rows::jsonl(&text)?,
        Format::Table(separator) => rows::table(&text, separator)?,
        Format::Code => {
            let sections = top_level(&text);
            DocumentText::whole(text, sections, Map::new())
        }
        Format::Text | Format::Html | Format::Pdf => {
            DocumentText::whole(text, Vec::new(), Map::new())
        }
    }))
}

/// Checks that this build can read PDF files, before a process is started for one.
///
/// # Errors
///
/// [`Error::MissingFeature`] if it cannot.
fn require_pdf() -> Result<()> {
    match cfg!(feature = "pdf") {
        true => Ok(()),
        false => Err(Error::MissingFeature { feature: "pdf" }),
    }
}

/// Number of bytes at the start that are searched for a zero byte, which texts lack.
const BINARY_PREFIX: usize = 8 << 10;

/// Decodes UTF-8, or UTF-16 with a byte order mark. `None` if the content is binary.
fn decoded(content: &[u8]) -> Result<Option<String>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        String::from_utf16(&bytes.as_chunks().0.iter().map(|two| unit(*two)).collect::<Vec<_>>())
    };
    let text = match content {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).ok(),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).ok(),
        _ if content[..content.len().min(BINARY_PREFIX)].contains(&0) => return Ok(None),
        _ => String::from_utf8(content.to_vec()).ok(),
    };
    let not_unicode = || Error::NoText("its text is not in UTF-8 or UTF-16".to_owned());
    text.map(Some).ok_or_else(not_unicode)
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
        ] {
            assert_eq!(Format::of(Path::new(name)).name(), format, "{name}");
        }
    }

    #[test]
    fn text_is_read_in_three_encodings_and_binary_is_skipped() {
        for content in [
            &b"h\xc3\xa9"[..],
            b"\xef\xbb\xbfh\xc3\xa9",
            b"\xff\xfeh\0\xe9\0",
            b"\xfe\xff\0h\0\xe9",
        ] {
            let text = read_as("a.txt", content).expect("readable").expect("a text");
            assert_eq!(text.text, "hé");
        }
        assert_eq!(read_as("a.bin", b"ELF\0\x01").expect("readable"), None);
        assert!(read_as("a.txt", b"caf\xe9").is_err());
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
