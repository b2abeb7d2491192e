//! The HTTP server of kokeshi: one internal request (`embed::EmbedRequest`), and thin adapters that
//! read and write it as Jina, OpenAI, TEI, Ollama and Cohere do.
//!
//! A request passes `listen` (sockets, TLS, time limits), `front` (its id, task prefix, key and
//! limits, log and metrics), a handler in `routes`, `wire` (JSON types), and `embed` (tokenising and
//! the model's queue).

mod app;
mod auth;
mod bindings;
mod body;
mod cl100k;
mod classifiers;
mod config;
mod embed;
mod error;
mod front;
mod limits;
mod listen;
mod metrics;
mod problem;
mod registry;
mod routes;
mod running;
mod shutdown;
mod telemetry;
mod tls;
mod traces;
mod wire;

pub use bindings::{Binding, ReadBindings};
pub use config::{Config, Limits, Timeouts, TlsFiles};
pub use error::{Error, Result};
pub use listen::Server;
pub use registry::{Licence, ModelEntry, Opener};
pub use telemetry::{LogFormat, LogLevel, start_log};
