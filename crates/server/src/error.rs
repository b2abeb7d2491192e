//! Errors of starting and running a server.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The result of this crate's public functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An invalid configuration, or a failure of the system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Listening on the address failed.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The address is not loopback, and no key is configured.
    #[error("{address} can be reached from other machines, and no API key is configured")]
    KeyRequired {
        /// The address.
        address: SocketAddr,
    },
    /// An API key that no header can contain. The message does not quote it.
    #[error(
        "letter {position} of API key {number} is not ASCII, so no request could have this key. \
         Use letters, digits and punctuation of ASCII"
    )]
    ApiKey {
        /// Counts from 1.
        number: usize,
        /// The letter in the key; counts from 1.
        position: usize,
    },
    /// An API key without letters.
    #[error("API key {number} is empty. Remove it, or set it to a secret")]
    EmptyApiKey {
        /// Counts from 1.
        number: usize,
    },
    /// A configuration that would open a running server.
    #[error("no API key is left; a server with keys does not become open while it runs")]
    NoKeyLeft,
    /// Settings that the caller cannot read again.
    #[error("{0}")]
    Settings(String),
    /// No model to serve.
    #[error("there is no model to serve")]
    NoModel,
    /// Two models with the same name.
    #[error("two models have the name `{name}`; each needs its own")]
    DuplicateModel {
        /// The name.
        name: String,
    },
    /// The bindings of names to collections cannot be read.
    #[error("cannot serve collections: {reason}")]
    Bindings {
        /// The cause.
        reason: String,
    },
    /// No served model has the default task.
    #[error("no served model has the default task `{task}`")]
    DefaultTask {
        /// The task.
        task: String,
    },
    /// A file with invalid content.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        reason: String,
    },
    /// An invalid origin for CORS.
    #[error("`{origin}` is not an origin; expected one like `https://example.org`, or `*`")]
    Origin {
        /// The origin.
        origin: String,
    },
    /// A model cannot be loaded.
    #[error("cannot load the model `{name}`: {source}")]
    Model {
        /// The name.
        name: String,
        /// The engine's error.
        source: kokeshi::Error,
    },
    /// The system refused a thread, a timer or a signal handler.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
    /// The log cannot be set up.
    #[error("cannot set up the log: {0}")]
    Telemetry(String),
}
