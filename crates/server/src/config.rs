//! What an operator can set. Where values come from (flags, environment, a file) is the program's
//! business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a server. [`Config::default`] is open on loopback, for one person.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Listen beyond loopback although no key is configured.
    pub allow_open: bool,
    /// A TOML file of hashed API keys and their limits.
    pub api_key_file: Option<PathBuf>,
    /// API keys in clear, without limits of their own.
    pub api_keys: Vec<String>,
    /// Certificate chain and private key, both PEM; without them, plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Origins that browsers may call from; none switches CORS off.
    pub cors_origins: Vec<String>,
    /// The task of requests that name none, where the model has it.
    pub default_task: Option<String>,
    /// Whether late chunking joins several inputs of `retrieval.query` into one document, as the
    /// hosted service does. By default queries are embedded one by one: they have no common
    /// context.
    pub join_queries: bool,
    /// Folder of trained classifiers; without one, `/v1/train` is off.
    pub classifiers: Option<PathBuf>,
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as `http://localhost:4318`.
    pub otlp_endpoint: Option<String>,
    /// Log the text of inputs.
    pub log_inputs: bool,
    /// Serve `/metrics` without a key although keys are configured.
    pub public_metrics: bool,
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
}

/// The files of TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, the server's own certificate first.
    pub certificates: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// What is refused for its size.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Items of `input`.
    pub items: usize,
    /// Tokens of a request.
    pub request_tokens: usize,
    /// Tokens that wait or run, for each model.
    pub queue_tokens: usize,
    /// Open connections; requests of more are refused, except for probes.
    pub connections: usize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a request's headers have arrived, and between requests of a connection.
    pub headers: Duration,
    /// Until a body has arrived.
    pub body: Duration,
    /// Until a request is answered, its time in the queue included.
    pub request: Duration,
    /// Until the forward pass of `/ready` is done.
    pub ready: Duration,
    /// For accepted requests after the signal to stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            allow_open: false,
            api_key_file: None,
            api_keys: Vec::new(),
            tls: None,
            cors_origins: Vec::new(),
            default_task: None,
            join_queries: false,
            classifiers: None,
            otlp_endpoint: None,
            log_inputs: false,
            public_metrics: false,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            items: 2048,
            request_tokens: 1 << 20,
            queue_tokens: 1 << 18,
            connections: 1024,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(30),
            body: Duration::from_secs(60),
            request: Duration::from_secs(600),
            ready: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}
