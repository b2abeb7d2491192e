//! `kokeshi migrate run`.

use super::{Opened, loader};
use crate::args::MigrateRunArguments;
use crate::commands::index::{STOPPED, stop_on_ctrl_c};
use crate::layout::counted;
use crate::meter::Meter;
use crate::output::Destination;
use crate::printer::Printer;
use kokeshi_migrate::{Failure, Limits, Summary};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time between two lines of `--json`.
const TICK: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &MigrateRunArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let stop = stop_on_ctrl_c()?;
    let opened = Opened::new(&arguments.plan)?;
    let plan = &opened.plan;
    let embedder = opened.embedder(&plan.to, &loader(&arguments.device)?)?;
    let source = opened.source()?;
    let total = source.count(&plan.from.collection)?.documents;
    let start = Instant::now();
    let (mut meter, mut last) = (Meter::new(Some(total as u64), printer), Summary::default());
    let mut told = start;
    let limits = Limits { rate: arguments.rate, prune: arguments.prune, stop: &stop };
    let summary = kokeshi_migrate::run(
        plan,
        source,
        (&opened.sites, &opened.ledger),
        &embedder,
        limits,
        &mut |now| {
            let handled = |s: &Summary| s.written + s.there + s.failed;
            let done = (handled(now) - handled(&last)) as u64;
            meter.advance(now.chunks - last.chunks, now.tokens - last.tokens, done);
            last = now.clone();
            if arguments.json && told.elapsed() >= TICK {
                told = Instant::now();
                // A reader that has gone does not end the run.
                let _ = printer.print(&line("progress", now, total, start));
            }
        },
    )?;
    drop(meter);
    let failures = opened.book()?.failures(&plan.name)?;
    let dead = dead_letters(&arguments.plan.plan, &failures)?;
    if arguments.json {
        let event = if summary.stopped { "stopped" } else { "done" };
        printer.print(&line(event, &summary, total, start))?;
    }
    tell(&summary, failures.len(), dead.as_deref(), start, &arguments.plan.plan, printer);
    Ok(match (summary.stopped, failures.is_empty()) {
        (true, _) => ExitCode::from(STOPPED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

fn line(event: &str, summary: &Summary, total: usize, start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    let handled = summary.written + summary.there + summary.failed;
    let left = seconds / handled.max(1) as f64 * total.saturating_sub(handled) as f64;
    let line = json!({
        "event": event,
        "documents": summary.written,
        "chunks": summary.chunks,
        "tokens": summary.tokens,
        "there": summary.there,
        "failed": summary.failed,
        "pruned": summary.pruned,
        "of": total,
        "seconds": seconds,
        "tokens_per_second": summary.tokens as f64 / seconds.max(1e-9),
        "seconds_left": left,
    });
    format!("{line}\n")
}

fn tell(
    summary: &Summary,
    failed: usize,
    dead: Option<&Path>,
    start: Instant,
    plan: &Path,
    printer: &Printer,
) {
    let seconds = start.elapsed().as_secs_f64();
    let speed = summary.tokens as f64 / seconds.max(1e-9);
    let mut parts = vec![format!(
        "wrote {} with {} in {seconds:.1} s ({speed:.0} tokens/s)",
        counted(summary.written, "document"),
        counted(summary.chunks, "chunk")
    )];
    if summary.there > 0 {
        parts.push(format!("{} there already", summary.there));
    }
    if summary.pruned > 0 {
        parts.push(format!("{} removed", summary.pruned));
    }
    printer.note(&parts.join("; "));
    if let Some(dead) = dead {
        printer.warning(&format!(
            "{} could not be embedded: {} says why",
            counted(failed, "document"),
            dead.display()
        ));
    }
    let next = if summary.stopped { "stopped: `run` goes on" } else { "next: `verify`" };
    let command = if summary.stopped { "run" } else { "verify" };
    printer.note(&format!("{next}, `kokeshi migrate {command} {}`", plan.display()));
}

/// Writes what failed, and why, beside the plan; removes the file if nothing did.
fn dead_letters(plan: &Path, failures: &[Failure]) -> anyhow::Result<Option<PathBuf>> {
    let path = plan.with_extension("failed.jsonl");
    if failures.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(None),
        };
    }
    let mut file = Destination::file(&path)?;
    for failure in failures {
        let line = json!({ "path": failure.path, "reason": failure.reason });
        let written = writeln!(file.writer(), "{line}");
        written.map_err(|error| file.failure(error))?;
    }
    file.commit()?;
    Ok(Some(path))
}
