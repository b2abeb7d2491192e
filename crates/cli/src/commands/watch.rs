//! `kokeshi watch`: indexes files whenever they change.

use super::index::{stop_on_ctrl_c, update};
use crate::args::WatchArguments;
use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::Context;
use notify::{Event, RecursiveMode, Watcher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Time without events after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// Time between two checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &WatchArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let mut indexer = super::index::indexer(&arguments.index)?;
    let (to, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // The receiver is gone only when the program ends.
        let _ = to.send(event);
    })
    .context("cannot watch files")?;
    for root in indexer.roots() {
        let watched = watcher.watch(root, RecursiveMode::Recursive);
        watched.with_context(|| format!("cannot watch {}", root.display()))?;
    }
    // The first update comes after watching has begun, so that no change is missed in between.
    update(&mut indexer, printer, &stop)?;
    printer.note("watching for changes; stop with Ctrl-C");
    while wait_for_change(&changes, &stop)? {
        update(&mut indexer, printer, &stop)?;
    }
    Ok(Exit::Success)
}

/// Waits for a change that is complete; `false` when it is time to stop. Other events must not
/// delay it: a search causes them in the store's own file.
fn wait_for_change(
    changes: &Receiver<notify::Result<Event>>,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let mut changed: Option<Instant> = None;
    while !stop.load(Ordering::Relaxed) {
        if changed.is_some_and(|last| last.elapsed() >= QUIET) {
            return Ok(true);
        }
        match changes.recv_timeout(TICK) {
            Ok(event) => {
                if is_change(&event.context("watching files failed")?) {
                    changed = Some(Instant::now());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
    Ok(false)
}

/// Whether an event changes the user's files: not a store's own, and not by reading.
fn is_change(event: &Event) -> bool {
    let own =
        |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == ".kokeshi");
    !event.kind.is_access() && !event.paths.iter().all(own)
}
