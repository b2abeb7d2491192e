//! The HTTP server of kokeshi: one internal request (`embed::EmbedRequest`), and thin adapters that
//! read and write it in the dialects of Jina, OpenAI, TEI, Ollama and Cohere.
//!
//! A request passes through `listen` (sockets, TLS, timeouts; `connections`), `service` (the task in the path),
//! `accounting` (id, metrics, log, body of a refusal), `admission` (key, limits, `browsers`,
//! `buffers`), a handler in `routes`, `wire` (JSON types), and `embed` (tokenization, in `turns`, and the model's queue).
//! `routes::table` lists all routes with their properties. Searches (`search`) and documents
//! (`additions`) use the collections in `stores`.

mod accounting;
mod additions;
mod admission;
mod app;
mod auth;
mod bindings;
mod body;
mod browsers;
mod buffers;
mod cl100k;
mod classifiers;
mod config;
mod connections;
mod embed;
mod error;
mod files;
mod half_open;
mod limits;
mod listen;
mod metrics;
mod ndjson;
mod page;
mod problem;
mod registry;
mod reload;
mod request_id;
mod routes;
mod running_model;
mod search;
mod service;
mod shutdown;
mod stores;
mod telemetry;
mod tls;
mod traces;
mod turns;
mod visible;
mod wire;
mod work;

pub use bindings::{Binding, ReadBindings, ServedCollections, StoredCollection};
pub use config::{Config, Limits, Timeouts, TlsFiles};
pub use error::{Error, Result};
pub use files::{check_file, read_file, read_regular, read_text_file};
pub use listen::Server;
pub use page::page;
pub use registry::{Licence, LoadModel, ModelEntry};
pub use reload::ReadConfig;
pub use routes::{Access, Dialect, ROUTES, Route};
pub use service::ApiService;
pub use telemetry::{LogFormat, LogLevel, log_failure, log_note, start_log};
pub use visible::is_hidden;
