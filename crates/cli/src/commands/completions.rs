//! `kokeshi completions`: scripts for shells.

use crate::args::{Arguments, CompletionsArguments};
use crate::exit::Exit;
use crate::printer::Printer;
use clap::{Command, CommandFactory};

pub(crate) fn run(arguments: &CompletionsArguments, printer: &Printer) -> anyhow::Result<Exit> {
    // Scripts would offer hidden commands too.
    let program = Arguments::command();
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
    let mut program = Command::new("kokeshi")
        .version(env!("CARGO_PKG_VERSION"))
        .args(program.get_arguments().cloned())
        .subcommands(shown.cloned());
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "kokeshi", &mut script);
    printer.print(&String::from_utf8(script)?)?;
    Ok(Exit::Success)
}
