//! The command line: its definition and the texts of `--help`, nothing else.

mod bench;
mod collection;
mod config;
mod device;
mod eval;
mod migrate;
mod models;
mod serve;
mod tasks;
mod texts;

pub(crate) use bench::*;
pub(crate) use collection::*;
pub(crate) use config::*;
pub(crate) use device::*;
pub(crate) use eval::*;
pub(crate) use migrate::*;
pub(crate) use models::*;
pub(crate) use serve::*;
pub(crate) use tasks::*;
pub(crate) use texts::*;

use crate::env;
use crate::features;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::sync::LazyLock;
use std::time::Duration;

/// The output of `--version`, without the name of the program.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\n{}", env!("CARGO_PKG_VERSION"), *features::SUMMARY));

/// Text embeddings with jina-embeddings-v3 and -v2, computed on this machine
#[derive(Debug, Parser)]
#[command(
    name = "kokeshi",
    version,
    long_version = VERSION.as_str(),
    after_help = features::SUMMARY.as_str(),
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Show no progress and no notes, only results, warnings and errors
    #[arg(long, short, global = true, display_order = 997, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Also show the configuration file, the store, the model with its device, and times
    #[arg(long, short, global = true, display_order = 998)]
    pub(crate) verbose: bool,
    /// When to use colours [default: `auto`: on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        alias = "colour",
        value_name = "WHEN",
        global = true,
        display_order = 999,
        hide_possible_values = true,
        value_parser = clap::builder::EnumValueParser::<ColorChoice>::new()
    )]
    pub(crate) color: Option<ColorChoice>,
}

/// `--quiet` without `-q`, for a command in which `-q` is another option.
fn long_quiet() -> Arg {
    let arg = Arg::new("quiet").long("quiet").action(clap::ArgAction::SetTrue);
    arg.help("Show no progress and no notes, only results, warnings and errors")
        .display_order(997)
        .conflicts_with("verbose")
}

/// Values for options that neither the command line nor a variable sets, by the name of the option.
pub(crate) type Defaults = [(&'static str, &'static str)];

/// The definition of the command line, with defaults of the user.
pub(crate) fn command(defaults: &Defaults) -> clap::Command {
    with_defaults(without_empty_variables(Arguments::command()), defaults)
}

/// `command` with `defaults` wherever an option of that name does not follow what is recorded
/// elsewhere: a plan records its store, a collection its model.
fn with_defaults(command: clap::Command, defaults: &Defaults) -> clap::Command {
    let has_plan = command.get_arguments().any(|arg| arg.get_id() == "plan");
    let with_default = |arg: Arg| {
        let default = defaults.iter().find(|default| arg.get_long() == Some(default.0));
        let applies = match default {
            Some(("model", _)) => arg.get_default_values() == ["starter"],
            Some(("store", _)) => !has_plan,
            Some(_) => true,
            None => false,
        };
        match default {
            Some((name, value)) if applies => {
                // A store may contain a password.
                arg.default_value(*value).hide_default_value(*name == "store")
            }
            _ => arg,
        }
    };
    command.mut_args(with_default).mut_subcommands(|command| with_defaults(command, defaults))
}

/// Parses the command line by its definition, or prints what is wrong with it and ends the process.
pub(crate) fn parse(
    command: clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Arguments {
    let matches = command.try_get_matches_from(arguments);
    let matches = matches.unwrap_or_else(|error| without_hidden(error).exit());
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// `command` whose options ignore environment variables that are empty: they are as if unset.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().is_some_and(env::is_empty);
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// `error` that suggests no hidden command for a misspelt one.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    let command = Arguments::command();
    let is_shown = |name: &String| {
        command.get_subcommands().any(|shown| shown.get_name() == name && !shown.is_hide_set())
    };
    if let Some(ContextValue::Strings(mut names)) = error.remove(ContextKind::SuggestedSubcommand) {
        names.retain(is_shown);
        if !names.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
        }
    }
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Embed texts, or the chunks of documents
    Embed(EmbedArguments),
    /// Rank texts against a query, or compare them with each other
    Similarity(SimilarityArguments),
    /// Group texts by topic, and name the groups
    Cluster(ClusterArguments),
    /// Assign labels to texts, by their meaning or by labelled examples
    Classify(Box<ClassifyArguments>),
    /// Drop texts that mean the same as another, even across languages
    Dedupe(DedupeArguments),
    /// Serve models over HTTP (APIs of Jina, OpenAI, TEI, Ollama, Cohere)
    Serve(Box<ServeArguments>),
    /// Index files for search, or bring their index up to date
    Index(IndexArguments),
    /// Search indexed files by meaning, and with --hybrid also by words
    Search(SearchArguments),
    /// Show what is indexed, how, and whether it is up to date
    Status(StatusArguments),
    /// Index files now and whenever one changes, until Ctrl-C
    Watch(WatchArguments),
    /// Build an ANN index for a large collection, and measure its recall
    #[command(alias = "near")]
    Ann(AnnArguments),
    /// Remove documents or a whole collection from a store; the files stay
    Forget(ForgetArguments),
    /// Migrate a collection to another model, verified and reversible
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Measure the quality of a model's vectors, and of search, on sets with known answers
    Eval(Box<EvalArguments>),
    /// Measure a model's speed against the limit of this machine
    Bench(BenchArguments),
    /// List, download, inspect and verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Show the settings in effect, and where they come from
    Config(ConfigArguments),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsArguments),
    /// Print a manual page, or write all of them to a folder
    Man(ManArguments),
    /// Print the text of a PDF file or web page from standard input, within limits
    #[command(hide = true)]
    Extract(ExtractArguments),
    /// Answer requests about the graph of an ANN index
    #[command(hide = true)]
    Graph(GraphArguments),
}

/// Parses a number of seconds, such as `30` or `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    number
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

/// The value called `name`, or an error that lists the names.
fn one_of<T: Copy>(
    values: impl IntoIterator<Item = T>,
    name_of: fn(T) -> &'static str,
    name: &str,
) -> Result<T, String> {
    let values: Vec<T> = values.into_iter().collect();
    values.iter().copied().find(|&value| name_of(value) == name).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|&value| format!("`{}`", name_of(value))).collect();
        format!("expected {}", names.join(" or "))
    })
}
