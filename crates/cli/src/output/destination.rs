//! Standard output, or a file that appears only when it is complete.

use crate::failure::hinted;
use crate::printer::Printer;
use anyhow::Context;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Destination {
    writer: Box<dyn Write>,
    name: String,
    unfinished: Option<Unfinished>,
}

/// A file under a temporary name until it is complete; removed if it never is.
struct Unfinished {
    partial: PathBuf,
    path: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; before it, an error has already been
        // reported.
        let _ = fs::remove_file(&self.partial);
    }
}

impl Destination {
    pub(crate) fn stdout(printer: &Printer) -> Self {
        let writer = Box::new(printer.data());
        Self { writer, name: "standard output".to_owned(), unfinished: None }
    }

    /// Opens the file that an option names; `-` is standard output.
    pub(crate) fn open(path: &Path, printer: &Printer) -> anyhow::Result<Self> {
        if is_stdout(path) { Ok(Self::stdout(printer)) } else { Self::file(path) }
    }

    /// Opens `path`. A pipe or device is written to directly; a regular file is replaced at the
    /// end.
    pub(crate) fn file(path: &Path) -> anyhow::Result<Self> {
        let regular = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
        if regular {
            refuse_binary(path)?;
        }
        let partial = partial(path);
        let target = if regular { &partial } else { path };
        let file = File::create(target).with_context(|| format!("cannot write {}", path.display()));
        Ok(Self {
            writer: Box::new(BufWriter::new(file?)),
            name: path.display().to_string(),
            unfinished: regular.then(|| Unfinished { partial, path: path.to_owned() }),
        })
    }

    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }

    pub(crate) fn failure(&self, error: io::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(format!("cannot write {}", self.name))
    }

    pub(crate) fn commit(mut self) -> anyhow::Result<()> {
        self.writer.flush().map_err(|error| self.failure(error))?;
        match &self.unfinished {
            Some(file) => {
                fs::rename(&file.partial, &file.path).map_err(|error| self.failure(error))
            }
            None => Ok(()),
        }
    }
}

/// # Errors
///
/// If `path` ends as a compressed file or one of Parquet does: it would contain plain text.
fn refuse_binary(path: &Path) -> anyhow::Result<()> {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "gz" | "zst" | "bz2" | "xz" | "zip" | "parquet" => Err(hinted(
            format!("cannot write {}: `.{ending}` files are not supported", path.display()),
            "write to standard output and compress or convert that, for example with `| gzip > FILE`",
        )),
        _ => Ok(()),
    }
}

/// Whether the file that an option names is standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    name.into()
}
