//! Why a server does not start or run.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The result of this crate's public calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of the configuration or of the system, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// An address beyond loopback, and no key.
    #[error(
        "{address} can be reached from other machines, and no API key is configured; configure \
         keys, listen on 127.0.0.1, or say that everybody may use it with --allow-open"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// No model is served.
    #[error("no model is served; name at least one")]
    NoModel,
    /// Two models of one name.
    #[error("the model `{name}` is named twice; give each a name of its own")]
    DuplicateModel {
        /// The name.
        name: String,
    },
    /// Where names lead cannot be found out.
    #[error("collections cannot be served: {reason}")]
    Bindings {
        /// Why.
        reason: String,
    },
    /// A task that no served model has.
    #[error("no served model has the default task `{task}`")]
    DefaultTask {
        /// The task.
        task: String,
    },
    /// A file that cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An origin that is not one.
    #[error("`{origin}` is not an origin; expected one like `https://example.org`, or `*`")]
    Origin {
        /// What was given.
        origin: String,
    },
    /// A model cannot be loaded.
    #[error("cannot load the model `{name}`: {source}")]
    Model {
        /// The name.
        name: String,
        /// Why.
        source: kokeshi::Error,
    },
    /// The system refuses threads, timers or signals.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
    /// Telemetry cannot be set up.
    #[error("cannot set up telemetry: {0}")]
    Telemetry(String),
}
