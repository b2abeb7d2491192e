//! `kokeshi watch`: indexes again whenever files change.

use super::index::{Indexing, stop_on_ctrl_c};
use crate::args::WatchArguments;
use crate::printer::Printer;
use anyhow::Context;
use notify::{Event, RecursiveMode, Watcher};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Silence after which a change is taken as complete.
const QUIET: Duration = Duration::from_millis(300);
/// How often Ctrl-C is looked at.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &WatchArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let stop = stop_on_ctrl_c()?;
    let mut indexing = Indexing::begin(&arguments.index)?;
    let (to, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Once nobody receives, the program ends.
        let _ = to.send(event);
    })
    .context("cannot watch files")?;
    for root in indexing.roots() {
        let watched = watcher.watch(root, RecursiveMode::Recursive);
        watched.with_context(|| format!("cannot watch {}", root.display()))?;
    }
    // The first look comes after watching has begun, so that no change falls between.
    indexing.update(printer, &stop)?;
    printer.note("watching for changes; Ctrl-C ends it");
    while change(&changes, &stop)? {
        indexing.update(printer, &stop)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a change that is complete; `false` when it is time to stop. Events that do not count must
/// not put off one that does: our own file makes them while somebody searches.
fn change(changes: &Receiver<notify::Result<Event>>, stop: &AtomicBool) -> anyhow::Result<bool> {
    let mut changed: Option<Instant> = None;
    while !stop.load(Ordering::Relaxed) {
        if changed.is_some_and(|last| last.elapsed() >= QUIET) {
            return Ok(true);
        }
        match changes.recv_timeout(PATIENCE) {
            Ok(event) => {
                if counts(&event.context("watching files failed")?) {
                    changed = Some(Instant::now());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
    Ok(false)
}

/// Whether files of the user have changed; not our own, and not because somebody read them.
fn counts(event: &Event) -> bool {
    let own =
        |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == ".kokeshi");
    !event.kind.is_access() && !event.paths.iter().all(own)
}
