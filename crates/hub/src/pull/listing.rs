//! The hub's list of the files of a revision.

use super::checksum::Digest;
use super::remote::Remote;
use super::retry::{Failure, with_retries};
use super::{Events, select};
use crate::cache::RepoCache;
use crate::error::{Error, Result};
use crate::id::{is_digest, is_safe_path};
use std::collections::HashSet;
use std::fs::File;

/// Maximum size of a list: a thousand times the usual size.
const MAX_BYTES: u64 = 16 << 20;
/// Maximum number of files of a model: the largest checkpoints have some hundred.
const MAX_FILES: usize = 2000;
/// Maximum number of files whose size and checksum the list lacks: each takes a request. Mirrors that
/// list only names have models of some ten files.
const MAX_UNDESCRIBED: usize = 100;
/// Maximum size of a file: a terabyte is far more than any model, and sums of such sizes cannot
/// overflow.
const MAX_FILE_BYTES: u64 = 1 << 40;

/// The files of a model at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The commit that the revision points to now.
    pub(crate) commit: String,
    /// The files to download, the smallest first, so that problems appear before the long download.
    pub(crate) files: Vec<RemoteFile>,
}

/// A file in the hub's list.
#[derive(Debug)]
pub(crate) struct RemoteFile {
    /// Its path in the repository.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

/// What the cache has of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CachedState {
    /// Nothing of its size.
    Absent,
    /// A file of its size, with another checksum.
    Damaged,
    /// All of it.
    Whole,
}

impl RemoteFile {
    /// What the cache has of it.
    ///
    /// # Errors
    ///
    /// If a file of the cache cannot be read.
    pub(crate) fn state(&self, cache: &RepoCache, commit: &str) -> Result<CachedState> {
        let mut state = CachedState::Absent;
        for path in cache.copies(commit, &self.path, self.digest.hex(), self.bytes) {
            let failed = Error::io("read", &path);
            let content = File::open(&path).map_err(&failed)?;
            if self.digest.of(content, self.bytes).map_err(&failed)? == self.digest.hex() {
                return Ok(CachedState::Whole);
            }
            state = CachedState::Damaged;
        }
        Ok(state)
    }

    /// Requests the size and digest of one file, because some mirrors list only names.
    fn request(
        remote: &Remote<'_>,
        commit: &str,
        path: &str,
        events: &mut Events<'_>,
    ) -> Result<Self> {
        let url = remote.file_url(commit, path);
        let response = with_retries(remote.limits, path, events, |_| remote.head(&url))?;
        let header = |name| response.headers().get(name)?.to_str().ok();
        let bytes = header("x-linked-size").or_else(|| header("content-length"));
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let digest = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        match (bytes.and_then(|bytes| bytes.parse().ok()), digest.and_then(Digest::from_hex)) {
            (Some(bytes), Some(digest)) => Ok(Self { path: path.to_owned(), bytes, digest }),
            _ => Err(malformed(remote, &format!("it has no size and checksum of {path}"))),
        }
    }
}

#[derive(serde::Deserialize)]
struct Response {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(serde::Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Requests the list from the hub.
    pub(crate) fn fetch(remote: &Remote<'_>, events: &mut Events<'_>) -> Result<Self> {
        let json = with_retries(remote.limits, "the file list", events, |_| {
            let body = remote.get(&remote.listing_url(), 0)?.into_body();
            let read = body.into_with_config().limit(MAX_BYTES).read_to_vec();
            read.map_err(|e| match e {
                ureq::Error::BodyExceedsLimit(_) => Failure::Final(malformed(remote, &e)),
                other => Failure::transient(other),
            })
        })?;
        let answer = serde_json::from_slice(&json).map_err(|e| malformed(remote, &e))?;
        Self::check(remote, answer, events)
    }

    /// Checks the hub's answer and selects the model's files.
    fn check(remote: &Remote<'_>, answer: Response, events: &mut Events<'_>) -> Result<Self> {
        if !is_digest(&answer.sha) {
            return Err(malformed(remote, &format!("`{}` is not a commit", answer.sha)));
        }
        let paths: Vec<_> = answer.siblings.iter().map(|s| s.rfilename.as_str()).collect();
        if let Some(path) = paths.iter().find(|path| !is_safe_path(path)) {
            return Err(Error::UnsafePath {
                repo: remote.repo.to_owned(),
                path: (*path).to_owned(),
            });
        }
        let selected =
            select::model_files(&paths).map_err(|missing| remote.not_a_model(missing))?;
        let selected: HashSet<_> = selected.into_iter().collect();
        let siblings = answer.siblings.iter().filter(|s| selected.contains(s.rfilename.as_str()));
        let siblings: Vec<_> = siblings.collect();
        let undescribed = siblings.iter().filter(|sibling| sibling.file().is_none()).count();
        for (files, limit, of) in [
            (siblings.len(), MAX_FILES, "of the model"),
            (undescribed, MAX_UNDESCRIBED, "without size and checksum"),
        ] {
            if files > limit {
                let reason = format!("it has {files} files {of}; the limit is {limit}");
                return Err(malformed(remote, &reason));
            }
        }
        let described = siblings.into_iter().map(|sibling| match sibling.file() {
            Some(file) => Ok(file),
            None => RemoteFile::request(remote, &answer.sha, &sibling.rfilename, events),
        });
        let mut files = described.collect::<Result<Vec<_>>>()?;
        files.sort_by_key(|file| file.bytes);
        if let Some(file) = files.last().filter(|file| file.bytes > MAX_FILE_BYTES) {
            let reason = format!("{} has {} bytes according to it", file.path, file.bytes);
            return Err(malformed(remote, &reason));
        }
        Ok(Self { commit: answer.sha, files })
    }
}

impl Sibling {
    /// The file; `None` without a size or a valid digest.
    fn file(&self) -> Option<RemoteFile> {
        let (bytes, hex) = match &self.lfs {
            Some(lfs) => (lfs.size, &lfs.sha256),
            None => (self.size?, self.blob_id.as_ref()?),
        };
        let digest = Digest::from_hex(hex)?;
        Some(RemoteFile { path: self.rfilename.clone(), bytes, digest })
    }
}

fn malformed(remote: &Remote<'_>, reason: &dyn std::fmt::Display) -> Error {
    Error::Listing { repo: remote.repo.to_owned(), reason: reason.to_string() }
}
