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
            printer
                .note(&format!("`{name}` is part of this program: there is nothing to download"));
            Ok(())
        }
        ModelRef::Folder(_) => Err(usage(&format!("`{name}` is a folder: it needs no download"))),
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

/// How far a download has come.
struct Progress<'p> {
    bar: ProgressBar,
    /// Bytes of the files that have arrived.
    done: u64,
    /// Bytes of the file that is arriving.
    file: u64,
    printer: &'p Printer,
}

impl Progress<'_> {
    fn show(&mut self, event: PullEvent<'_>) {
        match event {
            PullEvent::Plan { files, bytes } => {
                self.tell(&format!("{files} files, {} to download", bytes::shown(bytes)));
                self.bar = meter::bar(Some(bytes), self.printer);
            }
            PullEvent::Waiting { file } => {
                self.tell(&format!("{file}: another program is downloading it; waiting"));
            }
            PullEvent::Start { file, bytes, resumed } => {
                self.file = bytes;
                self.bar.set_message(format!("{file} ({})", bytes::shown(bytes)));
                self.bar.set_position(self.done + resumed);
            }
            PullEvent::Advance { bytes } => self.bar.inc(bytes),
            PullEvent::Done { cached, .. } => self.done += if cached { 0 } else { self.file },
            PullEvent::Retry { file, reason, .. } => {
                self.tell(&format!("{file}: {reason}; trying again"));
            }
        }
    }

    fn tell(&self, message: &str) {
        self.bar.suspend(|| self.printer.note(message));
    }
}

fn licence(repo: &str) -> String {
    match kokeshi_hub::known(repo) {
        Some(known) => format!("{repo}: licence {}, {}", known.licence, known.licence_note),
        None => format!("{repo}: not a model known here; its licence is in its model card"),
    }
}
