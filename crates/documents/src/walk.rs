//! Finding files, as `ripgrep` does: ignored and hidden files are skipped.

use crate::error::{Error, Result};
use ignore::overrides::OverrideBuilder;
use ignore::{DirEntry, WalkBuilder};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Which files a walk yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Whether hidden files and folders are included.
    pub hidden: bool,
    /// Whether files that `.gitignore`, `.ignore` and the like exclude are included.
    pub ignored: bool,
    /// Globs that a file must match, or must not match if the glob starts with `!`.
    pub globs: Vec<String>,
}

/// A file and its size and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The file.
    pub path: PathBuf,
    /// When it was last changed, in nanoseconds since 1970; 0 if unknown. On Unix, this includes
    /// the time of the inode's change, because programs can set a file's modification time back.
    pub modified: i64,
    /// Its size in bytes.
    pub len_bytes: u64,
}

/// The name of folders that contain kokeshi's own files.
const OWN_FOLDER: &str = ".kokeshi";

/// Finds the files at and below `root`, in the order of their paths. Links are not followed. A file
/// or folder that cannot be read is an error among the entries.
///
/// # Errors
///
/// If a glob cannot be parsed.
pub fn walk(
    root: &Path,
    options: &WalkOptions,
) -> Result<impl Iterator<Item = Result<FileEntry>> + use<>> {
    let walk = builder(root, options)?
        .filter_entry(|entry| entry.file_name() != OWN_FOLDER)
        .sort_by_file_path(Path::cmp)
        .build();
    Ok(walk.filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
            Some(file_entry(&entry))
        }
        Ok(_) => None,
        Err(error) => reported(&error).map(Err),
    }))
}

/// Finds the folders that [`walk`] looks into, `root` among them, each before those in it. One that
/// cannot be read is an error among the entries.
///
/// # Errors
///
/// As [`walk`].
pub fn walk_folders(
    root: &Path,
    options: &WalkOptions,
) -> Result<impl Iterator<Item = Result<PathBuf>> + use<>> {
    let is_folder = |entry: &DirEntry| entry.file_type().is_some_and(|kind| kind.is_dir());
    let walk = builder(root, options)?
        .filter_entry(move |entry| is_folder(entry) && entry.file_name() != OWN_FOLDER)
        .build();
    Ok(walk.filter_map(|entry| match entry {
        Ok(entry) => Some(Ok(entry.into_path())),
        Err(error) => reported(&error).map(Err),
    }))
}

/// Whether [`walk`] from `root` yields the file at `path`, or looks into that folder.
///
/// # Errors
///
/// As [`walk`].
pub fn is_walked(root: &Path, path: &Path, options: &WalkOptions) -> Result<bool> {
    let wanted = path.to_owned();
    let walk = builder(root, options)?
        .filter_entry(move |entry| {
            entry.file_name() != OWN_FOLDER && wanted.starts_with(entry.path())
        })
        .build();
    Ok(walk.filter_map(Result::ok).any(|entry| entry.path() == path))
}

fn builder(root: &Path, options: &WalkOptions) -> Result<WalkBuilder> {
    let mut globs = OverrideBuilder::new(root);
    for glob in &options.globs {
        globs.add(glob).map_err(|error| Error::Walk(error.to_string()))?;
    }
    let globs = globs.build().map_err(|error| Error::Walk(error.to_string()))?;
    let mut builder = WalkBuilder::new(root);
    builder
        .hidden(!options.hidden)
        .ignore(!options.ignored)
        .git_ignore(!options.ignored)
        .git_global(!options.ignored)
        .git_exclude(!options.ignored)
        .parents(!options.ignored)
        .require_git(false)
        .overrides(globs);
    Ok(builder)
}

/// An error of a walk. What was removed during the walk is not there, and no error.
fn reported(error: &ignore::Error) -> Option<Error> {
    (error.depth() == Some(0) || !is_not_found(error)).then(|| unreachable(error))
}

fn file_entry(entry: &DirEntry) -> Result<FileEntry> {
    let path = entry.path().to_owned();
    let metadata = entry.metadata().map_err(|error| Error::Unreachable {
        path: Some(path.clone()),
        reason: error.to_string(),
    })?;
    Ok(FileEntry { path, modified: changed(&metadata), len_bytes: metadata.len() })
}

/// When a file was last changed, as in [`FileEntry::modified`].
pub fn changed(metadata: &Metadata) -> i64 {
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(0));
    modified.max(inode_changed(metadata))
}

