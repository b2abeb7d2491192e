//! `kokeshi models pull`.

use crate::args::PullArguments;
use crate::bytes;
use crate::env;
use crate::failure::usage;
use crate::meter;
use crate::printer::Printer;
use indicatif::ProgressBar;
use kokeshi_hub::{ModelRef, PullEvent};

pub(super) fn run(arguments: &PullArguments, printer: &Printer) -> anyhow::Result<()> {
    let name = &arguments.name;
    match ModelRef::parse(name)? {
        ModelRef::Starter => {
            printer.note(&format!("`{name}` is part of this program; nothing to download"));
            Ok(())
        }
        ModelRef::Folder(_) => Err(usage(&format!("`{name}` is a folder; nothing to download"))),
        ModelRef::Repo { repo, revision } => download(&repo, &revision, printer),
    }
}

/// Prints the folder on standard output, everything else on standard error.
fn download(repo: &str, revision: &str, printer: &Printer) -> anyhow::Result<()> {
    printer.note(&licence(repo));
    let mut progress = Progress { bar: ProgressBar::hidden(), done: 0, file: 0, printer };
    let hub = env::hub()?;
    let folder = kokeshi_hub::pull(&hub, repo, revision, &mut |event| progress.show(event));
    progress.bar.finish_and_clear();
    printer.print(&format!("{}\n", folder?.display()))
}

/// The progress of a download.
struct Progress<'p> {
    bar: ProgressBar,
    /// Bytes of the files that are complete.
    done: u64,
    /// Bytes of the current file.
    file: u64,
    printer: &'p Printer,
}

impl Progress<'_> {
    fn show(&mut self, event: PullEvent<'_>) {
        match event {
            PullEvent::Plan { files, bytes } => {
                self.note(&format!("{files} files, {} to download", bytes::format(bytes)));
                self.bar = meter::bar(Some(bytes), self.printer);
            }
            PullEvent::Waiting { file } => {
                self.note(&format!("{file}: waiting for another program that is downloading it"));
            }
            PullEvent::Start { file, bytes, resumed } => {
                self.file = bytes;
                self.bar.set_message(format!("{file} ({})", bytes::format(bytes)));
                self.bar.set_position(self.done + resumed);
            }
            PullEvent::Advance { bytes } => self.bar.inc(bytes),
            PullEvent::Done { cached, .. } => self.done += if cached { 0 } else { self.file },
            PullEvent::Retry { file, reason, .. } => {
                self.note(&format!("{file}: {reason}; retrying"));
            }
        }
    }

    fn note(&self, message: &str) {
        self.bar.suspend(|| self.printer.note(message));
    }
}

fn licence(repo: &str) -> String {
    match kokeshi_hub::known(repo) {
        Some(known) => format!("{repo}: licence {}, {}", known.licence, known.licence_note),
        None => format!("{repo}: unknown licence; see the model card"),
    }
}
