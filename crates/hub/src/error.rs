//! Errors of the hub and its cache.

use std::path::{Path, PathBuf};

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the repository or file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is not a known model, a repository or a folder.
    #[error("unknown model `{name}`; {hint}")]
    UnknownModel {
        /// The name, as the user typed it.
        name: String,
        /// The name that was probably intended, or the known names.
        hint: String,
    },
    /// A revision of the bundled model was requested.
    #[error("`{name}` is part of this program and has no revisions; omit `@`")]
    BundledRevision {
        /// The model.
        name: &'static str,
    },
    /// Text that is not a valid repository name.
    #[error(
        "`{repo}` is not a hub repository: expected `owner/name` in letters, digits, `-`, `_` and `.`"
    )]
    RepoName {
        /// The text.
        repo: String,
    },
    /// Text that is not a valid revision.
    #[error("`{revision}` is not a revision: expected a branch, a tag, a commit or `refs/pr/N`")]
    Revision {
        /// The text.
        revision: String,
    },
    /// No variable locates the cache.
    #[error("cannot locate the model cache; set `HF_HUB_CACHE` or `HOME`")]
    NoHome,
    /// A variable is not valid Unicode.
    #[error("the environment variable `{name}` is not valid Unicode")]
    Variable {
        /// Its name.
        name: &'static str,
    },
    /// The endpoint is not a web address.
    #[error(
        "`HF_ENDPOINT` is `{endpoint}`; expected an address such as `https://huggingface.co`, \
         without a query"
    )]
    Endpoint {
        /// The text.
        endpoint: String,
    },
    /// The token has bytes that an HTTP header cannot contain.
    #[error("the access token has characters that cannot be sent; check `HF_TOKEN`")]
    Token,
    /// A download is needed in offline mode.
    #[error(
        "{repo} at `{revision}` is not complete in {} and `HF_HUB_OFFLINE` is set; unset it (and \
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
    /// The hub denies access.
    #[error(
        "the hub refuses access to {repo} (HTTP {status}): it does not exist, is private, or its \
         licence has not been accepted; {hint}, accept the licence at {page}, and set `HF_TOKEN` to \
         a token with read access"
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
    /// The hub does not have the repository or revision.
    #[error("the hub has no {repo} at `{revision}` (HTTP 404); {hint}")]
    NotFound {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// What to check.
        hint: String,
    },
    /// A response with an unexpected status.
    #[error("the hub answered HTTP {status} for {url}; check `HF_ENDPOINT`")]
    Status {
        /// The status.
        status: u16,
        /// The requested address.
        url: String,
    },
    /// Connection failures, server errors or rate limits in every attempt.
    #[error(
        "cannot download {what} after {attempts} attempts: {reason}; the part \
         that arrived is kept. Check the network and `HF_ENDPOINT`, then pull again"
    )]
    Network {
        /// The file, or the list of files.
        what: String,
        /// Number of attempts.
        attempts: u32,
        /// The last failure.
        reason: String,
    },
    /// A connection failure that a retry would not change, such as an untrusted certificate.
    #[error(
        "cannot connect to {url}: {reason}; a proxy with its own certificate authority needs \
         `SSL_CERT_FILE`"
    )]
    Connection {
        /// The requested address.
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
        /// The requested address.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// An invalid file list.
    #[error("the file list of {repo} is invalid: {reason}; check `HF_ENDPOINT`")]
    Listing {
        /// The repository.
        repo: String,
        /// What is wrong.
        reason: String,
    },
    /// A file name that would leave the cache.
    #[error(
        "{repo} has a file named {path:?}, which is not a path inside the repository; nothing was \
         downloaded"
    )]
    UnsafePath {
        /// The repository.
        repo: String,
        /// The name.
        path: String,
    },
    /// A repository that lacks files of a model.
    #[error(
        "{repo} at `{revision}` is not a model that this program can read: it has no {missing}"
    )]
    NotAModel {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// The missing file or files.
        missing: String,
    },
    /// A file arrived twice with the wrong checksum.
    #[error(
        "{file} arrived damaged twice: its {kind} is {found}, expected {expected}; the damaged file \
         was removed. Pull again, or check the proxy or mirror"
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
    /// A file of the cache that is not what was downloaded.
    #[error(
        "{} is damaged: its {kind} is {found}, expected {expected}; download it again", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The kind of digest.
        kind: &'static str,
        /// The digest of its content.
        found: String,
        /// The digest that its name says.
        expected: String,
    },
    /// The disk is full.
    #[error(
        "no space left for {}: {needed} more bytes are needed; the part that arrived is kept. Free \
         space and pull again, or set `HF_HUB_CACHE` to another disk", path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that have not been written yet.
        needed: u64,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The attempted operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error: `map_err(Error::io("read", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
