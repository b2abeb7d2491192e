//! `kokeshi man`: manual pages.

use crate::args::{Arguments, ManArguments};
use crate::exit::Exit;
use crate::failure::hinted;
use crate::printer::Printer;
use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

pub(crate) fn run(arguments: &ManArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let program = Arguments::command();
    if let Some(folder) = &arguments.output {
        let cannot = || format!("cannot write manual pages to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(cannot)?;
        clap_mangen::generate_to(program, folder).with_context(cannot)?;
        printer.note(&format!("wrote manual pages to {}", folder.display()));
        return Ok(Exit::Success);
    }
    let mut page = Vec::new();
    let source = concat!("kokeshi ", env!("CARGO_PKG_VERSION"));
    Man::new(find(program, &arguments.command)?).source(source).render(&mut page)?;
    printer.print(&String::from_utf8(page)?)?;
    Ok(Exit::Success)
}

/// The command below `program` with these names.
fn find(mut program: Command, names: &[String]) -> anyhow::Result<Command> {
    // Commands get their full names, and the options of all commands.
    program.build();
    let mut command = &program;
    for name in names {
        let found = command.find_subcommand(name).filter(|found| !found.is_hide_set());
        command = found.ok_or_else(|| {
            let shown = command.get_subcommands().filter(|shown| !shown.is_hide_set());
            let shown: Vec<_> = shown.map(Command::get_name).collect();
            let message = format!("`{}` has no command `{name}`", command.get_name());
            hinted(message, format!("commands: {}", shown.join(", ")))
        })?;
    }
    Ok(command.clone())
}
