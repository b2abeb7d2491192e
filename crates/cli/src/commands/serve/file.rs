//! The configuration file: TOML whose keys are the names of flags.

use crate::args::{Arguments, ServeArguments};
use crate::failure::hinted;
use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;
use toml::{Table, Value};

/// The options of this call, together with those of the file that neither a flag nor a variable
/// has set. Values of the file are parsed as flags are, so that there is one definition of each.
pub(super) fn merged(file: &Path) -> anyhow::Result<ServeArguments> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let table: Table = toml::from_str(&text)
        .with_context(|| format!("the configuration {} is not TOML", file.display()))?;
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let command = Arguments::command();
    let matches = command.clone().get_matches_from(&words);
    let (Some(serve), Some(given)) =
        (command.find_subcommand("serve"), matches.subcommand_matches("serve"))
    else {
        anyhow::bail!("a configuration file belongs to `kokeshi serve`");
    };
    for (key, value) in &table {
        words.extend(
            flags(serve, given, key, value).map_err(|error| {
                error.context(format!("in the configuration {}", file.display()))
            })?,
        );
    }
    let matches = command.try_get_matches_from(words)?;
    let serve = matches.subcommand_matches("serve").context("the command is `serve`")?;
    Ok(ServeArguments::from_arg_matches(serve)?)
}

/// The flags that say the same as `key = value`; none if the option is set elsewhere.
fn flags(
    serve: &Command,
    given: &ArgMatches,
    key: &str,
    value: &Value,
) -> anyhow::Result<Vec<OsString>> {
    let known = |key: &str| !matches!(key, "config" | "check" | "help" | "version");
    let argument = serve.get_arguments().find(|arg| arg.get_long() == Some(key) && known(key));
    let Some(argument) = argument else {
        let longs = serve.get_arguments().filter_map(clap::Arg::get_long);
        let names: Vec<_> = longs.filter(|key| known(key)).map(|key| format!("`{key}`")).collect();
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
            anyhow::bail!("`{key}` has a value of the wrong type; write it as the flag is written")
        }
    })
}
