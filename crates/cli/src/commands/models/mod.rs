//! `kokeshi models`: lists, downloads, inspects, verifies and quantizes models.

mod card;
mod info;
mod list;
mod pull;
mod quantize;
mod synthesize;
mod verify;

use crate::args::ModelsCommand;
use crate::exit::Exit;
use crate::printer::Printer;

pub(crate) fn run(command: &ModelsCommand, printer: &Printer) -> anyhow::Result<Exit> {
    match command {
        ModelsCommand::List(arguments) => list::run(arguments, printer)?,
        ModelsCommand::Pull(arguments) => pull::run(arguments, printer)?,
        ModelsCommand::Info(arguments) => info::run(arguments, printer)?,
        ModelsCommand::Verify(arguments) => return verify::run(arguments, printer),
        ModelsCommand::Quantize(arguments) => quantize::run(arguments, printer)?,
        ModelsCommand::Synthesize(arguments) => synthesize::run(arguments, printer)?,
    }
    Ok(Exit::Success)
}
