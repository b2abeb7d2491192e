//! Files for readers that need one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The folder of this process.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| TempDir::with_prefix("kokeshi-fuzz").expect("a folder")).path()
}

/// The file of this name in it, with `bytes` as its content.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

/// An SQLite database with `bytes` as its content, without a log of an earlier one.
pub(crate) fn database(name: &str, bytes: &[u8]) -> PathBuf {
    for suffix in ["-wal", "-shm", "-journal", ".lock"] {
        drop(fs::remove_file(folder().join(format!("{name}{suffix}"))));
    }
    file(name, bytes)
}
