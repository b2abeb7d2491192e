//! `kokeshi config`: the settings in effect, and where they come from.

use crate::args::{Arguments, ConfigArguments};
use crate::config::{self, Config, Key};
use crate::env;
use crate::exit::Exit;
use crate::printer::Printer;
use clap::{Command, CommandFactory};
use kokeshi_store::Address;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is shown of a variable whose value may be secret.
const HIDDEN: &str = "(hidden)";

/// A setting and its origin.
#[derive(Serialize)]
struct Effective {
    key: &'static str,
    value: String,
    source: String,
}

pub(crate) fn run(arguments: &ConfigArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let config = config::current();
    let settings = Key::ALL.map(|key| effective(config, key));
    let variables = variables();
    if arguments.json {
        let report = serde_json::json!({
            "file": config.path,
            "exists": config.exists,
            "settings": settings,
            "variables": variables,
        });
        printer.print(&format!("{report:#}\n"))?;
        return Ok(Exit::Success);
    }
    // Writing to a string cannot fail; here and below.
    let mut text = String::new();
    let _ = match &config.path {
        Some(path) => {
            let absent = if config.exists { "" } else { " (no such file)" };
            writeln!(text, "{}{absent}\n", path.display())
        }
        None => writeln!(text, "no configuration file: the home folder is unknown\n"),
    };
    let width = settings.iter().map(|setting| setting.value.chars().count()).max().unwrap_or(0);
    for Effective { key, value, source } in &settings {
        let _ = writeln!(text, "{key:<8} {value:<width$}  {source}");
    }
    if !variables.is_empty() {
        text.push_str("\nother variables that are set\n");
    }
    for (name, value) in &variables {
        let _ = writeln!(text, "{name}={value}");
    }
    printer.print(&text)?;
    Ok(Exit::Success)
}

fn effective(config: &Config, key: Key) -> Effective {
    let (value, source) = match (config::variable(key), config.setting(key)) {
        (Some((name, value)), _) => (value, name.to_owned()),
        (None, Some(setting)) => {
            (setting.value.clone(), format!("line {} of the file", setting.line))
        }
        (None, None) => (built_in(key).to_owned(), "built in".to_owned()),
    };
    // An address is shown without its password.
    let value = if key == Key::Store { Address::from(value.as_str()).to_string() } else { value };
    Effective { key: key.name(), value, source }
}

fn built_in(key: Key) -> &'static str {
    match key {
        Key::Model => "starter",
        Key::Device | Key::Color => "auto",
        Key::Threads => "one per core",
        Key::Store => ".kokeshi/index.db in the indexed folder or one above",
    }
}

/// The other variables that are set, of all commands.
fn variables() -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    collect(&Arguments::command(), &mut variables);
    variables.retain(|name, _| Key::ALL.iter().all(|key| key.variable() != Some(name)));
    variables
}

fn collect(command: &Command, variables: &mut BTreeMap<String, String>) {
    for arg in command.get_arguments() {
        let Some((name, value)) = arg.get_env().and_then(|name| Some((name, env::variable(name)?)))
        else {
            continue;
        };
        let value = if arg.is_hide_env_values_set() { HIDDEN.to_owned() } else { value };
        variables.insert(name.to_string_lossy().into_owned(), value);
    }
    command.get_subcommands().for_each(|command| collect(command, variables));
}
