//! The layout of the hub cache.
//!
//! ```text
//! models--owner--name/
//!   blobs/<digest>                     contents; renamed to this name when they are complete
//!   blobs/<digest>.incomplete          a download that can be resumed
//!   snapshots/<commit>/<path>          links to blobs (files where links are impossible)
//!   refs/<revision>                    the commit that a branch or tag pointed to
//! .locks/models--owner--name/<digest>.lock
//! ```

use crate::config::HubConfig;
use crate::error::{Error, Result};
use crate::id::{check_repo, check_revision, is_digest, is_safe_path};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The weights in one file.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The index of weights that are split over several files.
pub(crate) const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
/// Files that every model has in addition to weights.
pub(crate) const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Maximum size of an index. With thousands of tensors, it has some hundred kilobytes.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Finds a complete snapshot of `repo` at `revision` in the cache without network access.
///
/// A snapshot is complete if it has the configuration, the tokenizer and all weight files. Its
/// folder is `<cache>/models--owner--name/snapshots/<commit>`.
///
/// # Errors
/// If `repo` or `revision` is malformed, or the cache cannot be read.
pub fn locate(config: &HubConfig, repo: &str, revision: &str) -> Result<Option<PathBuf>> {
    let cache = RepoCache::new(&config.cache, repo)?;
    check_revision(revision)?;
    let Some(commit) = cache.commit(revision)? else { return Ok(None) };
    let snapshot = cache.snapshot(&commit);
    Ok(missing_file(&snapshot)?.is_none().then_some(snapshot))
}

/// The first file that a snapshot lacks; `None` if it is complete.
pub(crate) fn missing_file(snapshot: &Path) -> Result<Option<String>> {
    let lacks = |file: &str| !snapshot.join(file).is_file();
    if let Some(file) = REQUIRED.into_iter().find(|file| lacks(file)) {
        return Ok(Some(file.to_owned()));
    }
    if !lacks(WEIGHTS) {
        return Ok(None);
    }
    if lacks(WEIGHTS_INDEX) {
        return Ok(Some(format!("{WEIGHTS} or {WEIGHTS_INDEX}")));
    }
    Ok(match weight_files(&snapshot.join(WEIGHTS_INDEX))? {
        Some(files) => files.into_iter().find(|file| !is_safe_path(file) || lacks(file)),
        None => Some(format!("readable {WEIGHTS_INDEX}")),
    })
}

/// The weight files in an index; `None` if the file is not an index.
fn weight_files(index: &Path) -> Result<Option<BTreeSet<String>>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let mut json = Vec::new();
    let file = fs::File::open(index).map_err(Error::io("read", index))?;
    file.take(MAX_INDEX_BYTES).read_to_end(&mut json).map_err(Error::io("read", index))?;
    let parsed = serde_json::from_slice::<Index>(&json).ok();
    Ok(parsed
        .map(|index| index.weight_map.into_values().collect::<BTreeSet<_>>())
        .filter(|files| !files.is_empty()))
}

/// The part of the cache for one repository.
#[derive(Debug)]
pub(crate) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, repo: &str) -> Result<Self> {
        check_repo(repo)?;
        let name = format!("models--{}", repo.replace('/', "--"));
        Ok(Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) })
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest)
    }

    pub(crate) fn lock(&self, digest: &str) -> PathBuf {
        self.locks.join(format!("{digest}.lock"))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit that `revision` points to in the cache.
    fn commit(&self, revision: &str) -> Result<Option<String>> {
        let file = self.folder.join("refs").join(revision);
        match fs::read_to_string(&file) {
            Ok(commit) => Ok(Some(commit.trim().to_owned()).filter(|commit| is_digest(commit))),
            Err(e) if is_absence(&e) => Ok(is_digest(revision).then(|| revision.to_owned())),
            Err(e) => Err(Error::io("read", &file)(e)),
        }
    }

    /// Records that `revision` points to `commit`: the last step of a download.
    pub(crate) fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let file = self.folder.join("refs").join(revision);
        write_atomically(&file, |temporary| fs::write(temporary, commit))
    }

    /// The blob of `path` of the snapshot, and where links are impossible the snapshot's own copy, as
    /// far as they have their full size.
    pub(crate) fn copies(
        &self,
        commit: &str,
        path: &str,
        digest: &str,
        bytes: u64,
    ) -> impl Iterator<Item = PathBuf> {
        let full = move |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|file| file.is_file() && file.len() == bytes)
        };
        let (blob, file) = (self.blob(digest), self.snapshot(commit).join(path));
        let is_copy = fs::symlink_metadata(&file).is_ok_and(|file| !file.is_symlink());
        [Some(blob), is_copy.then_some(file)].into_iter().flatten().filter(full)
    }

    /// Puts the blob at `path` of the snapshot, as a relative link or, if that fails, as a copy.
    pub(crate) fn link(&self, commit: &str, path: &str, digest: &str) -> Result<()> {
        let file = self.snapshot(commit).join(path);
        let blob = self.blob(digest);
        if !blob.is_file() {
            // The snapshot has the file itself: see `copies`.
            return Ok(());
        }
        let up = "../".repeat(2 + path.matches('/').count());
        let target = format!("{up}blobs/{digest}");
        if fs::read_link(&file).is_ok_and(|link| link == Path::new(&target)) {
            return Ok(());
        }
        write_atomically(&file, |temporary| {
            symlink(Path::new(&target), temporary).or_else(|_| copy(&blob, temporary))
        })
    }
}

