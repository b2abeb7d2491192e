//! `kokeshi serve`: models behind the APIs of the hosted service, OpenAI, TEI, Ollama and Cohere.

mod collections;
mod file;

use crate::args::{
    AddressArguments, LimitArguments, LogFormat, LogLevel, ServeArguments, TelemetryArguments,
};
use crate::printer::Printer;
use crate::selection;
use kokeshi::{LoadOptions, Models};
use kokeshi_server::{Config, Licence, Limits, ModelEntry, Server, Timeouts, TlsFiles};
use std::net::SocketAddr;
use std::process::ExitCode;

pub(crate) fn run(arguments: &ServeArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let merged = arguments.config.as_deref().map(file::merged).transpose()?;
    let arguments = merged.as_ref().unwrap_or(arguments);
    let served = arguments.models.models.iter().map(|model| entry(model));
    let (entries, places): (Vec<ModelEntry>, Vec<String>) =
        served.collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip();
    let names = entries.iter().map(|entry| entry.name.clone()).zip(places);
    let read = collections::reader(&arguments.collections, names.collect())?;
    for entry in &entries {
        printer.note(&described(entry));
    }
    let options = LoadOptions { device: selection::device(&arguments.device.arithmetic)? };
    let models = Models::new(options, arguments.device.memory_budget);
    let (format, level) = log(&arguments.telemetry);
    kokeshi_server::start_log(format, level)?;
    // With a budget, models take turns in memory, and loading all would be waste.
    let load_all = arguments.check || arguments.device.memory_budget.is_none();
    raise_open_files();
    let server = Server::bind(config(arguments), entries, read, models, load_all)?;
    if arguments.check {
        printer.note("the configuration is good");
        return Ok(ExitCode::SUCCESS);
    }
    let scheme = if arguments.address.tls_cert.is_some() { "https" } else { "http" };
    printer.note(&format!("listening on {scheme}://{}", server.address()));
    match server.run()? {
        0 => Ok(ExitCode::SUCCESS),
        unanswered => anyhow::bail!("stopped with {unanswered} requests unanswered"),
    }
}

/// Lets the process have as many files open as the system lets it: each connection is one, and many
/// shells begin with 1024. Where that fails, connections that do not fit wait.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// A model as `--model` names it, `[NAME=]MODEL`, and where it lies.
fn entry(text: &str) -> anyhow::Result<(ModelEntry, String)> {
    let (name, model) = match text.split_once('=') {
        Some((name, model)) => (Some(name), model),
        None => (None, text),
    };
    let place = selection::locate(model)?;
    // A folder under a known name has that model's licence: `--model jina-embeddings-v3=./mine`.
    let by_name = name.and_then(kokeshi_hub::known);
    let known = by_name.or(selection::known(model)?);
    let name = name.or(known.map(|known| known.name)).unwrap_or(model).to_owned();
    let licence = known
        .map(|known| Licence { id: known.licence.to_owned(), note: known.licence_note.to_owned() });
    let repo = known.and_then(|known| known.repo).map(str::to_owned);
    let at = place.to_string();
    let open = Box::new(move |options: &LoadOptions| place.open(options));
    Ok((ModelEntry { name, repo, licence, open }, at))
}

fn described(entry: &ModelEntry) -> String {
    let terms = entry.licence.as_ref().map(|licence| format!("{}: {}", licence.id, licence.note));
    let terms = terms.as_deref().unwrap_or("licence unknown: see where the model is from");
    format!("model {} ({terms})", entry.name)
}

fn config(arguments: &ServeArguments) -> Config {
    let AddressArguments { host, port, tls_cert, tls_key, cors_origin } = &arguments.address;
    let tls = tls_cert.clone().zip(tls_key.clone());
    let (models, access) = (&arguments.models, &arguments.access);
    Config {
        address: SocketAddr::new(*host, *port),
        tls: tls.map(|(certificates, key)| TlsFiles { certificates, key }),
        cors_origins: cors_origin.clone(),
        default_task: models.default_task.clone(),
        join_queries: models.join_queries,
        classifiers: models.classifiers.clone(),
        api_key_file: access.api_key_file.clone(),
        api_keys: access.api_key.clone(),
        allow_open: access.allow_open,
        public_metrics: access.public_metrics,
        otlp_endpoint: arguments.telemetry.otlp_endpoint.clone(),
        log_inputs: arguments.telemetry.log_inputs,
        limits: limits(&arguments.limits),
        timeouts: timeouts(&arguments.limits),
    }
}

fn log(arguments: &TelemetryArguments) -> (kokeshi_server::LogFormat, kokeshi_server::LogLevel) {
    let format = match arguments.log_format {
        LogFormat::Text => kokeshi_server::LogFormat::Text,
        LogFormat::Json => kokeshi_server::LogFormat::Json,
    };
    let level = match arguments.log_level {
        LogLevel::Error => kokeshi_server::LogLevel::Error,
        LogLevel::Warn => kokeshi_server::LogLevel::Warn,
        LogLevel::Info => kokeshi_server::LogLevel::Info,
        LogLevel::Debug => kokeshi_server::LogLevel::Debug,
    };
    (format, level)
}

fn limits(arguments: &LimitArguments) -> Limits {
    Limits {
        body_bytes: arguments.max_body,
        items: arguments.max_items,
        request_tokens: arguments.max_request_tokens,
        queue_tokens: arguments.queue_tokens,
        connections: arguments.max_connections,
    }
}

fn timeouts(arguments: &LimitArguments) -> Timeouts {
    Timeouts {
        headers: arguments.header_timeout,
        body: arguments.body_timeout,
        request: arguments.request_timeout,
        ready: arguments.ready_timeout,
        drain: arguments.drain_timeout,
    }
}
