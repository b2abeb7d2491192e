//! `kokeshi models pull`.

use crate::args::PullArguments;
use crate::bytes;
use crate::env;
use crate::failure::usage;
use crate::meter::Progress;
use crate::printer::Printer;
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
    let mut download =
        Download { progress: Progress::new(None, printer), done: 0, file: 0, printer };
    let hub = env::hub()?;
    let folder = kokeshi_hub::pull(&hub, repo, revision, &mut |event| download.show(event));
    drop(download);
    printer.print(&format!("{}\n", folder?.display()))
}

/// The progress of a download.
struct Download<'p> {
    progress: Progress,
    /// Bytes of the files that are complete.
    done: u64,
    /// Bytes of the current file.
    file: u64,
    printer: &'p Printer,
}

impl Download<'_> {
    fn show(&mut self, event: PullEvent<'_>) {
        match event {
            PullEvent::Plan { files, bytes } => {
                self.printer.note(&format!("{files} files, {} to download", bytes::format(bytes)));
                self.progress.set_total(bytes);
            }
            PullEvent::Waiting { file } => {
                self.printer
                    .note(&format!("{file}: waiting for another program that is downloading it"));
            }
            PullEvent::Damaged { file } => {
                let message = format!("{file} in the cache is damaged; downloading it again");
                self.printer.warning(&message);
            }
            PullEvent::Start { file, bytes, resumed } => {
                self.file = bytes;
                self.progress.say(format!("{file} ({})", bytes::format(bytes)));
                self.progress.set_done(self.done + resumed);
            }
            PullEvent::Advance { bytes } => self.progress.advance(bytes),
            PullEvent::Done { cached, .. } => self.done += if cached { 0 } else { self.file },
            PullEvent::Retry { file, reason, .. } => {
                self.printer.note(&format!("{file}: {reason}; retrying"));
            }
        }
    }
}

fn licence(repo: &str) -> String {
    match kokeshi_hub::known(repo) {
        Some(known) => format!("{repo}: licence {}, {}", known.licence, known.licence_note),
        None => format!("{repo}: unknown licence; see the model card"),
    }
}
