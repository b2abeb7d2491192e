//! Finding files, as a modern grep does: what version control ignores and what is hidden stays out.

use crate::error::{Error, Result};
use ignore::WalkBuilder;
use ignore::overrides::OverrideBuilder;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What a walk takes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Also hidden files and folders.
    pub hidden: bool,
    /// Also what `.gitignore`, `.ignore` and the like leave out.
    pub ignored: bool,
    /// Globs that a file must match, or with `!` before, must not.
    pub globs: Vec<String>,
}

/// A file and what its folder says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// When it was changed, in nanoseconds since 1970; 0 if the system does not say.
    pub modified: i64,
    /// Its size in bytes.
    pub size: u64,
}

/// Folders that hold our own files.
const OWN_FOLDER: &str = ".kokeshi";

/// Finds the files at and below `root`, in the order of their paths. Links are not followed. What
/// cannot be read is an error in its place.
///
/// # Errors
///
/// If a glob cannot be read.
pub fn walk(
    root: &Path,
    options: &WalkOptions,
) -> Result<impl Iterator<Item = Result<Found>> + use<>> {
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
        Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => Some(found(&entry)),
        Ok(_) => None,
        Err(error) => Some(Err(Error::Walk(error.to_string()))),
    }))
}

fn found(entry: &ignore::DirEntry) -> Result<Found> {
    let metadata = entry.metadata().map_err(|error| Error::Walk(error.to_string()))?;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(0));
    Ok(Found { path: entry.path().to_owned(), modified, size: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(root: &Path, options: &WalkOptions) -> Vec<String> {
        let found = walk(root, options).expect("a walk").map(|found| found.expect("a file").path);
        found
            .map(|path| {
                path.strip_prefix(root).expect("below").to_string_lossy().replace('\\', "/")
            })
            .collect()
    }

    #[test]
    fn what_is_ignored_or_hidden_or_ours_stays_out_unless_asked_for() {
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
    fn a_file_can_be_named_itself_and_what_is_absent_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        fs::write(&path, "text").expect("a file");
        let found: Vec<_> = walk(&path, &WalkOptions::default()).expect("a walk").collect();
        assert!(matches!(&found[..], [Ok(found)] if found.path == path && found.size == 4));
        let absent = folder.path().join("absent");
        let mut found = walk(&absent, &WalkOptions::default()).expect("a walk");
        assert!(found.next().is_some_and(|found| found.is_err()));
    }
}
