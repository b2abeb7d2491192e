//! Sockets: accepting, time limits of connections, and the end.

use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::front::Front;
use crate::registry::{ModelEntry, Registry};
use crate::routes;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kokeshi::Models;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A server that holds its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Checks the configuration and takes the address. `models` loads the entries, within its
    /// memory budget.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration, or an address that is taken.
    pub fn bind(config: Config, entries: Vec<ModelEntry>, models: Models) -> Result<Self> {
        let registry = Registry::new(entries, models)?;
        let address = config.address;
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, app: Arc::new(App { config, registry }) })
    }

    /// Where it listens: with port 0, the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until a signal to stop, then finishes what it accepted.
    ///
    /// # Errors
    ///
    /// If the system refuses threads or signals.
    pub fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let front = Front::new(Arc::clone(&self.app), routes::router(Arc::clone(&self.app)));
        loop {
            let Ok((stream, peer)) = listener.accept().await else { continue };
            let front = front.clone();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let front = front.clone();
                async move { Ok::<_, Infallible>(front.answer(request.map(Body::new), peer).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.app.config.timeouts.headers)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    }
}
