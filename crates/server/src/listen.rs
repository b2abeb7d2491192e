//! Sockets: accepting, time limits of connections, and the end.

use crate::app::App;
use crate::bindings::ReadBindings;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::front::{Front, Peer};
use crate::registry::ModelEntry;
use crate::{routes, shutdown, tls};
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use kokeshi::Models;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// How long connections have for the last bytes of their answers, at least.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// Connections beyond the limit that are answered, with a refusal; more wait to be accepted.
const REFUSED: usize = 256;

/// A server that holds its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    front: Front,
    tls: Option<Tls>,
    app: Arc<App>,
}

/// An acceptor, which has nothing to show.
#[derive(Clone)]
struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Server {
    /// Checks the configuration, loads the models (without `load_all`, the first) and takes the
    /// address. `models` keeps what it loads within its memory budget. `read` finds names that lead to
    /// the models of collections.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration or a model, or an address that is taken.
    pub fn bind(
        config: Config,
        entries: Vec<ModelEntry>,
        read: Option<ReadBindings>,
        models: Models,
        load_all: bool,
    ) -> Result<Self> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?.map(Tls);
        let app = Arc::new(App::new(config, entries, read, models)?);
        let front = Front::new(Arc::clone(&app), routes::router(&app)?);
        let address = app.config.address;
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr()?;
        app.load(load_all)?;
        Ok(Self { listener, address, front, tls, app })
    }

    /// Where it listens: with port 0, the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until TERM or INT, then finishes what it accepted. How many requests were not
    /// answered within the time for that.
    ///
    /// # Errors
    ///
    /// If the system refuses threads or signals.
    pub fn run(self) -> Result<usize> {
        self.app.follow()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let unanswered = runtime.block_on(self.serve());
        // Somebody may still be tokenising for a client that is gone.
        runtime.shutdown_timeout(Duration::from_millis(100));
        unanswered
    }

    async fn serve(self) -> Result<usize> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let connections = Arc::new(Semaphore::new(self.app.config.limits.connections));
        let refused = Arc::new(Semaphore::new(REFUSED));
        let graceful = GracefulShutdown::new();
        let accept = async {
            loop {
                let Ok(refusal) = Arc::clone(&refused).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, address)) => {
                        let permit = Arc::clone(&connections).try_acquire_owned();
                        let peer = Peer { address, is_refused: permit.is_err() };
                        let permit = permit.unwrap_or(refusal);
                        self.connect(stream, peer, permit, graceful.watcher());
                    }
                    // Out of file descriptors, or a client that has gone: neither ends the server.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        };
        let drained = async {
            shutdown::signal().await?;
            let limit = self.app.config.timeouts.drain;
            tracing::info!(seconds = limit.as_secs_f64(), "stopping");
            let started = Instant::now();
            self.app.drain.close();
            let unanswered = self.app.drain.settled(limit).await;
            Ok::<_, Error>((unanswered, limit.saturating_sub(started.elapsed())))
        };
        // Connections are accepted while draining: a refusal is a better answer than none.
        let (unanswered, left) = tokio::select! {
            () = accept => (0, Duration::ZERO),
            drained = drained => drained?,
        };
        drop(listener);
        if unanswered == 0 {
            // Connections that do not read their answer end with the process.
            drop(tokio::time::timeout(left.max(LAST_BYTES), graceful.shutdown()).await);
        }
        Ok(unanswered)
    }

    fn connect(
        &self,
        stream: tokio::net::TcpStream,
        peer: Peer,
        permit: OwnedSemaphorePermit,
        watcher: Watcher,
    ) {
        // Small answers must not wait for more to come. It fails on a closed socket alone.
        drop(stream.set_nodelay(true));
        let (front, tls) = (self.front.clone(), self.tls.clone());
        let headers = self.app.config.timeouts.headers;
        tokio::spawn(async move {
            match tls {
                None => speak(stream, peer, front, headers, watcher).await,
                Some(Tls(acceptor)) => {
                    let handshake = tokio::time::timeout(headers, acceptor.accept(stream));
                    match handshake.await {
                        Ok(Ok(stream)) => speak(stream, peer, front, headers, watcher).await,
                        Ok(Err(error)) => {
                            tracing::debug!(peer = %peer.address, %error, "no TLS handshake");
                        }
                        Err(_) => {
                            tracing::debug!(peer = %peer.address, "the TLS handshake took too long");
                        }
                    }
                }
            }
            drop(permit);
        });
    }
}

/// Speaks HTTP on one connection until it ends.
async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    front: Front,
    headers: Duration,
    watcher: Watcher,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request.map(Body::new), peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(peer = %peer.address, %error, "the connection ended early");
    }
}
