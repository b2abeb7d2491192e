//! Errors on their way to the user.

use crate::printer::Printer;
use clap::CommandFactory;
use clap::error::ErrorKind;
use std::io;
use std::process::ExitCode;

/// An error with a way out, shown as `error: …` and `hint: …`.
#[derive(Debug)]
struct Hinted {
    message: String,
    hint: String,
}

/// An error and its hint.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into() }.into()
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// Options that exclude each other in a way that their definitions cannot say.
pub(crate) fn usage(message: &str) -> anyhow::Error {
    crate::args::Arguments::command().error(ErrorKind::ArgumentConflict, message).into()
}

/// Whether the reader of our output has gone: no failure of ours, `kokeshi embed … | head` is fine.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Tells the user, and says with which status to exit.
pub(crate) fn report(error: &anyhow::Error, printer: &Printer) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // The message cannot be shown when standard error is closed: nothing is left to do.
        let _ = usage.print();
        return ExitCode::from(2);
    }
    printer.error(&message(error));
    for hint in error.chain().filter_map(hint) {
        printer.hint(&hint);
    }
    ExitCode::FAILURE
}

/// The way out that a cause knows: the engine's errors have some of their own.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let ours = cause.downcast_ref::<Hinted>().map(|hinted| hinted.hint.clone());
    ours.or_else(|| cause.downcast_ref::<kokeshi::Error>().and_then(kokeshi::Error::hint))
        .or_else(|| {
            cause.downcast_ref::<kokeshi_store::Error>().and_then(kokeshi_store::Error::hint)
        })
        .or_else(|| cause.downcast_ref().and_then(crate::collection::hint))
}

/// The causes joined by colons, without those that the cause before has quoted already.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}
