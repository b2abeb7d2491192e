//! Downloads of whole snapshots into the cache.

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
use download::Download;
use listing::{Listing, RemoteFile};
use remote::Remote;
use retry::Limits;
use std::path::PathBuf;
use std::time::Duration;

/// What happens during a [`pull`], in the order in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// The file list is known.
    Plan {
        /// Files of the snapshot.
        files: usize,
        /// Bytes of those that are not in the cache, parts of earlier downloads included.
        bytes: u64,
    },
    /// Another process is downloading the same file; this one waits for it.
    Waiting {
        /// The file.
        file: &'a str,
    },
    /// Bytes of a file begin to arrive. Sent again after a [`PullEvent::Retry`].
    Start {
        /// The file.
        file: &'a str,
        /// Its whole size.
        bytes: u64,
        /// How many of these bytes are kept from an earlier attempt.
        resumed: u64,
    },
    /// Further bytes of the file that started last.
    Advance {
        /// How many.
        bytes: u64,
    },
    /// A file is in the cache, with its checksum verified if it was downloaded now.
    Done {
        /// The file.
        file: &'a str,
        /// Whether it was there before.
        cached: bool,
    },
    /// An attempt failed and is repeated.
    Retry {
        /// The file, or `the file list`.
        file: &'a str,
        /// Number of the attempt that failed, from 1.
        attempt: u32,
        /// Time until the next one.
        wait: Duration,
        /// Why it failed.
        reason: &'a str,
    },
}

/// Where the events of a pull go.
type Events<'a> = dyn FnMut(PullEvent<'_>) + 'a;

/// Downloads what the cache lacks of `repo` at `revision` and returns the snapshot's folder.
///
/// Every file is verified against the checksum that the hub states, and the snapshot becomes
/// visible to [`locate`] only when all of its files are there. An interrupted pull is continued by
/// the next one. Offline, a whole snapshot in the cache is returned as it is.
///
/// # Errors
/// A malformed name; no access; nothing of that name; a network that fails beyond the last retry; a
/// file that arrives damaged twice; a full disk; a repository that is no model.
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
    let (files, bytes) = (listing.files.len(), absent_bytes(&cache, &listing));
    events(PullEvent::Plan { files, bytes });
    for file in &listing.files {
        Download { remote: &remote, cache: &cache, commit: &listing.commit, file }.run(events)?;
    }
    publish(&cache, &remote, &listing)
}

fn absent_bytes(cache: &RepoCache, listing: &Listing) -> u64 {
    let absent = |file: &&RemoteFile| !file.is_held(cache, &listing.commit);
    listing.files.iter().filter(absent).map(|file| file.bytes).sum()
}

/// Makes the downloaded files visible: links first, the name of the revision last.
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
