//! `kokeshi serve`: models behind the APIs of Jina, OpenAI, TEI, Ollama and Cohere.

mod collections;
mod file;

use crate::args::{
    AddressArguments, LimitArguments, LogFormat, LogLevel, ServeArguments, TelemetryArguments,
};
use crate::env;
use crate::exit::Exit;
use crate::failure::{self, hinted};
use crate::printer::Printer;
use crate::selection;
use kokeshi::{LoadOptions, Models};
use kokeshi_hub::Check;
use kokeshi_server::{
    ApiService, Config, Error, Licence, Limits, ModelEntry, ReadConfig, Server, Timeouts, TlsFiles,
};
use std::net::SocketAddr;
use std::path::Path;

pub(crate) fn run(arguments: &ServeArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let merged = arguments.config.as_deref().map(file::merge).transpose();
    // A mistake in the file is reported in the format that the command line asks for.
    let known = merged.as_ref().ok().and_then(Option::as_ref).unwrap_or(arguments);
    let (format, level) = log_settings(&known.telemetry);
    kokeshi_server::start_log(format, level)?;
    let is_json = format == kokeshi_server::LogFormat::Json;
    let notes = Notes { printer, is_json };
    let file = arguments.config.as_deref();
    let ended = merged.and_then(|merged| serve(merged.as_ref().unwrap_or(arguments), file, &notes));
    match ended {
        Err(error) if is_json => {
            let (message, hints, exit) = failure::described(&error);
            kokeshi_server::log_failure(&message, &hints);
            Ok(exit)
        }
        ended => ended,
    }
}

/// What the server reports before it serves: lines for people, or of the log if that is JSON.
struct Notes<'a> {
    printer: &'a Printer,
    is_json: bool,
}

impl Notes<'_> {
    fn note(&self, text: &str) {
        match self.is_json {
            true => kokeshi_server::log_note(text),
            false => self.printer.note(text),
        }
    }
}

/// Serves; `file` is the configuration file that `arguments` are merged from.
fn serve(
    arguments: &ServeArguments,
    file: Option<&Path>,
    notes: &Notes<'_>,
) -> anyhow::Result<Exit> {
    check_variables(arguments)?;
    let served = arguments.models.models.iter().map(|model| {
        let (entry, location) = entry(model)?;
        if arguments.device.check_model {
            check_all(model)?;
        }
        Ok((entry, location))
    });
    let (entries, locations): (Vec<ModelEntry>, Vec<String>) =
        served.collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip();
    let names = entries.iter().map(|entry| entry.name.clone()).zip(locations);
    let collections = collections::served(&arguments.collections, names.collect())?;
    for entry in &entries {
        notes.note(&description(entry));
    }
    let options = LoadOptions { device: selection::device(&arguments.device.arithmetic)? };
    let models = Models::new(options, arguments.device.memory_budget);
    // Within a memory budget, models replace each other, so loading all would be wasted work.
    let load_all = arguments.check || arguments.device.memory_budget.is_none();
    raise_open_file_limit();
    let service =
        ApiService::new(config(arguments), entries, collections, models).map_err(with_options)?;
    let server = Server::bind(service.clone())?;
    service.load(load_all)?;
    if arguments.check {
        notes.note("the configuration is valid");
        return Ok(Exit::Success);
    }
    let scheme = if arguments.address.tls_cert.is_some() { "https" } else { "http" };
    notes.note(&format!("listening on {scheme}://{}", server.address()));
    let server = match file {
        Some(file) => server.with_config(file.to_owned(), read_again(arguments, file)),
        None => server,
    };
    match server.run()? {
        0 => Ok(Exit::Success),
        1 => anyhow::bail!("stopped with 1 unanswered request"),
        unanswered => anyhow::bail!("stopped with {unanswered} unanswered requests"),
    }
}

/// Reads the configuration file again, and names what differs from `arguments` beyond the server's
/// configuration.
fn read_again(arguments: &ServeArguments, file: &Path) -> ReadConfig {
    let (before, file) = (fixed(arguments), file.to_owned());
    Box::new(move || {
        let read = file::merge(&file).and_then(|new| check_variables(&new).map(|()| new));
        let new = read.map_err(|error| format!("{error:#}"))?;
        let differ = before.iter().zip(fixed(&new)).filter(|(before, new)| **before != *new);
        Ok((config(&new), differ.map(|((name, _), _)| *name).collect()))
    })
}

