//! Ids of requests.

use axum::http::{HeaderMap, HeaderName};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The header of an id, in requests and answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of a client's id, in bytes.
const MAX_BYTES: usize = 128;

/// Assigns an id to each request: the client's own, or one that is unique in this process.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    state: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn id(&self, headers: &HeaderMap) -> Arc<str> {
        let sent = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        if let Some(sent) = sent.filter(|id| is_plain(id)) {
            return sent.into();
        }
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.state.hash_one(count)).into()
    }
}

/// Whether an id can be logged and sent in headers unchanged.
fn is_plain(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}
