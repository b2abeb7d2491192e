//! Clients that close their sending half after a request, as `nc -N` does, and still wait for the
//! answer. On the wire they look like clients that have gone, whose requests should be cancelled.
//! What distinguishes them is how their system answers more bytes, so while such a client waits, it
//! gets an interim response (RFC 9110, 15.2), which any client of HTTP/1.1 skips: if the client has
//! gone, the connection is reset.
//!
//! Clients that do not read their answers are noticed here as well: they must not hold connections.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Time before the first and the second interim response. Most requests are answered by then.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum time between two interim responses.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Bytes per second that a client must read of its answer on average, while it reads at all.
const MIN_RATE: f64 = 4096.0;

/// A stream whose connection can be ended without waiting for the client.
pub(crate) trait Reset {
    /// Lets the system drop what is not sent yet when the stream is closed.
    fn reset_when_closed(&self);
}

impl Reset for TcpStream {
    fn reset_when_closed(&self) {
        // This fails only on a closed socket.
        drop(self.set_zero_linger());
    }
}

impl Reset for TlsStream<TcpStream> {
    fn reset_when_closed(&self) {
        self.get_ref().0.reset_when_closed();
    }
}

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

/// Bytes of a write.
fn count(written: &Poll<io::Result<usize>>) -> usize {
    match written {
        Poll::Ready(Ok(count)) => *count,
        _ => 0,
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
    /// Maximum time in which the client reads nothing.
    write_limit: Duration,
    /// While it is blocked: until when the client must have read more.
    write_until: Option<Instant>,
}

impl<S> State<S> {
    /// Records a write of `written` bytes, after which more wait if it `is_blocked`.
    fn wrote(&mut self, written: usize, is_blocked: bool) {
        self.is_blocked = is_blocked;
        if !is_blocked {
            self.write_until = None;
            return;
        }
        let latest = Instant::now() + self.write_limit;
        let until = self.write_until.unwrap_or(latest);
        let more = Duration::from_secs_f64(written as f64 / MIN_RATE);
        self.write_until = Some(latest.min(until + more));
    }
}

impl<S> Clone for HalfOpen<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HalfOpen<S> {
    /// A stream whose client may stop reading for `write_limit` at most; see
    /// [`Self::reader_stopped`].
    pub(crate) fn new(stream: S, write_limit: Duration) -> Self {
        let state = State {
            stream,
            ahead: None,
            has_ended: false,
            is_blocked: false,
            write_limit,
            write_until: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits until the client has not read enough of its answer for too long.
    pub(crate) async fn reader_stopped(&self) {
        loop {
            let (limit, until) = {
                let state = self.lock();
                (state.write_limit, state.write_until)
            };
            let now = Instant::now();
            match until {
                Some(until) if until <= now => return,
                Some(until) => tokio::time::sleep(until - now).await,
                // An answer that is blocked from now on has more time than this.
                None => tokio::time::sleep(limit).await,
            }
        }
    }

    /// Ends the connection, when it is dropped, without sending the rest.
    pub(crate) fn reset_when_closed(&self)
    where
        S: Reset,
    {
        self.lock().stream.reset_when_closed();
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
        state.wrote(count(&written), count(&written) != bytes.len());
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
        state.wrote(count(&written), count(&written) != len);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let flushed = Pin::new(&mut state.stream).poll_flush(cx);
        let is_blocked = state.is_blocked || flushed.is_pending();
        state.wrote(0, is_blocked);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }
}
