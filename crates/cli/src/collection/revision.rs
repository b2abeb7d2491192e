//! Which weights a model is made of: what a collection remembers, and checks before it is used.

use crate::selection::ModelLocation;
use anyhow::Context;
use kokeshi_store::Store;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The revision of a snapshot in the hub's cache, or a hash of everything that decides vectors.
/// Hashes of files are remembered in `store` for as long as the files do not change.
pub(crate) fn of(place: &ModelLocation, store: &dyn Store) -> anyhow::Result<String> {
    revision(place, |file| of_file(file, store))
}

/// The same where no store remembers hashes.
pub(crate) fn afresh(place: &ModelLocation) -> anyhow::Result<String> {
    revision(place, |file| {
        let failed = || format!("cannot read {}", file.display());
        content_hash(&mut File::open(file).with_context(failed)?).with_context(failed)
    })
}

fn revision(
    place: &ModelLocation,
    of_file: impl Fn(&Path) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    match place {
        ModelLocation::Bundled => {
            let parts: [&[u8]; 3] =
                [kokeshi_starter::CONFIG, kokeshi_starter::WEIGHTS, kokeshi_starter::TOKENIZER];
            let mut hash = Sha256::new();
            parts.into_iter().for_each(|part| hash.update(part));
            Ok(shown(hash))
        }
        ModelLocation::Folder(folder) => match snapshot(folder) {
            Some(revision) => Ok(format!("revision {revision}")),
            None => of_folder(folder, of_file),
        },
    }
}

fn snapshot(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let cached = folder.parent()?.ends_with("snapshots");
    (cached && name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| name.to_owned())
}

fn of_folder(
    folder: &Path,
    of_file: impl Fn(&Path) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let counts = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("json" | "safetensors"))
    };
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(counts).collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{name}\n{}\n", of_file(&file)?));
    }
    Ok(shown(hash))
}

fn of_file(file: &Path, store: &dyn Store) -> anyhow::Result<String> {
    let failed = || format!("cannot read {}", file.display());
    let metadata = fs::metadata(file).with_context(failed)?;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let stamp = modified.map_or(0, |age| age.as_nanos());
    let key = format!("sha256 of {} ({} bytes, changed {stamp})", file.display(), metadata.len());
    if let Some(known) = store.note(&key)? {
        return Ok(known);
    }
    let hash = content_hash(&mut File::open(file).with_context(failed)?).with_context(failed)?;
    // Whoever else writes now does not matter here: the hash is computed again next time.
    let _ = store.set_note(&key, &hash);
    Ok(hash)
}

/// The SHA-256 of all that `from` gives, in hexadecimal digits.
pub(super) fn content_hash(from: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// Enough digits that two models never share them.
fn shown(hash: Sha256) -> String {
    format!("sha256:{:.24x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_told_by_their_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let cached = format!("/hub/models--a--b/snapshots/{commit}");
        assert_eq!(snapshot(Path::new(&cached)).as_deref(), Some(commit));
        assert_eq!(snapshot(Path::new("/models/snapshots/mine")), None);
        assert_eq!(snapshot(Path::new(&format!("/models/{commit}"))), None);
    }

    #[test]
    fn a_folder_has_another_revision_when_a_file_of_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            kokeshi_store::Sqlite::create(&folder.path().join("store/index.db")).expect("a store");
        let path = |name: &str| folder.path().join(name);
        let revision = || of_folder(folder.path(), |file| of_file(file, &store));
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
