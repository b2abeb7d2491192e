//! `kokeshi migrate verify`.

use super::notes::rankings;
use super::queries::{self, MigrationQuery};
use super::{Migration, loader, page};
use crate::args::MigrateVerifyArguments;
use crate::exit::Exit;
use crate::output::{Destination, is_stdout};
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_migrate::Verification;
use serde_json::json;
use std::fmt::Write;

pub(super) fn run(arguments: &MigrateVerifyArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    let loader = loader(&arguments.device)?;
    let new = migration.embedder(&plan.to, &loader)?;
    let old = migration.embedder(&plan.from, &loader).ok();
    let queries = plan.queries.as_deref().map(queries::read).transpose()?.unwrap_or_default();
    let texts = queries::texts(&queries);
    let ledger = migration.open_ledger()?;
    let source = migration.source()?;
    let sides = (&*source, &*migration.store);
    let report = kokeshi_migrate::verify(plan, sides, &ledger, (old.as_ref(), &new), &texts)?;
    if let Some(path) = &arguments.html {
        let mut file = Destination::open(path, printer)?;
        let written = file.writer().write_all(page::page(plan, &report, &queries).as_bytes());
        written.map_err(|error| file.failure(error))?;
        file.commit()?;
        printer.note(&format!("wrote {}", path.display()));
    }
    // A page on standard output replaces what is printed there.
    if !arguments.html.as_deref().is_some_and(is_stdout) {
        printer.print(&match arguments.json {
            true => json_of(&report, &queries)?,
            false => text_of(&report, &queries),
        })?;
    }
    let plan = arguments.plan.plan.display();
    printer.note(&match report.passed() {
        true => format!("next: `kokeshi migrate switch {plan}`"),
        false => {
            format!(
                "readers cannot switch to it yet; `kokeshi migrate run {plan}` repairs it, then \
                 verify again"
            )
        }
    });
    Ok(if report.passed() { Exit::Success } else { Exit::Negative })
}

fn text_of(report: &Verification, queries: &[MigrationQuery]) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mark = if check.passed { "ok    " } else { "FAILED" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {}: {}", check.name, visible(&check.detail));
    }
    if let Some(recall) = report.recall {
        let _ = writeln!(text, "recall@10 of approximate against exact search: {recall:.3}");
    }
    if let Some(share) = report.preview.overlap {
        let percent = 100.0 * share;
        let _ = writeln!(
            text,
            "{percent:.0} % of the 10 nearest neighbours are those of the old model"
        );
    }
    text + &rankings(queries, &report.preview)
}

fn json_of(report: &Verification, queries: &[MigrationQuery]) -> anyhow::Result<String> {
    let checks: Vec<_> = report
        .checks
        .iter()
        .map(|c| json!({ "name": c.name, "passed": c.passed, "detail": c.detail }))
        .collect();
    let quality = queries::quality(queries, &report.preview.rankings).map(|(old, new)| {
        let figures =
            |q: kokeshi_analysis::Quality| json!({ "ndcg@10": q.ndcg, "recall@10": q.recall });
        json!({ "old": old.map(figures), "new": figures(new) })
    });
    let rankings: Vec<_> = report
        .preview
        .rankings
        .iter()
        .map(|one| json!({ "query": one.query, "old": one.old, "new": one.new }))
        .collect();
    let whole = json!({
        "passed": report.passed(),
        "checks": checks,
        "recall@10": report.recall,
        "overlap@10": report.preview.overlap,
        "quality": quality,
        "rankings": rankings,
    });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}
