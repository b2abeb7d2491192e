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
//! printer, status_line      the terminal
//! args                      the command line: definitions only
//! recent                    the indexes that were made lately
//! bytes, env, exit, features, layout   sizes, environment variables, exit statuses, cargo
//!                           features, columns
//! ```

mod args;
mod bytes;
mod card;
mod collection;
mod commands;
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
mod view;

use args::Command;
use exit::Exit;
use printer::{Printer, ProgressStyle};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args::parse();
    let mut printer = Printer::detect();
    if arguments.quiet {
        printer.progress = ProgressStyle::Off;
    }
    match run(&arguments.command, &printer) {
        Ok(status) => status,
        Err(error) if failure::is_broken_pipe(&error) => Exit::Success.into(),
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
