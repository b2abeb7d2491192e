//! The program `kokeshi`: text embeddings with jina-embeddings-v3 and -v2, computed on this machine.
//! A library, so that the Python package has the program too.
//!
//! A module imports only from modules further down this list; `.ci/invariants` fails on a cycle:
//!
//! ```text
//! lib
//! commands                  one module per command
//! collection, embedder      collections by their options; texts through a model, with progress
//! selection, output, view   models and devices; files of vectors; pictures
//! card, input, meter        NVIDIA cards; sources of texts; progress
//! failure                   errors with hints
//! printer, status_line      the terminal
//! config                    the configuration file
//! args                      the command line: definitions only
//! recent                    the indexes that were made lately
//! bytes, env, exit, features, layout, text_file, visible   sizes, environment variables, exit
//!                           statuses, cargo features, columns, small files, texts of others
//! ```

mod args;
mod bytes;
mod card;
mod collection;
mod commands;
mod config;
mod embedder;
mod env;
mod exit;
mod failure;
mod features;
mod input;
mod layout;
mod meter;
mod output;
mod printer;
mod recent;
mod selection;
mod status_line;
mod text_file;
mod view;
mod visible;

use args::{Arguments, Command};
use clap::ColorChoice;
use exit::Exit;
use printer::{Preferences, Printer, Verbosity};
use std::ffi::OsString;
use std::time::Instant;

/// Runs the program with `arguments`, whose first is its name, and returns its exit status.
///
/// `program` is the command that starts it in another process; empty if that is the file of this
/// process, as it is unless the program is part of another one.
pub fn main(arguments: impl IntoIterator<Item = OsString>, program: Vec<OsString>) -> u8 {
    commands::fence::set_program(program);
    run_command(arguments) as u8
}

fn run_command(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let start = Instant::now();
    let loaded = config::load();
    let arguments = args::parse(config::command(), arguments);
    let printer = Printer::new(preferences(&arguments));
    if let Some(path) = config::current().path.as_ref().filter(|_| config::current().exists) {
        printer.detail(&format!("configuration {}", path.display()));
    }
    commands::graph::read_graphs_in_processes();
    let result = match loaded {
        Err(error) if needs_configuration(&arguments.command) => Err(error),
        _ => run(&arguments.command, &printer),
    };
    printer.detail(&format!("took {:.2} s", start.elapsed().as_secs_f64()));
    match result {
        Ok(status) => status,
        Err(error) if failure::is_broken_pipe(&error) => Exit::Success,
        Err(error) => failure::report(&error, &printer),
    }
}

/// A flag wins over `NO_COLOR`, and that over the configuration file.
fn preferences(arguments: &Arguments) -> Preferences {
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let color = (arguments.color)
        .or_else(|| env::no_color().then_some(ColorChoice::Never))
        .or(config::current().color());
    Preferences { verbosity, color: color.unwrap_or(ColorChoice::Auto) }
}

/// Whether a mistake in the configuration file stops `command`.
fn needs_configuration(command: &Command) -> bool {
    !matches!(
        command,
        Command::Completions(_) | Command::Man(_) | Command::Extract(_) | Command::Graph(_)
    )
}

fn run(command: &Command, printer: &Printer) -> anyhow::Result<Exit> {
    match command {
        Command::Embed(options) => commands::embed::run(options, printer),
        Command::Similarity(options) => commands::similarity::run(options, printer),
        Command::Cluster(options) => commands::cluster::run(options, printer),
        Command::Classify(options) => commands::classify::run(options, printer),
        Command::Dedupe(options) => commands::dedupe::run(options, printer),
        Command::Serve(options) => commands::serve::run(options, printer),
        Command::Index(options) => commands::index::run(options, printer),
        Command::Search(options) => commands::search::run(options, printer),
        Command::Status(options) => commands::status::run(options, printer),
        Command::Watch(options) => commands::watch::run(options, printer),
        Command::Ann(options) => commands::ann::run(options, printer),
        Command::Forget(options) => commands::forget::run(options, printer),
        Command::Eval(options) => commands::eval::run(options, printer),
        Command::Extract(options) => commands::extract::run(options, printer),
        Command::Graph(options) => commands::graph::run(options),
        Command::Bench(options) => commands::bench::run(options, printer),
        Command::Migrate(command) => commands::migrate::run(command, printer),
        Command::Config(options) => commands::config::run(options, printer),
        Command::Completions(options) => commands::completions::run(options, printer),
        Command::Man(options) => commands::man::run(options, printer),
        Command::Models(command) => commands::models::run(command, printer),
    }
}
