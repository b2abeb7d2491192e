//! Sockets: accepting connections, timeouts, and stopping.

use crate::app::App;
use crate::error::{Error, Result};
use crate::half_open::{ClientWaits, HalfOpen};
use crate::service::{ApiService, Peer};
use crate::{shutdown, tls};
use axum::body::Body;
use axum::http::Version;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::Service;

/// Minimum time for sending the last bytes of answers when stopping.
const MIN_FLUSH: Duration = Duration::from_secs(2);
/// Maximum number of connections over the limit that are answered, with a refusal; further ones
/// wait to be accepted.
const MAX_REFUSED: usize = 256;

/// A server that is bound to its address but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    service: ApiService,
    tls: Option<Tls>,
}

/// A TLS acceptor, with `Debug`.
#[derive(Clone)]
struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Server {
    /// Binds a service to the address of its configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if the address is in use, [`Error::File`] if the files for TLS are invalid.
    pub fn bind(service: ApiService) -> Result<Self> {
        let config = &service.app.config;
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?.map(Tls);
        let address = config.address;
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, service, tls })
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

    async fn serve(self) -> Result<usize> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let graceful = GracefulShutdown::new();
        // Connections are still accepted while draining: a refusal is better than no answer.
        let (unanswered, remaining) = tokio::select! {
            () = self.accept(&listener, &graceful) => (0, Duration::ZERO),
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
        let connections = Arc::new(Semaphore::new(self.app().config.limits.connections));
        let refused = Arc::new(Semaphore::new(MAX_REFUSED));
        loop {
            let Ok(refusal) = Arc::clone(&refused).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let permit = Arc::clone(&connections).try_acquire_owned();
                    let peer = Peer { address, is_over_limit: permit.is_err() };
                    let permit = permit.unwrap_or(refusal);
                    self.spawn_connection(stream, peer, permit, graceful.watcher());
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
        let limit = self.app().config.timeouts.drain;
        tracing::info!(seconds = limit.as_secs_f64(), "stopping");
        let started = Instant::now();
        self.app().drain.close();
        let unanswered = self.app().drain.wait(limit).await;
        Ok((unanswered, limit.saturating_sub(started.elapsed())))
    }

    /// Serves a connection in a new task, which holds `permit`.
    fn spawn_connection(
        &self,
        stream: tokio::net::TcpStream,
        peer: Peer,
        permit: OwnedSemaphorePermit,
        watcher: Watcher,
    ) {
        // Small answers must not be delayed. This fails only on a closed socket.
        drop(stream.set_nodelay(true));
        let (service, tls) = (self.service.clone(), self.tls.clone());
        let headers = self.app().config.timeouts.headers;
        tokio::spawn(async move {
            match tls {
                None => serve_http(stream, peer, service, headers, watcher).await,
                Some(Tls(acceptor)) => {
                    let handshake = tokio::time::timeout(headers, acceptor.accept(stream));
                    match handshake.await {
                        Ok(Ok(stream)) => serve_http(stream, peer, service, headers, watcher).await,
                        Ok(Err(error)) => {
                            tracing::debug!(peer = %peer.address, %error, "TLS handshake failed");
                        }
                        Err(_) => {
                            tracing::debug!(peer = %peer.address, "TLS handshake timed out");
                        }
                    }
                }
            }
            drop(permit);
        });
    }
}

/// Serves HTTP on one connection until it ends.
async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    service: ApiService,
    headers: Duration,
    watcher: Watcher,
) {
    let stream = HalfOpen::new(stream);
    let waits = ClientWaits::default();
    let waiting = waits.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
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
        .header_read_timeout(headers)
        .half_close(true)
        .serve_connection(TokioIo::new(stream.clone()), service);
    let ended = tokio::select! {
        biased;
        ended = watcher.watch(connection) => ended,
        () = stream.client_gone(&waits) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "the connection ended early");
    }
}
