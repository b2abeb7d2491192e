//! `kokeshi extract`: the text of one file that may be hostile, in a process that may fail.

mod subprocess;

use super::fence;
use crate::args::{ExtractArguments, ExtractFormat};
use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_documents::{Format, text_of_html, text_of_office, text_of_pdf};
use std::io::{self, Read};

pub(crate) use subprocess::Subprocess;

pub(crate) fn run(arguments: &ExtractArguments, printer: &Printer) -> anyhow::Result<Exit> {
    fence::enter(arguments.parent, arguments.memory, Some(subprocess::TIME))?;
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content).context("cannot read standard input")?;
    let text = match arguments.format {
        ExtractFormat::Html => text_of_html(&content),
        ExtractFormat::Pdf => text_of_pdf(&content),
        ExtractFormat::Docx => text_of_office(Format::Docx, &content),
        ExtractFormat::Epub => text_of_office(Format::Epub, &content),
        ExtractFormat::Odt => text_of_office(Format::Odt, &content),
        ExtractFormat::Pptx => text_of_office(Format::Pptx, &content),
    };
    printer.print_bytes(text?.as_bytes())?;
    Ok(Exit::Success)
}
