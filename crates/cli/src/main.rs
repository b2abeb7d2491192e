//! `kokeshi`: text embeddings with jina-embeddings-v3 and -v2, computed on this machine.
//!
//! A module imports only from modules further down this list; `.ci/invariants` fails on a cycle:
//!
//! ```text
//! main
//! commands                  one module per command
//! collection, embedder      collections by their options; texts through a model, with progress
//! selection, output, view   models and devices; files of vectors; pictures
//! card, input, meter        NVIDIA cards; sources of texts; progress
//! failure                   errors with hints
//! printer                   the terminal
//! args                      the command line: definitions only
//! bytes, env, features, layout   sizes, environment variables, cargo features, columns
//! ```
//!
//! Exit status: 0 success; 1 a failure that the message explains, or a search without results;
//! 2 wrong usage; 130 interrupted by Ctrl-C.

mod args;
mod bytes;
mod card;
mod collection;
mod commands;
mod embedder;
mod env;
mod failure;
mod features;
mod input;
mod layout;
mod meter;
mod output;
mod printer;
mod selection;
mod view;

use args::{Arguments, Command};
use clap::Parser;
use printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = Printer::detect();
    match run(&arguments.command, &printer) {
        Ok(status) => status,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &printer),
    }
}

fn run(command: &Command, printer: &Printer) -> anyhow::Result<ExitCode> {
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
        Command::Bench(options) => commands::bench::run(options, printer),
        Command::Migrate(command) => commands::migrate::run(command, printer),
        Command::Models(command) => commands::models::run(command, printer),
    }
}
