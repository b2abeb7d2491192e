//! The log on standard error: one line per request, as text or JSON.

use crate::error::{Error, Result};
use crate::visible::{Lines, LogWriter};
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
    let lines = match format {
        LogFormat::Text => Lines::Text,
        LogFormat::Json => Lines::Json,
    };
    let log = tracing_subscriber::fmt().with_writer(move || LogWriter(lines)).with_max_level(level);
    let log = log.with_target(false);
    let started = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::Telemetry(error.to_string()))?;
    // The message of a panic would be lines of text between lines of JSON.
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
    Ok(())
}

/// Logs what a program reports when it starts.
pub fn log_note(text: &str) {
    tracing::info!("{text}");
}

/// Logs why a program ends, with advice.
pub fn log_failure(message: &str, hints: &[String]) {
    match hints.is_empty() {
        true => tracing::error!("{message}"),
        false => tracing::error!(hint = hints.join("; "), "{message}"),
    }
}
