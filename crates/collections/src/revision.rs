//! The revision of a model's weights, which a collection records and checks before it is used.

use crate::error::{Error, Result};
use crate::model_location::ModelLocation;
use kokeshi_store::Store;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The revision of a snapshot in the hub's cache, or a hash of all files that determine vectors.
/// `store` keeps the hashes of files as notes, which are valid until the files change.
///
/// # Errors
///
/// If a file cannot be read, or the store fails.
pub fn revision(files: &ModelLocation, store: &dyn Store) -> Result<String> {
    revision_with(files, |file| noted_hash(file, store))
}

/// As [`revision`], without a store that keeps hashes.
///
/// # Errors
///
/// If a file cannot be read.
pub fn fresh_revision(files: &ModelLocation) -> Result<String> {
    revision_with(files, file_hash)
}

fn revision_with(
    files: &ModelLocation,
    file_hash: impl Fn(&Path) -> Result<String>,
) -> Result<String> {
    match files {
        ModelLocation::Bundled => {
            let parts: [&[u8]; 3] =
                [kokeshi_starter::CONFIG, kokeshi_starter::WEIGHTS, kokeshi_starter::TOKENIZER];
            let mut hash = Sha256::new();
            parts.into_iter().for_each(|part| hash.update(part));
            Ok(short(hash))
        }
        ModelLocation::Folder(folder) => match snapshot(folder) {
            Some(revision) => Ok(format!("revision {revision}")),
            None => folder_hash(folder, file_hash),
        },
    }
}

/// The commit of a snapshot in the hub's cache.
fn snapshot(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let is_cached = folder.parent()?.ends_with("snapshots");
    (is_cached && name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| name.to_owned())
}

fn folder_hash(folder: &Path, file_hash: impl Fn(&Path) -> Result<String>) -> Result<String> {
    let is_model_file = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("json" | "safetensors"))
    };
    let entries = fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_model_file).collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{name}\n{}\n", file_hash(&file)?));
    }
    Ok(short(hash))
}

/// The hash of a file, from the store's notes if the file is unchanged.
fn noted_hash(file: &Path, store: &dyn Store) -> Result<String> {
    let metadata = fs::metadata(file).map_err(|source| unreadable(file, source))?;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let stamp = modified.map_or(0, |age| age.as_nanos());
    let key = format!("sha256 of {} ({} bytes, changed {stamp})", file.display(), metadata.len());
    let folders = store.folders();
    if let Some(folders) = folders
        && let Some(hash) = folders.note(&key)?
    {
        return Ok(hash);
    }
    let hash = file_hash(file)?;
    // If this fails because another process is writing, the hash is computed again next time.
    let _ = folders.map(|folders| folders.set_note(&key, &hash));
    Ok(hash)
}

fn file_hash(file: &Path) -> Result<String> {
    let failed = |source| unreadable(file, source);
    content_hash(&mut File::open(file).map_err(failed)?).map_err(failed)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Io { action: "read", path: path.to_owned(), source }
}

/// The SHA-256 of all bytes of `from`, in hexadecimal digits.
pub(crate) fn content_hash(from: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// The hash, shortened to enough digits that no two models share them.
fn short(hash: Sha256) -> String {
    format!("sha256:{:.24x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_recognized_by_their_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let cached = format!("/hub/models--a--b/snapshots/{commit}");
        assert_eq!(snapshot(Path::new(&cached)).as_deref(), Some(commit));
        assert_eq!(snapshot(Path::new("/models/snapshots/mine")), None);
        assert_eq!(snapshot(Path::new(&format!("/models/{commit}"))), None);
    }

    #[test]
    fn a_folder_s_revision_changes_with_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            kokeshi_store::Sqlite::create(&folder.path().join("store/index.db")).expect("a store");
        let path = |name: &str| folder.path().join(name);
        let revision = || folder_hash(folder.path(), |file| noted_hash(file, &store));
        fs::write(path("config.json"), "{}").expect("a file");
        fs::write(path("model.safetensors"), "weights").expect("a file");
        let first = revision().expect("a revision");
        assert_eq!(revision().expect("a revision"), first);
        fs::write(path("README.md"), "text").expect("a file");
        assert_eq!(revision().expect("a revision"), first);
        fs::write(path("model.safetensors"), "others!!").expect("a file");
        assert_ne!(revision().expect("a revision"), first);
    }
}
