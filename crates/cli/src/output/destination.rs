//! Standard output, or a file that appears only when it is complete.

use crate::exit::Exit;
use crate::failure::hinted;
use crate::printer::Printer;
use anyhow::Context;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The unfinished files of this process, which a signal that ends it removes.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl Unfinished {
    /// Creates the file under its temporary name, which may be left over from a killed process. A
    /// link of that name is not followed: the file behind it is not ours.
    fn create(path: &Path) -> io::Result<(Self, File)> {
        // Before the file exists, so that no signal ends the process beside it. If the command
        // waits for signals itself, it ends by itself as well, and drops this.
        let _ = ctrlc::set_handler(remove_all_and_exit);
        let partial = partial(path);
        if let Err(error) = fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut unfinished = unfinished();
        let file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
        unfinished.insert(partial.clone());
        drop(unfinished);
        if let Ok(old) = fs::metadata(path) {
            // Who could not read the file before cannot read it now.
            file.set_permissions(old.permissions())?;
        }
        Ok((Self { partial, path: path.to_owned() }, file))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; before it, an error has already been
        // reported.
        let _ = fs::remove_file(&self.partial);
        unfinished().remove(&self.partial);
    }
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove_all_and_exit() {
    // Held to the end: no file is created after this.
    let unfinished = unfinished();
    for partial in &*unfinished {
        // The process ends: there is nobody left to tell.
        let _ = fs::remove_file(partial);
    }
    std::process::exit(Exit::Interrupted as i32);
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
        let opened = match regular {
            true => Unfinished::create(path).map(|(unfinished, file)| (Some(unfinished), file)),
            false => OpenOptions::new().write(true).open(path).map(|file| (None, file)),
        };
        let (unfinished, file) =
            opened.with_context(|| format!("cannot write {}", path.display()))?;
        let writer = Box::new(BufWriter::new(file));
        Ok(Self { writer, name: path.display().to_string(), unfinished })
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
        "parquet" => Err(hinted(
            format!("cannot write {}: Parquet files are written to a folder", path.display()),
            "name a folder, for example `--output vectors/`",
        )),
        "gz" | "zst" | "bz2" | "xz" | "zip" => Err(hinted(
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
