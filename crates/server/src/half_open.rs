//! Clients that close their sending half after a request, as `nc -N` does, and still wait for the
//! answer. On the wire they look like clients that have gone, whose requests should be cancelled.
//! What distinguishes them is how their system answers more bytes, so while such a client waits, it
//! gets an interim response (RFC 9110, 15.2), which any client of HTTP/1.1 skips: if the client has
//! gone, the connection is reset.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Time before the first and the second interim response. Most requests are answered by then.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum time between two interim responses.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Whether the client of a connection has sent its whole request and waits for an answer of which
/// nothing has been written.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientWaits(Arc<AtomicBool>);

impl ClientWaits {
    pub(crate) fn set(&self, waits: bool) {
        self.0.store(waits, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream whose sending half may be closed by the client. Clones are the same stream.
pub(crate) struct HalfOpen<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    stream: S,
    /// A byte that was read to notice the end, and belongs to the next request.
    ahead: Option<u8>,
    has_ended: bool,
    /// Whether a part of a response may not have been written yet.
    is_blocked: bool,
}

impl<S> Clone for HalfOpen<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HalfOpen<S> {
    pub(crate) fn new(stream: S) -> Self {
        let state = State { stream, ahead: None, has_ended: false, is_blocked: false };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits until a client that waits has gone. To be polled after the connection, by the same
    /// task.
    pub(crate) async fn client_gone(&self, waits: &ClientWaits) {
        std::future::poll_fn(|cx| match waits.get() {
            true => self.poll_end(cx),
            // The connection wakes the task, and reads by itself.
            false => Poll::Pending,
        })
        .await;
        let (mut wait, mut next) = (FIRST_WAIT, FIRST_WAIT);
        loop {
            tokio::time::sleep(wait).await;
            (wait, next) = (next, (2 * next).min(MAX_WAIT));
            let probe = std::future::poll_fn(|cx| Poll::Ready(self.probe(cx)));
            if waits.get() && probe.await.is_err() {
                return;
            }
        }
    }

    /// Ready once the client has closed its sending half.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.has_ended {
            return Poll::Ready(());
        }
        // After the start of the next request, the end is not looked for.
        if state.ahead.is_some() {
            return Poll::Pending;
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let read = ready!(Pin::new(&mut state.stream).poll_read(cx, &mut buffer));
        state.ahead = buffer.filled().first().copied();
        // The connection may be waiting for what was read.
        cx.waker().wake_by_ref();
        if read.is_ok() && state.ahead.is_some() {
            return Poll::Pending;
        }
        state.has_ended = true;
        Poll::Ready(())
    }

    /// Writes an interim response, unless bytes of a response are still to be written.
    fn probe(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_blocked {
            return Ok(());
        }
        match Pin::new(&mut state.stream).poll_write(cx, INTERIM) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(written)) if written == INTERIM.len() => {
                drop(Pin::new(&mut state.stream).poll_flush(cx));
                Ok(())
            }
            Poll::Ready(Ok(_)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Every change leaves the state consistent, so it is usable after a panic.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HalfOpen<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if let Some(byte) = state.ahead.take() {
            buffer.put_slice(&[byte]);
            // A lone byte would be a part of a body of its own. What fails here fails again.
            drop(Pin::new(&mut state.stream).poll_read(cx, buffer));
            return Poll::Ready(Ok(()));
        }
        if state.has_ended {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut state.stream).poll_read(cx, buffer))?;
        state.has_ended = buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HalfOpen<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let written = Pin::new(&mut state.stream).poll_write(cx, bytes);
        state.is_blocked = !matches!(written, Poll::Ready(Ok(count)) if count == bytes.len());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut state = self.lock();
        let written = Pin::new(&mut state.stream).poll_write_vectored(cx, parts);
        state.is_blocked = !matches!(written, Poll::Ready(Ok(count)) if count == len);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let flushed = Pin::new(&mut state.stream).poll_flush(cx);
        state.is_blocked |= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }
}
