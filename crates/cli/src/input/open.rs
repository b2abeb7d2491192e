//! Files and standard input as bytes, decompressed and converted where their first bytes say so.

use super::Source;
use super::compressed;
use crate::failure::hinted;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_documents::{Utf8Source, utf16_to_utf8};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// The first bytes of compressed files, of Parquet, and of archives.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const PARQUET: &[u8] = b"PAR1";

/// Opens a source of text, which is converted if it is in UTF-16.
///
/// # Errors
///
/// If it cannot be read, or has a form that this build cannot read.
pub(super) fn open(source: &Source, printer: &Printer) -> anyhow::Result<Box<dyn BufRead>> {
    let read = utf16_to_utf8(decompressed(source)?);
    let Utf8Source { bytes, guessed } = read.with_context(|| format!("cannot read {source}"))?;
    if let Some(encoding) = guessed {
        printer.warning(&format!("{source} read as {encoding}, which its bytes suggest"));
    }
    Ok(bytes)
}

fn decompressed(source: &Source) -> anyhow::Result<Box<dyn BufRead>> {
    let mut from: Box<dyn BufRead> = match source {
        Source::File(path) => {
            let file = File::open(path).with_context(|| format!("cannot read {source}"))?;
            Box::new(BufReader::new(file))
        }
        Source::Arguments | Source::Stdin => Box::new(BufReader::new(io::stdin())),
    };
    let start = from.fill_buf().with_context(|| format!("cannot read {source}"))?;
    if start.starts_with(GZIP) {
        compressed::gzip(from, source)
    } else if start.starts_with(ZSTD) {
        compressed::zstd(from, source)
    } else if start.starts_with(PARQUET) {
        Err(hinted(
            format!("{source} is a Parquet file, which cannot be read from its start to its end"),
            "name the file with --input and give it the ending `.parquet`",
        ))
    } else {
        Ok(from)
    }
}

/// The ending of a file's name in lower case, without that of its compression.
pub(super) fn ending(path: &Path) -> String {
    let of = |path: &Path| {
        path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
    };
    let last = of(path);
    match last.as_str() {
        "gz" | "zst" => path.file_stem().map_or_else(String::new, |stem| of(Path::new(stem))),
        _ => last,
    }
}

/// Whether the texts of a file have another size than the file.
pub(super) fn is_packed(path: &Path) -> bool {
    let last = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["gz", "zst", "parquet"].iter().any(|packed| last.eq_ignore_ascii_case(packed))
}
