//! Checks of names that become parts of URLs and of paths in the cache.

use crate::error::{Error, Result};

/// The hub's limit on the length of a repository name.
const MAX_REPO: usize = 96;
/// Longer than any usual revision, and short enough for the file names of every file system.
const MAX_REVISION: usize = 200;

/// Accepts `owner/name` in the characters that the hub allows.
///
/// Like the hub, it refuses `--`, which keeps the cache's folder name unambiguous.
pub(crate) fn check_repo(repo: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let valid = repo.len() <= MAX_REPO
        && !repo.contains("--")
        && !repo.contains("..")
        && repo.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
    if valid { Ok(()) } else { Err(Error::RepoName { repo: repo.to_owned() }) }
}

/// Accepts a valid name of a git branch or tag, a commit, or `refs/pr/N`.
pub(crate) fn check_revision(revision: &str) -> Result<()> {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    let valid = revision.len() <= MAX_REVISION
        && !revision.starts_with('-')
        && !revision.contains("..")
        && revision.bytes().all(|b| b.is_ascii_graphic() && !b"\\:?*[~^\"<>|".contains(&b))
        && revision.split('/').all(part);
    if valid { Ok(()) } else { Err(Error::Revision { revision: revision.to_owned() }) }
}

/// Whether a file name from a server or an index stays inside the snapshot's folder on every
/// operating system.
pub(crate) fn is_safe_path(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    !path.bytes().any(|b| matches!(b, b'\\' | b':' | 0)) && path.split('/').all(part)
}

/// Whether `text` is a digest in lower-case hexadecimal: 40 digits of SHA-1 or 64 of SHA-256.
pub(crate) fn is_digest(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_are_those_of_the_hub() {
        for good in ["jinaai/jina-embeddings-v3", "a/b", "A_1/x.y-z"] {
            assert!(check_repo(good).is_ok(), "{good}");
        }
        let long = format!("a/{}", "b".repeat(95));
        for bad in
            ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b--c", "a/.b", "a/b\0", "ä/b", &long]
        {
            assert!(check_repo(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn revisions_are_those_of_git() {
        for good in ["main", "refs/pr/7", "v1.0", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(check_revision(good).is_ok(), "{good}");
        }
        for bad in ["", "/main", "a//b", "a/../b", "..", "-x", "a b", "a\\b", "a\0", "a:b", ".git"]
        {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names_that_leave_the_snapshot_are_not_safe() {
        for good in ["config.json", "1_Pooling/config.json", "..a", "a/b/c.d"] {
            assert!(is_safe_path(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../b", "a/..", "a//b", "./a", "a\\b", "C:a", "\0"]
        {
            assert!(!is_safe_path(bad), "{bad}");
        }
    }
}
