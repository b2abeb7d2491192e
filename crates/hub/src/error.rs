//! What can go wrong between the name of a model and its files on the disk.

use std::path::{Path, PathBuf};

/// The result of a hub call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the repository or file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is no known model, no repository and no folder.
    #[error("unknown model `{name}`; {hint}")]
    UnknownModel {
        /// What was typed.
        name: String,
        /// What was probably meant, or what there is.
        hint: String,
    },
    /// A revision was asked of the bundled model.
    #[error("`{name}` is part of this program and has no revisions; name it without `@`")]
    BundledRevision {
        /// The model.
        name: &'static str,
    },
    /// Text that cannot be a repository.
    #[error(
        "`{repo}` is not a hub repository: expected `owner/name` in letters, digits, `-`, `_` and `.`"
    )]
    RepoName {
        /// What was given.
        repo: String,
    },
    /// Text that cannot be a revision.
    #[error("`{revision}` is not a revision: expected a branch, a tag, a commit or `refs/pr/N`")]
    Revision {
        /// What was given.
        revision: String,
    },
    /// No variable says where the cache is.
    #[error("cannot tell where the model cache is: set `HF_HUB_CACHE` or `HOME`")]
    NoHome,
    /// A variable is not text.
    #[error("the environment variable `{name}` is not valid Unicode")]
    Variable {
        /// Its name.
        name: &'static str,
    },
    /// The endpoint is no web address.
    #[error(
        "`HF_ENDPOINT` is `{endpoint}`; expected an address such as `https://huggingface.co`, \
         without a query"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The token has bytes that no HTTP header may carry.
    #[error("the access token holds characters that cannot be sent; check `HF_TOKEN`")]
    Token,
    /// A download is needed but was forbidden.
    #[error(
        "{repo} at `{revision}` is not whole in {} and `HF_HUB_OFFLINE` is set; unset it (and \
         `TRANSFORMERS_OFFLINE`) to download, or copy the files there", cache.display()
    )]
    Offline {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// The cache that was searched.
        cache: PathBuf,
    },
    /// The hub does not let this user in.
    #[error(
        "the hub refuses access to {repo} (HTTP {status}): it does not exist, is private, or its \
         licence must be accepted first; {hint}, accept the licence at {page}, and set `HF_TOKEN` to \
         a token that may read it"
    )]
    Denied {
        /// The repository.
        repo: String,
        /// 401 or 403.
        status: u16,
        /// The repository's page.
        page: String,
        /// What to check first.
        hint: String,
    },
    /// The hub does not have it.
    #[error("the hub has no {repo} at `{revision}` (HTTP 404); {hint}")]
    NotFound {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// What to check.
        hint: String,
    },
    /// An answer that no retry would change.
    #[error("the hub answered HTTP {status} for {url}; check `HF_ENDPOINT`")]
    Status {
        /// The status.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// Connection failures, server errors or rate limits, beyond the last retry.
    #[error(
        "cannot download {what} after {attempts} attempts: {reason}; what has arrived is kept: \
         check the network and `HF_ENDPOINT`, then pull again"
    )]
    Network {
        /// The file, or the list of files.
        what: String,
        /// Attempts made.
        attempts: u32,
        /// The last failure.
        reason: String,
    },
    /// A failure of the connection that no retry would change, such as an untrusted certificate.
    #[error(
        "cannot connect to {url}: {reason}; a proxy with its own certificate authority needs \
         `SSL_CERT_FILE`"
    )]
    Connection {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// The file of certificate authorities is unusable.
    #[error("cannot use the certificates of {}: {reason}; check `SSL_CERT_FILE`", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects to an address that is not followed: {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The file list is malformed.
    #[error("the file list of {repo} is not understood: {reason}; check `HF_ENDPOINT`")]
    Listing {
        /// The repository.
        repo: String,
        /// What is wrong.
        reason: String,
    },
    /// A file name that would leave the cache.
    #[error(
        "{repo} has a file named {path:?}, which is not a path inside the repository; nothing was downloaded"
    )]
    UnsafePath {
        /// The repository.
        repo: String,
        /// The name.
        path: String,
    },
    /// A repository without the files of a model.
    #[error(
        "{repo} at `{revision}` is not a model that this program can read: it has no {missing}"
    )]
    NotAModel {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// What is not there.
        missing: String,
    },
    /// A file arrived with another content than the hub announced, twice.
    #[error(
        "{file} arrived damaged twice: its {kind} is {found}, expected {expected}; the damaged file \
         was removed: pull again, or check the proxy or mirror"
    )]
    Checksum {
        /// The file.
        file: String,
        /// The kind of digest.
        kind: &'static str,
        /// The digest of what arrived.
        found: String,
        /// The digest that was announced.
        expected: String,
    },
    /// The disk is full.
    #[error(
        "no space left for {}: {needed} more bytes are needed; what has arrived is kept, so free \
         space and pull again, or set `HF_HUB_CACHE` to another disk", path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that are still to be written to it.
        needed: u64,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an input or output failure: `map_err(Error::io("read", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