/// Creates `file` atomically: `write` creates a temporary file in the same folder, which is then
/// renamed.
pub(crate) fn write_atomically(
    file: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}-{}", std::process::id(), unique()));
    let written = write(&temporary).and_then(|()| fs::rename(&temporary, file));
    written.map_err(|e| {
        // This fails if the file was never created.
        drop(fs::remove_file(&temporary));
        Error::io("write", file)(e)
    })
}

/// A number that is unique within the process.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to).map(drop)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether a file does not exist, or cannot exist because a part of its path is a file.
fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cache_with(files: &[(&str, &str)]) -> (tempfile::TempDir, HubConfig) {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("models--me--mine");
        for (file, content) in files {
            let file = repo.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        let cache = folder.path().to_owned();
        let config = HubConfig {
            cache,
            endpoint: String::new(),
            token: None,
            offline: true,
            certificates: None,
        };
        (folder, config)
    }

    fn snapshot(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let in_snapshot = |(file, text): &(&str, &str)| {
            (format!("snapshots/{COMMIT}/{file}"), (*text).to_owned())
        };
        files.iter().map(in_snapshot).collect()
    }

    fn located(revision: &str, extra: &[(&str, &str)], files: &[(&str, &str)]) -> bool {
        let files = snapshot(files);
        let mut all: Vec<_> = files.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
        all.extend(extra);
        let (_folder, config) = cache_with(&all);
        locate(&config, "me/mine", revision).unwrap().is_some()
    }

    const COMPLETE: [(&str, &str); 3] =
        [("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "x")];
    const MAIN: [(&str, &str); 1] = [("refs/main", COMMIT)];

    #[test]
    fn a_complete_snapshot_is_found_by_branch_and_by_commit() {
        assert!(located("main", &MAIN, &COMPLETE));
        assert!(located("main", &[("refs/main", &format!("{COMMIT}\n"))], &COMPLETE));
        assert!(located(COMMIT, &[], &COMPLETE));
        assert!(located("refs/pr/1", &[("refs/refs/pr/1", COMMIT)], &COMPLETE));
        assert!(!located("main", &[], &COMPLETE));
        assert!(!located("refs/pr/1", &[("refs/refs", COMMIT)], &COMPLETE));
        assert!(!located("main", &[("refs/main", &format!("../snapshots/{COMMIT}"))], &COMPLETE));
    }

    #[test]
    fn a_snapshot_that_lacks_a_file_is_not_complete() {
        for missing in COMPLETE {
            let files: Vec<_> = COMPLETE.into_iter().filter(|file| *file != missing).collect();
            assert!(!located("main", &MAIN, &files), "without {}", missing.0);
        }
    }

    #[test]
    fn split_weights_are_complete_with_every_file_of_the_index() {
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        let parts = |index| {
            vec![COMPLETE[0], COMPLETE[1], (WEIGHTS_INDEX, index), ("one.safetensors", "1")]
        };
        assert!(!located("main", &MAIN, &parts(index)));
        let mut all = parts(index);
        all.push(("two.safetensors", "2"));
        assert!(located("main", &MAIN, &all));
        for bad in ["", "[]", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": "../x"}}"#] {
            assert!(!located("main", &MAIN, &parts(bad)), "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_missing_blob_is_not_a_file() {
        let (folder, config) = cache_with(&MAIN);
        let cache = RepoCache::new(folder.path(), "me/mine").unwrap();
        let blobs = folder.path().join("models--me--mine/blobs");
        fs::create_dir_all(&blobs).unwrap();
        for (file, content) in COMPLETE {
            fs::write(blobs.join(file), content).unwrap();
            cache.link(COMMIT, file, file).unwrap();
        }
        assert!(locate(&config, "me/mine", "main").unwrap().is_some());
        fs::remove_file(blobs.join(WEIGHTS)).unwrap();
        assert!(locate(&config, "me/mine", "main").unwrap().is_none());
    }
}
