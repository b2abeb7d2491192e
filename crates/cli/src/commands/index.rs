//! `kokeshi index`: files into a collection.

use super::extract::Subprocess;
use super::left_out;
use crate::args::IndexArguments;
use crate::collection;
use crate::exit::Exit;
use crate::layout::counted;
use crate::meter::Meter;
use crate::printer::Printer;
use crate::recent;
use anyhow::Context;
use kokeshi_collections::{IndexSummary, Indexer, StoreLocation, canonical, remove_index};
use kokeshi_documents::WalkOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Levels of folders that are searched for other indexes.
const LEVELS_BELOW: usize = 6;

pub(crate) fn run(arguments: &IndexArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let mut indexer = indexer(arguments)?;
    let inner = indexes_below(arguments)?;
    if arguments.take_over {
        for inner in &inner {
            let copied = indexer.take_over(inner)?;
            printer.note(&format!("{}: copied {}", inner.store, counted(copied, "document")));
        }
    }
    let summary = update(&mut indexer, printer, &stop)?;
    recent::record(indexer.location());
    match arguments.take_over {
        _ if summary.stopped => return Ok(Exit::Interrupted),
        true if summary.unreachable.is_empty() => remove(&inner, arguments, printer)?,
        _ => warn_of(&inner, printer),
    }
    Ok(if summary.is_incomplete() { Exit::Incomplete } else { Exit::Success })
}

/// Other indexes in folders below the paths, unless the store is chosen.
fn indexes_below(arguments: &IndexArguments) -> anyhow::Result<Vec<StoreLocation>> {
    let mut found = Vec::new();
    if arguments.collection.store.is_none() {
        for path in &arguments.paths {
            found.extend(StoreLocation::all_below(&canonical(path)?, LEVELS_BELOW));
        }
    }
    Ok(found)
}

fn remove(
    inner: &[StoreLocation],
    arguments: &IndexArguments,
    printer: &Printer,
) -> anyhow::Result<()> {
    for inner in inner {
        match remove_index(inner, &arguments.collection.collection)? {
            true => printer.note(&format!("{}: removed", inner.store)),
            false => printer.warning(&format!("{} is kept: it has other collections", inner.store)),
        }
    }
    Ok(())
}

fn warn_of(inner: &[StoreLocation], printer: &Printer) {
    for inner in inner {
        printer.warning(&format!(
            "{} is an index of its own, which answers searches below its folder while it is up to \
             date",
            inner.store
        ));
    }
    if !inner.is_empty() {
        printer.hint("--take-over moves its documents into this index and removes it");
    }
}

/// Opens the store and the collection, or creates them.
pub(super) fn indexer(arguments: &IndexArguments) -> anyhow::Result<Indexer> {
    let (paths, store) = (&arguments.paths, arguments.collection.store.as_ref());
    let location = match paths.is_empty() {
        true => StoreLocation::to_search(store, None)?,
        false => {
            paths.iter().try_for_each(|path| canonical(path).map(drop))?;
            StoreLocation::to_index(store, paths)?
        }
    };
    let is_new = location.file().is_some_and(|file| !file.exists());
    let mut store = if paths.is_empty() { location.open()? } else { location.create()? };
    let lock = store.lock()?;
    let name = &arguments.collection.collection;
    let opened = collection::to_index(&mut *store, name, &arguments.vectors, &arguments.device);
    let collection = match opened {
        Err(error) if is_new => {
            // Nothing was indexed, and nobody else writes to the store that this run has locked.
            drop(store);
            // What cannot be removed is only an empty store; the error that matters is the first.
            let _ = location.remove();
            return Err(error);
        }
        opened => opened?,
    };
    let walk = &arguments.walk;
    let options =
        WalkOptions { hidden: walk.hidden, ignored: walk.no_ignore, globs: walk.glob.clone() };
    let indexer = Indexer::new(location, store, lock, collection, paths, &options)?;
    Ok(indexer.prune_missing(arguments.prune_missing))
}

/// Brings the collection up to date, and prints what was done.
pub(super) fn update(
    indexer: &mut Indexer,
    printer: &Printer,
    stop: &AtomicBool,
) -> anyhow::Result<IndexSummary> {
    let start = Instant::now();
    let meter = |bytes| Meter::new(Some(bytes), "document", printer);
    let summary = indexer.update(&Subprocess(stop), stop, meter)?;
    print_summary(&summary, indexer.location(), start, printer);
    Ok(summary)
}

/// A flag that Ctrl-C sets; a second one ends the process, which loses only the current batch.
pub(super) fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
    })
    .context("cannot wait for Ctrl-C")?;
    Ok(stop)
}

fn print_summary(
    summary: &IndexSummary,
    location: &StoreLocation,
    start: Instant,
    printer: &Printer,
) {
    left_out::print_reasons(&summary.left_out, printer);
    for (encoding, &files) in &summary.guessed {
        printer.note(&format!("{} read as {encoding}", counted(files, "file")));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut parts = vec![format!(
        "indexed {} ({}, {}) in {seconds:.1} s",
        counted(summary.documents, "document"),
        counted(summary.chunks, "chunk"),
        counted(summary.tokens, "token"),
    )];
    for (count, what) in [
        (summary.unchanged, "unchanged"),
        (summary.removed, "removed"),
        (summary.left_out.len(), "left out"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    printer.note(&format!("{}: {}", location.display_store(), parts.join("; ")));
    if !summary.left_out.is_empty() {
        printer.note(&format!("left out {}", left_out::kinds(&summary.left_out)));
    }
    left_out::print_unreachable(&summary.unreachable, printer);
    if summary.stopped {
        printer.note("stopped: what was indexed is kept; run the command again to continue");
    }
}
