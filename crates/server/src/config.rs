//! The settings of a server, which the caller reads from options, the environment or a file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a server. [`Config::default`] serves only this machine, without keys.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 selects a free port.
    pub address: SocketAddr,
    /// Listen on addresses other than loopback even if no key is configured.
    pub allow_open: bool,
    /// A TOML file of hashed API keys and their limits.
    pub api_key_file: Option<PathBuf>,
    /// Plain-text API keys, without limits.
    pub api_keys: Vec<String>,
    /// Certificate chain and private key, both PEM; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Origins that browsers may send requests from; if empty, CORS is off.
    pub cors_origins: Vec<String>,
    /// Names of this server, apart from `localhost` and addresses; `*` for any. They are checked
    /// without keys on loopback, where requests for other names come from foreign web pages.
    pub allow_hosts: Vec<String>,
    /// The task of requests that do not name one, if the model has it.
    pub default_task: Option<String>,
    /// Whether late chunking joins several inputs of `retrieval.query` into one document, as the
    /// hosted service does. By default queries are embedded separately: they share no context.
    pub join_queries: bool,
    /// Folder for trained classifiers; `None` disables `/v1/train`.
    pub classifiers: Option<PathBuf>,
    /// An OpenTelemetry collector that accepts OTLP over HTTP, such as `http://localhost:4318`.
    pub otlp_endpoint: Option<String>,
    /// Log the text of inputs.
    pub log_inputs: bool,
    /// Serve `/metrics` without a key even if keys are configured.
    pub public_metrics: bool,
    /// Limits of size.
    pub limits: Limits,
    /// Limits of time.
    pub timeouts: Timeouts,
}

/// Files for TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, the server's own certificate first; PEM.
    pub certificates: PathBuf,
    /// Private key; PEM.
    pub key: PathBuf,
}

/// Maximum sizes; larger requests are refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Items of `input`.
    pub items: usize,
    /// Tokens of a request.
    pub request_tokens: usize,
    /// Tokens that are waiting or running, for each model.
    pub queue_tokens: usize,
    /// Bytes of the bodies of requests and of unread answers.
    pub buffered_bytes: usize,
    /// Open connections; on further ones, only probes are answered.
    pub connections: usize,
}

/// Maximum times.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the headers of a request, and between the requests of a connection.
    pub headers: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// From submission to the answer, including the time in the queue.
    pub request: Duration,
    /// For a client that reads nothing of its answer; one that reads slowly has more, 4 KiB per
    /// second.
    pub write: Duration,
    /// For the forward pass of `/ready`.
    pub ready: Duration,
    /// For finishing accepted requests after the signal to stop.
    pub drain: Duration,
}

impl Config {
    /// These settings with those of `new` that can change while a server runs, and the names of
    /// those that differ and cannot.
    pub(crate) fn updated(&self, new: &Self) -> (Self, Vec<&'static str>) {
        let updated = Self {
            api_key_file: new.api_key_file.clone(),
            api_keys: new.api_keys.clone(),
            tls: new.tls.clone().filter(|_| self.tls.is_some()).or_else(|| self.tls.clone()),
            default_task: new.default_task.clone(),
            join_queries: new.join_queries,
            log_inputs: new.log_inputs,
            public_metrics: new.public_metrics,
            limits: Limits {
                queue_tokens: self.limits.queue_tokens,
                buffered_bytes: self.limits.buffered_bytes,
                connections: self.limits.connections,
                ..new.limits
            },
            timeouts: new.timeouts,
            ..self.clone()
        };
        let fixed = [
            ("host or port", self.address.ip() != new.address.ip()),
            ("allow-open", self.allow_open != new.allow_open),
            ("tls-cert", self.tls.is_some() != new.tls.is_some()),
            ("cors-origin", self.cors_origins != new.cors_origins),
            ("allow-host", self.allow_hosts != new.allow_hosts),
            ("classifiers", self.classifiers != new.classifiers),
            ("otlp-endpoint", self.otlp_endpoint != new.otlp_endpoint),
            ("queue-tokens", self.limits.queue_tokens != new.limits.queue_tokens),
            ("max-buffered", self.limits.buffered_bytes != new.limits.buffered_bytes),
            ("max-connections", self.limits.connections != new.limits.connections),
        ];
        let fixed = fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name);
        (updated, fixed.collect())
    }
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
            allow_hosts: Vec::new(),
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
            buffered_bytes: 512 << 20,
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
            write: Duration::from_secs(30),
            ready: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}