#[cfg(unix)]
fn inode_changed(metadata: &Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn inode_changed(_: &Metadata) -> i64 {
    0
}

fn is_not_found(error: &ignore::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

fn unreachable(error: &ignore::Error) -> Error {
    Error::Unreachable { path: path_of(error), reason: error.to_string() }
}

/// The path that an error names.
fn path_of(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        ignore::Error::Loop { child, .. } => Some(child.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(root: &Path, options: &WalkOptions) -> Vec<String> {
        let paths = walk(root, options).expect("a walk").map(|file| file.expect("a file").path);
        paths
            .map(|path| {
                path.strip_prefix(root).expect("below").to_string_lossy().replace('\\', "/")
            })
            .collect()
    }

    #[test]
    fn a_path_and_its_folders_are_judged_as_the_walk_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["a/b/c.md", "target/x/y.md", ".kokeshi/index.db", "a/b/skip.log", "a/.h/i.md"]
        {
            fs::create_dir_all(root.join(name).parent().expect("a folder")).expect("a folder");
            fs::write(root.join(name), "x").expect("a file");
        }
        fs::write(root.join(".gitignore"), "target\n*.log\n").expect("a file");
        let options = WalkOptions::default();
        let folders: Vec<PathBuf> = walk_folders(root, &options)
            .expect("a walk")
            .map(|folder| folder.expect("a folder"))
            .collect();
        assert_eq!(folders, [root.to_owned(), root.join("a"), root.join("a/b")]);
        let is = |name: &str| is_walked(root, &root.join(name), &options).expect("a walk");
        for name in ["a/b/c.md", "a/b", "a"] {
            assert!(is(name), "{name}");
        }
        for name in
            ["target", "target/x/y.md", ".kokeshi/index.db", "a/b/skip.log", "a/.h/i.md", "none"]
        {
            assert!(!is(name), "{name}");
        }
        let all = WalkOptions { hidden: true, ignored: true, globs: vec!["*.log".to_owned()] };
        assert!(is_walked(root, &root.join("a/b/skip.log"), &all).expect("a walk"));
        assert!(!is_walked(root, &root.join("a/b/c.md"), &all).expect("a walk"));
    }

    #[test]
    fn ignored_hidden_and_own_files_are_skipped_unless_requested() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["b.md", "a/c.txt", "a/skip.log", ".hidden", ".kokeshi/index.db"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "text").expect("a file");
        }
        fs::write(root.join(".gitignore"), "*.log\n").expect("a file");
        assert_eq!(names(root, &WalkOptions::default()), ["a/c.txt", "b.md"]);
        let all = WalkOptions { hidden: true, ignored: true, globs: Vec::new() };
        assert_eq!(names(root, &all), [".gitignore", ".hidden", "a/c.txt", "a/skip.log", "b.md"]);
        let markdown = WalkOptions { globs: vec!["*.md".to_owned()], ..WalkOptions::default() };
        assert_eq!(names(root, &markdown), ["b.md"]);
        let rest = WalkOptions { globs: vec!["!*.md".to_owned()], ..WalkOptions::default() };
        assert_eq!(names(root, &rest), ["a/c.txt"]);
    }

    #[test]
    fn a_root_may_be_a_file_and_an_absent_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        fs::write(&path, "text").expect("a file");
        let files: Vec<_> = walk(&path, &WalkOptions::default()).expect("a walk").collect();
        assert!(matches!(&files[..], [Ok(file)] if file.path == path && file.len_bytes == 4));
        let absent = folder.path().join("absent");
        let mut files = walk(&absent, &WalkOptions::default()).expect("a walk");
        let error = files.next().expect("an entry").expect_err("absent");
        assert!(matches!(error, Error::Unreachable { path: Some(path), .. } if path == absent));
    }

    #[cfg(unix)]
    #[test]
    fn a_change_is_seen_even_if_its_time_is_set_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        fs::write(&path, "text").expect("a file");
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(&path).expect("a file");
        file.set_modified(old).expect("a time");
        let before = changed(&fs::metadata(&path).expect("metadata"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, "texT").expect("a file");
        file.set_modified(old).expect("a time");
        let metadata = fs::metadata(&path).expect("metadata");
        assert_eq!(metadata.modified().expect("a time"), old);
        assert!(changed(&metadata) > before);
    }
}
