//! `kokeshi watch`: indexes files whenever they change.

use super::index::{stop_on_ctrl_c, update};
use crate::args::WatchArguments;
use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_collections::{Error, Indexer, Root};
use kokeshi_documents::walk_folders;
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Time without events after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// Maximum time that a change waits while others follow it.
const LONGEST: Duration = Duration::from_secs(2);
/// Time between two checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);
/// First and longest pause before a store that is away is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(crate) fn run(arguments: &WatchArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let mut indexer = super::index::indexer(&arguments.index)?;
    let mut folders = Folders::new()?;
    folders.follow(indexer.roots(), printer)?;
    // The first update comes after watching has begun, so that no change is missed in between.
    update(&mut indexer, printer, &stop)?;
    printer.note("watching for changes; stop with Ctrl-C");
    while let Some(change) = folders.wait_for_change(&indexer, &stop)? {
        if change == Change::Unknown {
            folders.forget();
        }
        // Folders that are new are watched before they are read.
        folders.follow(indexer.roots(), printer)?;
        update_patiently(&mut indexer, printer, &stop)?;
    }
    Ok(Exit::Success)
}

/// Brings the collection up to date. If its store is away, says so once, and waits for it.
fn update_patiently(
    indexer: &mut Indexer,
    printer: &Printer,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut pause = PAUSE.0;
    loop {
        let error = match update(indexer, printer, stop) {
            Ok(_) => return Ok(()),
            Err(error) if is_away(&error) => error,
            Err(error) => return Err(error),
        };
        if pause == PAUSE.0 {
            printer.warning(&format!("{error:#}; waiting for the store"));
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
        pause = (2 * pause).min(PAUSE.1);
    }
}

/// Whether an error is that of a store that may come back.
fn is_away(error: &anyhow::Error) -> bool {
    use kokeshi_store::Error as StoreError;
    let store = error.chain().find_map(|cause| match cause.downcast_ref::<Error>() {
        Some(Error::Store(error)) => Some(error),
        _ => cause.downcast_ref::<StoreError>(),
    });
    matches!(store, Some(StoreError::Unreachable { .. } | StoreError::Busy { .. }))
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// All of it.
    Known,
    /// The system has dropped events, so anything may have changed.
    Unknown,
}

/// The folders that are watched, each by itself: those that a walk looks into, and those of single
/// files. A file that is saved by renaming another one is another file, but in the same folder.
struct Folders {
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    watched: BTreeSet<PathBuf>,
    /// Folders that cannot be watched, which were reported.
    reported: BTreeSet<PathBuf>,
}

impl Folders {
    fn new() -> anyhow::Result<Self> {
        let (to, events) = channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // The receiver is gone only when the program ends.
            let _ = to.send(event);
        });
        let watcher = watcher.context("cannot watch files")?;
        Ok(Self { watcher, events, watched: BTreeSet::new(), reported: BTreeSet::new() })
    }

    /// Watches the folders of `roots`, and no longer those that are gone.
    fn follow(&mut self, roots: &[Root], printer: &Printer) -> anyhow::Result<()> {
        let mut wanted = BTreeSet::new();
        for (root, options) in roots {
            if !root.is_dir() {
                wanted.extend(root.parent().map(Path::to_owned));
                continue;
            }
            for folder in walk_folders(root, options)? {
                match folder {
                    Ok(folder) => drop(wanted.insert(folder)),
                    Err(error) => self.report(root, &error.to_string(), printer),
                }
            }
        }
        let gone: Vec<PathBuf> = self.watched.difference(&wanted).cloned().collect();
        for folder in gone {
            self.unwatch(&folder);
        }
        for folder in wanted {
            if !self.watched.contains(&folder) {
                self.watch(folder, printer)?;
            }
        }
        Ok(())
    }

    fn watch(&mut self, folder: PathBuf, printer: &Printer) -> anyhow::Result<()> {
        let error = match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder);
                return Ok(());
            }
            Err(error) => error,
        };
        let is_gone = match &error.kind {
            ErrorKind::PathNotFound => true,
            ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        match &error.kind {
            _ if is_gone => {}
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                self.report(&folder, &io.to_string(), printer);
            }
            _ => {
                let context = format!("cannot watch {}", folder.display());
                return Err(anyhow::Error::new(error).context(context));
            }
        }
        Ok(())
    }

    fn unwatch(&mut self, folder: &Path) {
        // The watch of a folder that is gone has ended already.
        let _ = self.watcher.unwatch(folder);
        self.watched.remove(folder);
    }

    /// Ends all watches, so that they are set anew.
    fn forget(&mut self) {
        for folder in self.watched.clone() {
            self.unwatch(&folder);
        }
    }

    fn report(&mut self, folder: &Path, reason: &str, printer: &Printer) {
        if self.reported.insert(folder.to_owned()) {
            printer.warning(&format!("not watching all of {}: {reason}", folder.display()));
        }
    }

    /// Waits until a change of what `indexer` indexes is complete, or others have followed it for
    /// some time; `None` when it is time to stop.
    fn wait_for_change(
        &self,
        indexer: &Indexer,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Change>> {
        let mut change: Option<(Instant, Instant, Change)> = None;
        let mut known = HashMap::new();
        while !stop.load(Ordering::Relaxed) {
            if let Some((first, last, kind)) = change
                && (last.elapsed() >= QUIET || first.elapsed() >= LONGEST)
            {
                return Ok(Some(kind));
            }
            let event = match self.events.recv_timeout(TICK) {
                Ok(event) => event.context("watching files failed")?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            };
            let kind = if event.need_rescan() { Change::Unknown } else { Change::Known };
            if kind == Change::Unknown || concerns(&event, indexer, &mut known)? {
                let now = Instant::now();
                let (first, before) = change.map_or((now, kind), |(first, _, kind)| (first, kind));
                let kind = if before == Change::Unknown { before } else { kind };
                change = Some((first, now, kind));
            }
        }
        Ok(None)
    }
}

/// Whether an event changes what is indexed: not by reading, and not the store's own files, files
/// that are ignored, or the one that this process writes its messages to. `known` is what was found
/// out about paths before, and whether they existed then.
fn concerns(
    event: &Event,
    indexer: &Indexer,
    known: &mut HashMap<PathBuf, (bool, bool)>,
) -> anyhow::Result<bool> {
    if event.kind.is_access() {
        return Ok(false);
    }
    for path in &event.paths {
        let exists = path.symlink_metadata().is_ok();
        let concerns = match known.get(path) {
            Some(&(existed, concerns)) if existed == exists => concerns,
            _ => !is_own_output(path) && is_of_interest(indexer, path)?,
        };
        known.insert(path.clone(), (exists, concerns));
        if concerns {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a change of `path` may change the collection. If its store is away, it may.
fn is_of_interest(indexer: &Indexer, path: &Path) -> anyhow::Result<bool> {
    match indexer.concerns(path) {
        Ok(concerns) => Ok(concerns),
        Err(error) => {
            let error = error.into();
            if is_away(&error) { Ok(true) } else { Err(error) }
        }
    }
}

/// Whether this process writes its output or its messages to the file at `path`.
#[cfg(unix)]
fn is_own_output(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = ["/dev/stdout", "/dev/stderr"].map(|own| id(Path::new(own)));
    id(path).is_some_and(|file| own.contains(&Some(file)))
}

#[cfg(not(unix))]
fn is_own_output(_: &Path) -> bool {
    false
}
