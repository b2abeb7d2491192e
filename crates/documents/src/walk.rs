//! Finding files, as `ripgrep` does: ignored and hidden files are skipped.

use crate::error::{Error, Result};
use ignore::WalkBuilder;
use ignore::overrides::OverrideBuilder;
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
    /// When it was last changed, in nanoseconds since 1970; 0 if unknown.
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
    let mut globs = OverrideBuilder::new(root);
    for glob in &options.globs {
        globs.add(glob).map_err(|error| Error::Walk(error.to_string()))?;
    }
    let globs = globs.build().map_err(|error| Error::Walk(error.to_string()))?;
    let walk = WalkBuilder::new(root)
        .hidden(!options.hidden)
        .ignore(!options.ignored)
        .git_ignore(!options.ignored)
        .git_global(!options.ignored)
        .git_exclude(!options.ignored)
        .parents(!options.ignored)
        .require_git(false)
        .overrides(globs)
        .filter_entry(|entry| entry.file_name() != OWN_FOLDER)
        .sort_by_file_path(Path::cmp)
        .build();
    Ok(walk.filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
            Some(file_entry(&entry))
        }
        Ok(_) => None,
        Err(error) => Some(Err(Error::Walk(error.to_string()))),
    }))
}

fn file_entry(entry: &ignore::DirEntry) -> Result<FileEntry> {
    let metadata = entry.metadata().map_err(|error| Error::Walk(error.to_string()))?;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(0));
    Ok(FileEntry { path: entry.path().to_owned(), modified, len_bytes: metadata.len() })
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
        assert!(files.next().is_some_and(|file| file.is_err()));
    }
}
