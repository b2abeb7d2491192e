//! Sockets: accepting connections, timeouts, and stopping.

use crate::app::App;
use crate::config::Timeouts;
use crate::connections::{Connections, Slot};
use crate::error::{Error, Result};
use crate::half_open::{ClientWaits, HalfOpen, Reset};
use crate::reload::{ReadConfig, Reload};
use crate::service::{ApiService, Peer};
use crate::shutdown;
use crate::tls::Certificate;
use axum::body::Body;
use axum::http::Version;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::Service;

/// Minimum time for sending the last bytes of answers when stopping.
const MIN_FLUSH: Duration = Duration::from_secs(2);
/// Maximum size of the head of a request, in bytes, and of what of an answer waits for the socket.
const MAX_HEAD: usize = 64 << 10;
/// Bytes of answers that the system takes before they are on their way. Without this limit it takes
/// megabytes per connection of a client that reads nothing.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MAX_UNSENT: u32 = 256 << 10;
/// Maximum number of connections over the limit that are answered, with a refusal; for further ones
/// the oldest is closed.
const MAX_REFUSED: usize = 256;

/// A server that is bound to its address but does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    service: ApiService,
    tls: Option<Certificate>,
    /// The configuration file, and how to read it again.
    config: Option<(PathBuf, ReadConfig)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds a service to the address of its configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if the address is in use, [`Error::File`] if the files for TLS are invalid.
    pub fn bind(service: ApiService) -> Result<Self> {
        let config = service.app.config();
        let tls = config.tls.as_ref().map(Certificate::open).transpose()?;
        let address = config.address;
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, service, tls, config: None })
    }

    /// Also follows changes of the configuration in `file`, which `read` reads again. The key file
    /// and those for TLS are followed in any case.
    #[must_use]
    pub fn with_config(self, file: PathBuf, read: ReadConfig) -> Self {
        Self { config: Some((file, read)), ..self }
    }

    /// The address that it listens on. If port 0 was configured, this has the port that the system
    /// assigned.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until TERM or INT, then finishes accepted requests. Returns the number of requests
    /// that were not answered within the drain timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if the system refuses threads or signal handlers.
    pub fn run(self) -> Result<usize> {
        self.app().follow_collections()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let unanswered = runtime.block_on(self.serve());
        // A thread may still be tokenizing for a client that has disconnected.
        runtime.shutdown_timeout(Duration::from_millis(100));
        unanswered
    }

    fn app(&self) -> &Arc<App> {
        &self.service.app
    }

    async fn serve(mut self) -> Result<usize> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let graceful = GracefulShutdown::new();
        let (app, tls, config) = (Arc::clone(self.app()), self.tls.clone(), self.config.take());
        let reload = Reload::new(app, tls, config);
        // Connections are still accepted while draining: a refusal is better than no answer.
        let (unanswered, remaining) = tokio::select! {
            () = self.accept(&listener, &graceful) => (0, Duration::ZERO),
            ended = reload.follow() => return ended.map(|()| 0).map_err(Error::from),
            drained = self.drain() => drained?,
        };
        drop(listener);
        if unanswered == 0 {
            // Clients that do not read their answers are cut off when the process ends.
            drop(tokio::time::timeout(remaining.max(MIN_FLUSH), graceful.shutdown()).await);
        }
        Ok(unanswered)
    }

    /// Accepts connections until the future is dropped.
    async fn accept(&self, listener: &tokio::net::TcpListener, graceful: &GracefulShutdown) {
        let limit = self.app().config().limits.connections;
        let connections = Connections::new(limit, !self.app().keys().is_empty());
        let refused = Connections::new(MAX_REFUSED, true);
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let slot = connections.take();
                    let peer = Peer { address, is_over_limit: slot.is_none() };
                    if let Some(slot) = slot.or_else(|| refused.take()) {
                        self.spawn_connection(stream, peer, slot, graceful.watcher());
                    }
                }
                // File descriptors have run out, or a client has disconnected: neither stops the
                // server.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Waits for the signal to stop, and then for accepted requests. Returns the number of
    /// unanswered requests and the rest of the drain timeout.
    async fn drain(&self) -> Result<(usize, Duration)> {
        shutdown::signal().await?;
        let limit = self.app().config().timeouts.drain;
        tracing::info!(seconds = limit.as_secs_f64(), "stopping");
        let started = Instant::now();
        self.app().drain.close();
        let unanswered = self.app().drain.wait(limit).await;
        Ok((unanswered, limit.saturating_sub(started.elapsed())))
    }

    /// Serves a connection in a new task, which holds `slot`.
    fn spawn_connection(&self, stream: TcpStream, peer: Peer, slot: Slot, watcher: Watcher) {
        // Small answers must not be delayed. Both fail only on a closed socket.
        drop(stream.set_nodelay(true));
        #[cfg(any(target_os = "android", target_os = "linux"))]
        drop(socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT));
        let (slot, tls) = (Arc::new(slot), self.tls.as_ref().map(Certificate::acceptor));
        let connection = Connection {
            peer,
            slot: Arc::clone(&slot),
            service: self.service.clone(),
            timeouts: self.app().config().timeouts,
            watcher,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = connection.serve(stream, tls) => {}
                () = slot.given_away() => {
                    tracing::debug!(peer = %peer.address, "closed to make room for another one");
                }
            }
        });
    }
}

/// A connection and what it is served with.
struct Connection {
    peer: Peer,
    slot: Arc<Slot>,
    service: ApiService,
    timeouts: Timeouts,
    watcher: Watcher,
}

impl Connection {
    /// Serves it until it ends.
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let (peer, limit) = (self.peer.address, self.timeouts.headers);
        let Some(acceptor) = tls else { return self.serve_http(stream).await };
        match tokio::time::timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn serve_http<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Reset + Unpin + Send + 'static,
    {
        let Self { peer, slot, service, timeouts, watcher } = self;
        let stream = HalfOpen::new(stream, timeouts.write);
        let waits = ClientWaits::default();
        let waiting = waits.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Arc::clone(&slot));
            // Older clients do not know interim responses.
            if request.version() == Version::HTTP_11 {
                request.extensions_mut().insert(waiting.clone());
            }
            let (mut service, waiting) = (service.clone(), waiting.clone());
            async move {
                let response = service.call(request).await;
                waiting.set(false);
                response
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.headers)
            .half_close(true)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream.clone()), service);
        let ended = tokio::select! {
            biased;
            ended = watcher.watch(connection) => ended,
            () = stream.client_gone(&waits) => return,
            () = stream.reader_stopped() => {
                tracing::debug!(peer = %peer.address, "the client does not read its answer");
                return stream.reset_when_closed();
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "the connection ended early");
        }
    }
}
