//! Whether the files of a snapshot are what their names say: a blob is named after its checksum.
//!
//! Reading gigabytes at every start would take seconds, so each check leaves a note with the size and
//! time of the blob that it read, in the folder of the cache's locks. A blob that is still as its note
//! says is not read again.

use crate::cache::{RepoCache, write_atomically};
use crate::config::HubConfig;
use crate::error::{Error, Result};
use crate::pull::Digest;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Which files of a snapshot are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Those whose size or time is another than when they were checked.
    Changed,
    /// All.
    All,
}

/// Compares files of `snapshot`, a folder that [`locate`](crate::locate) found, with their checksums, and
/// returns how many were read. Where links are impossible, the snapshot's own copies have no checksum and
/// are not compared.
///
/// # Errors
/// [`Error::Damaged`] for the first file with another checksum; a file that cannot be read.
pub fn check_files(config: &HubConfig, repo: &str, snapshot: &Path, which: Check) -> Result<usize> {
    let cache = RepoCache::new(&config.cache, repo)?;
    let mut files = Vec::new();
    collect(snapshot, &mut files)?;
    let mut read = 0;
    for file in files {
        let Some(digest) = digest_of(&file) else { continue };
        if which == Check::All || has_changed(&cache, &digest) {
            check(&cache, &file, &digest)?;
            read += 1;
        }
    }
    Ok(read)
}

/// Notes that the blob is known to have its checksum. Without the note, for example in a cache that
/// cannot be written, the blob is only read on request.
pub(crate) fn note(cache: &RepoCache, digest: &Digest) {
    if let Ok(metadata) = fs::metadata(cache.blob(digest.hex())) {
        let text = stamp(&metadata);
        drop(write_atomically(&note_path(cache, digest), |file| fs::write(file, text)));
    }
}

fn check(cache: &RepoCache, file: &Path, digest: &Digest) -> Result<()> {
    let failed = Error::io("read", file);
    let content = File::open(file).map_err(&failed)?;
    let bytes = content.metadata().map_err(&failed)?.len();
    let found = digest.of(content, bytes).map_err(&failed)?;
    if found != digest.hex() {
        return Err(Error::Damaged {
            file: file.to_owned(),
            kind: digest.kind(),
            found,
            expected: digest.hex().to_owned(),
        });
    }
    note(cache, digest);
    Ok(())
}

fn has_changed(cache: &RepoCache, digest: &Digest) -> bool {
    let noted = fs::read_to_string(note_path(cache, digest));
    let now = fs::metadata(cache.blob(digest.hex()));
    matches!((noted, now), (Ok(noted), Ok(now)) if noted != stamp(&now))
}

fn note_path(cache: &RepoCache, digest: &Digest) -> PathBuf {
    cache.lock(digest.hex()).with_extension("checked")
}

/// The size and the time of the last change of a file.
fn stamp(metadata: &Metadata) -> String {
    let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {}", metadata.len(), time.unwrap_or_default().as_nanos())
}

/// The checksum of a file of a snapshot: the name of the blob that it links to.
fn digest_of(file: &Path) -> Option<Digest> {
    Digest::from_hex(fs::read_link(file).ok()?.file_name()?.to_str()?)
}

/// All files below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = Error::io("read", folder);
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        match entry.file_type().map_err(&failed)?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}
