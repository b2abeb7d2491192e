//! Downloads of complete snapshots into the cache.

mod address;
mod checksum;
mod download;
mod listing;
mod lock;
mod remote;
mod retry;
mod select;
#[cfg(test)]
mod tests;

use crate::cache::{RepoCache, locate, missing_file};
use crate::config::HubConfig;
use crate::error::{Error, Result};
use crate::id::check_revision;
pub(crate) use checksum::Digest;
use download::Download;
use listing::{CachedState, Listing, RemoteFile};
use remote::Remote;
use retry::Limits;
use std::path::PathBuf;
use std::time::Duration;

/// An event of a [`pull`], in order of occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// The file list is known.
    Plan {
        /// Files of the snapshot.
        files: usize,
        /// Bytes of the files that are not in the cache, parts from earlier downloads included.
        bytes: u64,
    },
    /// Another process is downloading the same file; this process waits for it.
    Waiting {
        /// The file.
        file: &'a str,
    },
    /// The cache has the file, but with another checksum: it is downloaded again.
    Damaged {
        /// The file.
        file: &'a str,
    },
    /// A download starts. Sent again after a [`PullEvent::Retry`].
    Start {
        /// The file.
        file: &'a str,
        /// Its full size.
        bytes: u64,
        /// Bytes kept from an earlier attempt.
        resumed: u64,
    },
    /// More bytes of the most recently started file have arrived.
    Advance {
        /// Number of bytes.
        bytes: u64,
    },
    /// A file is in the cache, and its checksum has been verified.
    Done {
        /// The file.
        file: &'a str,
        /// Whether it was in the cache before, with the right checksum.
        cached: bool,
    },
    /// An attempt failed and will be repeated.
    Retry {
        /// The file, or `the file list`.
        file: &'a str,
        /// Number of the failed attempt, from 1.
        attempt: u32,
        /// Time until the next attempt.
        wait: Duration,
        /// Why it failed.
        reason: &'a str,
    },
}

/// Receives the events of a pull.
type Events<'a> = dyn FnMut(PullEvent<'_>) + 'a;

/// Downloads the files of `repo` at `revision` that the cache lacks and returns the snapshot's
/// folder.
///
/// Every file is compared with the hub's checksum, also one that the cache has already, and
/// [`locate`] finds the snapshot only when it is complete. The next pull resumes an interrupted one. Offline, a complete snapshot in the
/// cache is returned unchanged.
///
/// # Errors
/// A malformed name; no access; no such repository or revision; a network failure after the last
/// retry; a file that arrives damaged twice; a full disk; a repository that is not a model.
pub fn pull(
    config: &HubConfig,
    repo: &str,
    revision: &str,
    progress: &mut dyn FnMut(PullEvent<'_>),
) -> Result<PathBuf> {
    pull_within(&Limits::default(), config, repo, revision, progress)
}

fn pull_within(
    limits: &Limits,
    config: &HubConfig,
    repo: &str,
    revision: &str,
    events: &mut Events<'_>,
) -> Result<PathBuf> {
    let cache = RepoCache::new(&config.cache, repo)?;
    check_revision(revision)?;
    if config.offline {
        return locate(config, repo, revision)?.ok_or_else(|| Error::Offline {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            cache: config.cache.clone(),
        });
    }
    let remote = Remote::new(config, limits, repo, revision)?;
    let listing = Listing::fetch(&remote, events)?;
    let state = |file: &RemoteFile| file.state(&cache, &listing.commit);
    let states = listing.files.iter().map(state).collect::<Result<Vec<_>>>()?;
    let files = || listing.files.iter().zip(&states);
    let absent = files().filter(|(_, state)| **state != CachedState::Whole);
    let bytes = absent.map(|(file, _)| file.bytes).sum();
    events(PullEvent::Plan { files: listing.files.len(), bytes });
    for (file, state) in files() {
        let download = Download { remote: &remote, cache: &cache, commit: &listing.commit, file };
        download.run(*state, events)?;
    }
    publish(&cache, &remote, &listing)
}

/// Publishes the downloaded files: links first, the revision last.
fn publish(cache: &RepoCache, remote: &Remote<'_>, listing: &Listing) -> Result<PathBuf> {
    for file in &listing.files {
        cache.link(&listing.commit, &file.path, file.digest.hex())?;
    }
    let snapshot = cache.snapshot(&listing.commit);
    if let Some(missing) = missing_file(&snapshot)? {
        return Err(remote.not_a_model(missing));
    }
    cache.write_ref(remote.revision, &listing.commit)?;
    Ok(snapshot)
}
