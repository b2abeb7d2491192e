//! The command line: its definition and the texts of `--help`, nothing else.

mod bench;
mod collection;
mod device;
mod migrate;
mod models;
mod serve;
mod tasks;
mod texts;

pub(crate) use bench::*;
pub(crate) use collection::*;
pub(crate) use device::*;
pub(crate) use migrate::*;
pub(crate) use models::*;
pub(crate) use serve::*;
pub(crate) use tasks::*;
pub(crate) use texts::*;

use crate::env;
use crate::features;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
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
    /// Show no progress
    #[arg(long, global = true, display_order = 999)]
    pub(crate) quiet: bool,
}

/// Parses the command line, or prints what is wrong with it and ends the process.
pub(crate) fn parse() -> Arguments {
    let command = without_empty_variables(Arguments::command());
    let matches = command.try_get_matches().unwrap_or_else(|error| without_hidden(error).exit());
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
    /// Measure the quality of search on queries with known answers
    Eval(EvalArguments),
    /// Measure a model's speed against the limit of this machine
    Bench(BenchArguments),
    /// List, download, inspect and verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Print the text of a PDF file or web page from standard input, within limits
    #[command(hide = true)]
    Extract(ExtractArguments),
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
