//! `kokeshi migrate run`.

use super::{Migration, loader};
use crate::args::MigrateRunArguments;
use crate::commands::index::stop_on_ctrl_c;
use crate::exit::Exit;
use crate::layout::counted;
use crate::meter::Meter;
use crate::output::Destination;
use crate::printer::Printer;
use kokeshi_migrate::{FailedDocument, RunLimits, RunSummary};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two lines of `--json`.
const TICK: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &MigrateRunArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let migration = Migration::create(&arguments.plan)?;
    let plan = &migration.plan;
    let embedder = migration.embedder(&plan.to, &loader(&arguments.device)?)?;
    let source = migration.source()?;
    let total = source.count(&plan.from.collection)?.documents;
    let start = Instant::now();
    let (mut meter, mut last) =
        (Meter::new(Some(total as u64), "chunk", printer), RunSummary::default());
    let mut printed = start;
    let limits = RunLimits { rate: arguments.rate, prune: arguments.prune, stop: &stop };
    let summary = kokeshi_migrate::run(
        plan,
        source,
        (&migration.locations, &migration.ledger),
        &embedder,
        limits,
        &mut |now| {
            let done = (now.handled() - last.handled()) as u64;
            meter.advance(now.chunks - last.chunks, now.tokens - last.tokens, done);
            last = now.clone();
            if arguments.json && printed.elapsed() >= TICK {
                printed = Instant::now();
                // A reader that has gone does not end the run.
                let _ = printer.print(&line("progress", now, total, start));
            }
        },
    )?;
    drop(meter);
    let failures = migration.open_ledger()?.failures(&plan.name)?;
    let failures_file = write_failures(&arguments.plan.plan, &failures)?;
    if arguments.json {
        let event = if summary.stopped { "stopped" } else { "done" };
        printer.print(&line(event, &summary, total, start))?;
    }
    let failed = failures_file.as_deref().map(|file| (failures.len(), file));
    print_summary(&summary, failed, start, &arguments.plan.plan, printer);
    Ok(match (summary.stopped, failures.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Success,
        (false, false) => Exit::Incomplete,
    })
}

fn line(event: &str, summary: &RunSummary, total: usize, start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    let handled = summary.handled();
    let left = seconds / handled.max(1) as f64 * total.saturating_sub(handled) as f64;
    let line = json!({
        "event": event,
        "documents": summary.written,
        "chunks": summary.chunks,
        "tokens": summary.tokens,
        "there": summary.present,
        "failed": summary.failed,
        "pruned": summary.pruned,
        "of": total,
        "seconds": seconds,
        "tokens_per_second": summary.tokens as f64 / seconds.max(1e-9),
        "seconds_left": left,
    });
    format!("{line}\n")
}

fn print_summary(
    summary: &RunSummary,
    failed: Option<(usize, &Path)>,
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
    if summary.present > 0 {
        parts.push(format!("{} already up to date", summary.present));
    }
    if summary.pruned > 0 {
        parts.push(format!("{} removed", summary.pruned));
    }
    printer.note(&parts.join("; "));
    if let Some((count, file)) = failed {
        printer.warning(&format!(
            "{} could not be embedded: see {} for the reasons",
            counted(count, "document"),
            file.display()
        ));
    }
    let plan = plan.display();
    printer.note(&match summary.stopped {
        true => format!("stopped; to continue: `kokeshi migrate run {plan}`"),
        false => format!("next: `kokeshi migrate verify {plan}`"),
    });
}

/// Writes the failed documents and the reasons to a file next to the plan, or removes the file if
/// there are none.
fn write_failures(plan: &Path, failures: &[FailedDocument]) -> anyhow::Result<Option<PathBuf>> {
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
