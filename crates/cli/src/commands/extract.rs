//! `kokeshi extract`: the text of one foreign file, in a process that may fail.

use crate::args::{ExtractArguments, ExtractFormat};
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_documents::{text_of_html, text_of_pdf};
use std::io::{self, Read};
use std::process::ExitCode;

pub(crate) fn run(arguments: &ExtractArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    if let Some(bytes) = arguments.memory {
        limit_memory(bytes)?;
    }
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content).context("cannot read standard input")?;
    let text = match arguments.format {
        ExtractFormat::Html => text_of_html(&content),
        ExtractFormat::Pdf => text_of_pdf(&content),
    };
    printer.print(&text?)?;
    Ok(ExitCode::SUCCESS)
}

/// From now on the system refuses this process more address space.
#[cfg(unix)]
fn limit_memory(bytes: u64) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit).context("cannot limit memory")
}

/// Other systems have no such limit; the time that the parent gives still holds.
#[cfg(not(unix))]
fn limit_memory(_: u64) -> anyhow::Result<()> {
    Ok(())
}
