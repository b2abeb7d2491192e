//! The log on standard error: one line per request, as text or JSON.

use crate::error::{Error, Result};
use tracing::level_filters::LevelFilter;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures of the server.
    Error,
    /// Conditions that need an operator's attention.
    Warn,
    /// Every request.
    #[default]
    Info,
    /// Details for diagnosing failures.
    Debug,
}

/// Starts the log of this process.
///
/// # Errors
///
/// [`Error::Telemetry`] if the process already has a log.
pub fn start_log(format: LogFormat, level: LogLevel) -> Result<()> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    let log = log.with_target(false);
    let started = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::Telemetry(error.to_string()))
}
