//! The configuration file: TOML with the names of the flags as keys.

use crate::args::ServeArguments;
use crate::config;
use crate::failure::hinted;
use crate::text_file;
use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;
use toml::{Table, Value};

/// The options of this call, with those of the file that neither a flag nor a variable sets. The
/// file's values are parsed like flags, so that each option has one definition.
pub(super) fn merge(file: &Path) -> anyhow::Result<ServeArguments> {
    let text = text_file::read(file, text_file::MAX_SETTINGS)
        .with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let table: Table = toml::from_str(&text)
        .with_context(|| format!("the configuration {} is not TOML", file.display()))?;
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let command = config::command();
    let matches = command.clone().get_matches_from(&arguments);
    let (Some(serve), Some(given)) =
        (command.find_subcommand("serve"), matches.subcommand_matches("serve"))
    else {
        anyhow::bail!("a configuration file is only for `kokeshi serve`");
    };
    for (key, value) in &table {
        arguments.extend(
            flags(serve, given, key, value).map_err(|error| {
                error.context(format!("in the configuration {}", file.display()))
            })?,
        );
    }
    let matches = command.try_get_matches_from(arguments)?;
    let serve = matches.subcommand_matches("serve").context("the command is `serve`")?;
    Ok(ServeArguments::from_arg_matches(serve)?)
}

/// The flags equivalent to `key = value`; none if a flag or variable sets the option.
fn flags(
    serve: &Command,
    given: &ArgMatches,
    key: &str,
    value: &Value,
) -> anyhow::Result<Vec<OsString>> {
    let is_key = |key: &str| !matches!(key, "config" | "check" | "help" | "version");
    let argument = serve.get_arguments().find(|arg| arg.get_long() == Some(key) && is_key(key));
    let Some(argument) = argument else {
        let longs = serve.get_arguments().filter_map(clap::Arg::get_long);
        let names: Vec<_> = longs.filter(|key| is_key(key)).map(|key| format!("`{key}`")).collect();
        return Err(hinted(format!("unknown key `{key}`"), format!("keys: {}", names.join(", "))));
    };
    let source = given.value_source(argument.get_id().as_str());
    if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
        return Ok(Vec::new());
    }
    let flag = |value: String| OsString::from(format!("--{key}={value}"));
    Ok(match value {
        Value::Boolean(true) if !argument.get_action().takes_values() => {
            vec![format!("--{key}").into()]
        }
        Value::Boolean(false) if !argument.get_action().takes_values() => Vec::new(),
        Value::Array(values) => {
            values.iter().map(|value| scalar(key, value).map(flag)).collect::<Result<_, _>>()?
        }
        value => vec![flag(scalar(key, value)?)],
    })
}

fn scalar(key: &str, value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        _ => {
            anyhow::bail!("the value of `{key}` has the wrong type; write it as the flag's value")
        }
    })
}
