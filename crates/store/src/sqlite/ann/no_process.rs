//! Graphs in a build without them: there is nothing to read.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::Command;

/// Creates the command that reads the graph at a path.
pub type GraphCommand = fn(&Path) -> io::Result<Command>;

/// Does nothing: this build opens no graph.
pub fn read_graphs_with(_: GraphCommand) {}

/// Refuses: this build opens no graph.
///
/// # Errors
///
/// Always.
pub fn answer_graph_requests(_: &Path, _: impl BufRead, _: impl Write) -> io::Result<()> {
    Err(io::Error::other("this build lacks the feature `ann`"))
}
