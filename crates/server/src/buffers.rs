//! The memory that the bodies of requests and unread answers take, which clients share.

use crate::problem::{ApiResult, Problem};
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Answers of fewer bytes are not counted.
const MIN_COUNTED: u64 = 64 << 10;
/// Bytes of an answer that the connection gets at a time.
const PART: usize = 64 << 10;

/// Counts bytes up to a limit. One client cannot keep others out: as in the queue of a model, the
/// limit may be exceeded by a client that holds less than an even share of it.
#[derive(Clone, Debug)]
pub(crate) struct Buffers(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: usize,
    total: usize,
    /// By client; clients that hold nothing are absent.
    clients: HashMap<Arc<str>, usize>,
}

/// Bytes that a client holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    buffers: Buffers,
    client: Arc<str>,
    bytes: usize,
}

impl Buffers {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(State { limit, total: 0, clients: HashMap::new() })))
    }

    /// Refuses a client that could hold no more.
    pub(crate) fn check_room(&self, client: &str) -> ApiResult<()> {
        self.lock().check_room(client)
    }

    /// Counts `bytes` of `client`, or refuses them.
    pub(crate) fn hold(&self, client: &Arc<str>, bytes: usize) -> ApiResult<Held> {
        self.check_room(client)?;
        Ok(self.hold_anyway(client, bytes))
    }

    /// Counts `bytes` of `client` that are there already.
    fn hold_anyway(&self, client: &Arc<str>, bytes: usize) -> Held {
        let mut held = Held { buffers: self.clone(), client: Arc::clone(client), bytes: 0 };
        held.add(bytes);
        held
    }

    /// Counts the bytes of a large answer until they are on their way.
    pub(crate) fn count_answer(&self, client: &Arc<str>, response: Response) -> Response {
        match response.body().size_hint().exact() {
            Some(bytes @ MIN_COUNTED..) => {
                let held = self.hold_anyway(client, usize::try_from(bytes).unwrap_or(usize::MAX));
                response.map(|body| Body::new(Answer { body, rest: Bytes::new(), _held: held }))
            }
            _ => response,
        }
    }

    /// Every change leaves the counts consistent, so they are usable after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_room(&self, client: &str) -> ApiResult<()> {
        let own = self.clients.get(client).copied();
        let clients = self.clients.len() + usize::from(own.is_none());
        if self.total < self.limit || own.unwrap_or(0) < self.limit / clients {
            return Ok(());
        }
        let message = format!(
            "the bodies and unread answers of all requests take {} bytes, of which {} are yours; \
             the limit is {} bytes. Read the answers, or send smaller requests",
            self.total,
            own.unwrap_or(0),
            self.limit
        );
        let code = "RATE_CONCURRENCY_LIMIT_EXCEEDED";
        Err(Problem::limited(code, message, Duration::from_secs(1)))
    }
}

impl Held {
    /// Counts more bytes, or refuses them.
    pub(crate) fn grow(&mut self, bytes: usize) -> ApiResult<()> {
        self.buffers.check_room(&self.client)?;
        self.add(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: usize) {
        let mut state = self.buffers.lock();
        self.bytes += bytes;
        state.total += bytes;
        *state.clients.entry(Arc::clone(&self.client)).or_default() += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.buffers.lock();
        state.total -= self.bytes;
        if let Some(held) = state.clients.get_mut(&self.client) {
            *held -= self.bytes;
            if *held == 0 {
                state.clients.remove(&self.client);
            }
        }
    }
}

/// The body of an answer, which the connection gets in parts, so that the bytes are counted until
/// nearly all of them were read.
struct Answer {
    body: Body,
    /// What of its last frame the connection has not got yet.
    rest: Bytes,
    _held: Held,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let part = self.rest.len().min(PART);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(part)))))
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.size_hint();
        let exact = body.exact().map(|bytes| bytes + self.rest.len() as u64);
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn name(client: &str) -> Arc<str> {
        client.into()
    }

    #[test]
    fn a_client_that_holds_too_much_is_refused_and_others_are_not() {
        let buffers = Buffers::new(100);
        let mut large = buffers.hold(&name("a"), 99).expect("there is room");
        large.grow(30).expect("there is room");
        let refused = buffers.hold(&name("a"), 1).expect_err("no room");
        assert_eq!(refused.code, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
        assert!(refused.message.contains("129 bytes, of which 129 are yours"), "{refused:?}");
        assert!(large.grow(1).is_err());
        let other = buffers.hold(&name("b"), 50).expect("less than its share");
        assert!(buffers.hold(&name("b"), 1).is_err());
        drop(large);
        drop(buffers.hold(&name("b"), 1).expect("there is room again"));
        drop(other);
        let state = buffers.lock();
        assert_eq!((state.total, state.clients.len()), (0, 0));
    }

    #[test]
    fn an_answer_is_counted_until_it_was_read_and_keeps_its_bytes() {
        let buffers = Buffers::new(1000);
        let bytes: Vec<u8> = (0..1_000_000).map(|at: u32| at as u8).collect();
        let response = Response::new(Body::from(bytes.clone()));
        let counted = buffers.count_answer(&name("a"), response);
        assert_eq!(counted.body().size_hint().exact(), Some(1_000_000));
        assert!(buffers.check_room("a").is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let read = runtime.block_on(counted.into_body().collect()).expect("a body").to_bytes();
        assert!(read == bytes);
        buffers.check_room("a").expect("nothing is held");
        let small = buffers.count_answer(&name("a"), Response::new(Body::from("small")));
        assert_eq!((small.body().size_hint().exact(), buffers.lock().total), (Some(5), 0));
    }
}
