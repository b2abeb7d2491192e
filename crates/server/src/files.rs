//! The one way in which small files are read as a whole, those that a server is configured with
//! among them.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a file that a server is configured with, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The contents of a regular file of at most `limit` bytes, or of a link to one: reading a device
/// need not end, and opening a FIFO waits for a writer.
///
/// # Errors
///
/// If the file cannot be read, is of another kind, or is larger.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    check_regular(path, limit)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has grown beyond {limit} bytes")));
    }
    Ok(bytes)
}

/// # Errors
///
/// Those of [`read_regular`], apart from reading.
fn check_regular(path: &Path, limit: u64) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a folder" } else { "a device, FIFO or socket" };
        return Err(io::Error::other(format!("{kind}, not a regular file")));
    }
    if metadata.len() > limit {
        let reason = format!("{} bytes; the limit is {limit} bytes", metadata.len());
        return Err(io::Error::other(reason));
    }
    Ok(())
}

/// Checks that `path` is a regular file of at most 16 MiB, or a link to one.
///
/// # Errors
///
/// [`Error::File`].
pub fn check_file(path: &Path) -> Result<()> {
    check_regular(path, MAX_BYTES).map_err(|error| invalid(path, error.to_string()))
}

/// The contents of a file that [`check_file`] accepts.
///
/// # Errors
///
/// [`Error::File`].
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    read_regular(path, MAX_BYTES).map_err(|error| invalid(path, error.to_string()))
}

/// As [`read_file`], for a text.
///
/// # Errors
///
/// [`Error::File`], also if it is not UTF-8.
pub fn read_text_file(path: &Path) -> Result<String> {
    String::from_utf8(read_file(path)?).map_err(|error| invalid(path, error.to_string()))
}

fn invalid(path: &Path, reason: String) -> Error {
    Error::File { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let reason = |path: &Path| read_text_file(path).expect_err("refused").to_string();
        assert!(reason(&path).contains("No such file"), "{}", reason(&path));
        assert!(reason(folder.path()).contains("a folder, not a regular file"));
        fs::write(&path, "text").expect("a file");
        assert_eq!(read_text_file(&path).expect("a text"), "text");
        File::create(&path).and_then(|file| file.set_len(MAX_BYTES + 1)).expect("a large file");
        assert!(reason(&path).contains("the limit is 16777216 bytes"));
        #[cfg(unix)]
        for device in ["/dev/zero", "/dev/null"] {
            assert!(reason(Path::new(device)).contains("a device, FIFO or socket"));
        }
    }
}