/// The options that only a restart changes, with their names.
fn fixed(arguments: &ServeArguments) -> [(&'static str, String); 6] {
    [
        ("port", arguments.address.port.to_string()),
        ("model", format!("{:?}", arguments.models.models)),
        ("collection, migration or store", format!("{:?}", arguments.collections)),
        ("log-format", format!("{:?}", arguments.telemetry.log_format)),
        ("log-level", format!("{:?}", arguments.telemetry.log_level)),
        ("device", format!("{:?}", arguments.device)),
    ]
}

/// Refuses variables of keys that are set to nothing: elsewhere that means unset, but here a mistake
/// in another file would open the server.
fn check_variables(arguments: &ServeArguments) -> anyhow::Result<()> {
    let access = &arguments.access;
    let mistakes = [
        ("KOKESHI_API_KEY", access.api_key.is_empty()),
        ("KOKESHI_API_KEY_FILE", access.api_key_file.is_none()),
    ];
    match mistakes.into_iter().find(|(name, is_used)| *is_used && env::is_empty(name.as_ref())) {
        None => Ok(()),
        Some((name, _)) => Err(hinted(
            format!("the variable {name} is set, but empty"),
            "set it to a value, or unset it to serve without a key",
        )),
    }
}

/// Adds the options that fix a configuration.
fn with_options(error: Error) -> anyhow::Error {
    match error {
        Error::KeyRequired { .. } => hinted(
            error.to_string(),
            "configure keys with --api-key-file, listen on 127.0.0.1 with --host, or use \
             --allow-open to let everybody use the server",
        ),
        error => error.into(),
    }
}

/// Raises the limit of open files as far as the system allows: each connection needs one, and many
/// shells start with 1024. If that fails, connections over the limit wait.
fn raise_open_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// A model as `--model` names it, `[NAME=]MODEL`, and its location.
fn entry(text: &str) -> anyhow::Result<(ModelEntry, String)> {
    let (name, model) = match text.split_once('=') {
        Some((name, model)) => (Some(name), model),
        None => (None, text),
    };
    let location = selection::locate(model)?;
    // A folder with a known name has the licence of that model, as in
    // `--model jina-embeddings-v3=./mine`.
    let by_name = name.and_then(kokeshi_hub::known);
    let known = by_name.or(selection::known(model)?);
    let name = name.or(known.map(|known| known.name)).unwrap_or(model).to_owned();
    let licence = known
        .map(|known| Licence { id: known.licence.to_owned(), note: known.licence_note.to_owned() });
    let repo = known.and_then(|known| known.repo).map(str::to_owned);
    let text = location.to_string();
    let load = Box::new(move |options: &LoadOptions| location.open(options));
    Ok((ModelEntry { name, repo, licence, load }, text))
}

/// Compares all files of a model with their checksums.
fn check_all(text: &str) -> anyhow::Result<()> {
    let model = text.split_once('=').map_or(text, |(_, model)| model);
    selection::check(model, &selection::locate(model)?, Check::All)?;
    Ok(())
}

fn description(entry: &ModelEntry) -> String {
    let licence = entry.licence.as_ref().map(|licence| format!("{}: {}", licence.id, licence.note));
    let licence = licence.as_deref().unwrap_or("licence unknown; see the model's source");
    format!("model {} ({licence})", entry.name)
}

fn config(arguments: &ServeArguments) -> Config {
    let AddressArguments { host, port, tls_cert, tls_key, cors_origin, allow_host } =
        &arguments.address;
    let tls = tls_cert.clone().zip(tls_key.clone());
    let (models, access) = (&arguments.models, &arguments.access);
    Config {
        address: SocketAddr::new(*host, *port),
        tls: tls.map(|(certificates, key)| TlsFiles { certificates, key }),
        cors_origins: cors_origin.clone(),
        allow_hosts: allow_host.clone(),
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

fn log_settings(
    arguments: &TelemetryArguments,
) -> (kokeshi_server::LogFormat, kokeshi_server::LogLevel) {
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
        buffered_bytes: arguments.max_buffered,
        connections: arguments.max_connections,
    }
}

fn timeouts(arguments: &LimitArguments) -> Timeouts {
    Timeouts {
        headers: arguments.header_timeout,
        body: arguments.body_timeout,
        request: arguments.request_timeout,
        write: arguments.write_timeout,
        ready: arguments.ready_timeout,
        drain: arguments.drain_timeout,
    }
}
