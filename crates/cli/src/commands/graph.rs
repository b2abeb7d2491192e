//! `kokeshi graph`: reads the graph of an ANN index, in a process that may fail.

use super::fence;
use crate::args::GraphArguments;
use crate::exit::Exit;
use anyhow::Context;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// Memory that reading a graph takes besides its file, in bytes.
const MEMORY: u64 = 1 << 30;

pub(crate) fn run(arguments: &GraphArguments) -> anyhow::Result<Exit> {
    fence::enter(arguments.parent, arguments.memory, None)?;
    kokeshi_store::answer_graph_requests(&arguments.file, io::stdin().lock(), io::stdout().lock())
        .with_context(|| format!("cannot answer requests about {}", arguments.file.display()))?;
    Ok(Exit::Success)
}

/// Lets searches read graphs by [`run`], in processes of their own.
pub(crate) fn read_graphs_in_processes() {
    kokeshi_store::read_graphs_with(command);
}

fn command(graph: &Path) -> io::Result<Command> {
    // The whole file is mapped.
    let memory = std::fs::metadata(graph)?.len() + MEMORY;
    let mut command = fence::command("graph", memory)?;
    command.arg(OsStr::new("--")).arg(graph);
    Ok(command)
}
