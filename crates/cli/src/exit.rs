//! The exit statuses of the program.

/// How a command ended. docs/cli.md explains the statuses to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did what it was asked to do.
    Success = 0,
    /// It ran, and its answer is no: nothing was found, or a check failed.
    Negative = 1,
    /// The command line is wrong.
    Usage = 2,
    /// It is done, but some inputs could not be read.
    Incomplete = 3,
    /// It cannot be done; the message says why.
    Failure = 4,
    /// Ctrl-C: the status that shells report for a process that it has ended.
    Interrupted = 130,
}
