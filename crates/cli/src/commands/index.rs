//! `kokeshi index`: files into a collection.

use crate::args::{IndexArguments, WalkArguments};
use crate::collection::indexer::{self, Report};
use crate::collection::place::{Place, is_below, real};
use crate::collection::plan::Plan;
use crate::collection::settings::{self, Opened};
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_documents::WalkOptions;
use kokeshi_store::{Lock, Store};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// As shells report a process that Ctrl-C has ended.
pub(super) const STOPPED: u8 = 130;
/// Reasons for leaving files out that are told one by one.
const REASONS: usize = 10;

pub(crate) fn run(arguments: &IndexArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let stop = stop_on_ctrl_c()?;
    let mut indexing = Indexing::begin(arguments)?;
    let report = indexing.update(printer, &stop)?;
    Ok(if report.stopped { ExitCode::from(STOPPED) } else { ExitCode::SUCCESS })
}

/// A collection that may be written to, and what belongs into it.
pub(super) struct Indexing {
    place: Place,
    store: Box<dyn Store>,
    opened: Opened,
    roots: Vec<(PathBuf, WalkOptions)>,
    _lock: Lock,
}

impl Indexing {
    /// Opens the store and the collection, or makes them.
    pub(super) fn begin(arguments: &IndexArguments) -> anyhow::Result<Self> {
        let (paths, store) = (&arguments.paths, arguments.collection.store.as_ref());
        let place = match paths.is_empty() {
            true => Place::to_search(store, None)?,
            false => {
                paths.iter().try_for_each(|path| real(path).map(drop))?;
                Place::to_index(store, paths)?
            }
        };
        let mut store = if paths.is_empty() { place.open()? } else { place.create()? };
        let lock = store.lock()?;
        let (vectors, device) = (&arguments.vectors, &arguments.device);
        let opened = settings::to_index(&mut *store, &arguments.collection, vectors, device)?;
        let roots = remember(&mut *store, &place, &opened, paths, &arguments.walk)?;
        Ok(Self { place, store, opened, roots, _lock: lock })
    }

    /// The folders and files that are kept up to date.
    pub(super) fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.roots.iter().map(|(root, _)| root)
    }

    /// Makes the collection hold what the roots hold, and says what that took.
    pub(super) fn update(
        &mut self,
        printer: &Printer,
        stop: &AtomicBool,
    ) -> anyhow::Result<Report> {
        let start = Instant::now();
        let mut report = Report::default();
        for (root, options) in &self.roots {
            let entries = self.store.list(&self.opened.name)?;
            let plan = Plan::make(&self.place, std::slice::from_ref(root), options, entries)?;
            report.add(indexer::run(&self.place, &self.opened, plan, printer, stop)?);
            if report.stopped {
                break;
            }
        }
        tell(&report, &self.place, start, printer);
        Ok(report)
    }
}

/// A flag that Ctrl-C sets; a second one ends the process, which loses only the batch at hand.
pub(super) fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(STOPPED.into());
        }
    })
    .context("cannot wait for Ctrl-C")?;
    Ok(stop)
}

/// The paths to index and how, after they were noted in the store for the next time.
fn remember(
    store: &mut dyn Store,
    place: &Place,
    opened: &Opened,
    paths: &[PathBuf],
    walk: &WalkArguments,
) -> anyhow::Result<Vec<(PathBuf, WalkOptions)>> {
    let known = store.roots(&opened.name)?;
    if paths.is_empty() {
        let roots = known.iter().map(|(name, options)| (place.path(name), read_options(options)));
        return Ok(roots.collect());
    }
    let options =
        WalkOptions { hidden: walk.hidden, ignored: walk.no_ignore, globs: walk.glob.clone() };
    let mut roots = Vec::new();
    for path in paths {
        let real = real(path)?;
        let Some(name) = place.name(&real) else {
            return Err(hinted(
                format!("the name of {} is not in UTF-8", path.display()),
                "rename it",
            ));
        };
        // A part of what is indexed already is a part of that, unless it is asked for otherwise.
        let above = known.iter().find(|(root, _)| is_below(&name, root));
        let inherited = above.filter(|_| options == WalkOptions::default());
        if let Some((_, above)) = inherited {
            roots.push((real, read_options(above)));
            continue;
        }
        store.require_folders()?.set_root(&opened.name, &name, &write_options(&options))?;
        roots.push((real, options.clone()));
    }
    Ok(roots)
}

fn write_options(options: &WalkOptions) -> String {
    let WalkOptions { hidden, ignored, globs } = options;
    serde_json::json!({ "hidden": hidden, "ignored": ignored, "globs": globs }).to_string()
}

pub(super) fn read_options(text: &str) -> WalkOptions {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let globs = value["globs"].as_array().into_iter().flatten();
    WalkOptions {
        hidden: value["hidden"] == true,
        ignored: value["ignored"] == true,
        globs: globs.filter_map(|glob| glob.as_str().map(str::to_owned)).collect(),
    }
}

impl Report {
    fn add(&mut self, other: Report) {
        self.documents += other.documents;
        self.chunks += other.chunks;
        self.tokens += other.tokens;
        self.unchanged += other.unchanged;
        self.removed += other.removed;
        self.left_out.extend(other.left_out);
        self.stopped |= other.stopped;
    }
}

fn tell(report: &Report, place: &Place, start: Instant, printer: &Printer) {
    for reason in report.left_out.iter().take(REASONS) {
        printer.warning(&format!("left out {reason}"));
    }
    if let Some(more) = report.left_out.len().checked_sub(REASONS + 1) {
        printer.warning(&format!("left out {} more", more + 1));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut parts = vec![format!(
        "indexed {} ({}, {}) in {seconds:.1} s",
        counted(report.documents, "document"),
        counted(report.chunks, "chunk"),
        counted(report.tokens, "token"),
    )];
    for (count, what) in [
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (report.left_out.len(), "left out"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    printer.note(&format!("{}: {}", place.store, parts.join("; ")));
    if report.stopped {
        printer.note("stopped: what was indexed is kept; run the command again to go on");
    }
}
