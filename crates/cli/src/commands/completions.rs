//! `kokeshi completions`: scripts for shells.

use crate::args::{Arguments, CompletionsArguments};
use crate::printer::Printer;
use clap::CommandFactory;
use std::process::ExitCode;

pub(crate) fn run(arguments: &CompletionsArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "kokeshi", &mut script);
    printer.print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
