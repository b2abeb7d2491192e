//! The report of a verification as one page that needs nothing from elsewhere.

use super::queries::{self, Query};
use kokeshi_analysis::Quality;
use kokeshi_migrate::{Plan, Ranking, Report, Sizes};
use std::collections::HashSet;
use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c2024; --soft: #6b7280; --line: #e3e5e8;
  --old: #8a94a6; --new: #2f6fdb; --good: #1f8a4c; --bad: #c0342b; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #eceef0; --soft: #9aa2ac; --line: #31353a;
  --new: #6ea0f2; --good: #4fbf7c; --bad: #ef6a61; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; } .soft { color: var(--soft); }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; } .old { fill: var(--old); } .new { fill: var(--new); }
";
/// Width of the longest bar, and where bars begin.
const BAR: f64 = 420.0;
const LEFT: f64 = 190.0;
const ROW: usize = 26;

/// A bar: what it is, how long of 1, what stands behind it, and whether it is of the new side.
type Bar = (String, f64, String, bool);

pub(super) fn html(plan: &Plan, report: &Report, queries: &[Query]) -> String {
    let (from, to) = (&plan.from, &plan.to);
    let verdict = match report.passed() {
        true => "<p class=good>All checks passed: it can be switched to.</p>",
        false => "<p class=bad>Not to be switched to: a check failed.</p>",
    };
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Migration {0}</title><style>{STYLE}</style></head><body>\n<h1>Migration {0}</h1>\n\
         <p>From <b>{1}</b> ({2}) to <b>{3}</b> ({4}). <span class=soft>{5}</span></p>\n{verdict}\n\
         <h2>Checks</h2>\n<table>\n",
        escaped(&plan.name),
        escaped(&from.collection),
        escaped(&from.model),
        escaped(&to.collection),
        escaped(&to.model),
        escaped(&report.counts),
    );
    for check in &report.checks {
        let (class, mark) = if check.passed { ("good", "ok") } else { ("bad", "failed") };
        let (name, detail) = (escaped(check.name), escaped(&check.detail));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<tr><td class={class}>{mark}<td>{name}<td class=soft>{detail}");
    }
    text += "</table>\n<h2>What changes for readers</h2>\n";
    text += &chart(&figures(report, queries));
    if !report.preview.rankings.is_empty() {
        text +=
            "<h2>First documents for each query</h2>\n<table><tr><th>query<th>before<th>after\n";
        text.extend(report.preview.rankings.iter().map(ranking));
        text += "</table>\n";
    }
    text += "<h2>Bytes of vectors</h2>\n";
    text += &chart(&sizes(plan));
    text + "<p class=soft>For each million chunks.</p>\n</body></html>\n"
}

fn figures(report: &Report, queries: &[Query]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut bar = |name: &str, value: f64, new| {
        bars.push((name.to_owned(), value, format!("{value:.3}"), new));
    };
    if let Some(share) = report.preview.overlap {
        bar("overlap@10 with before", share, true);
    }
    if let Some(recall) = report.recall {
        bar("recall@10 of the index", recall, true);
    }
    if let Some((old, new)) = queries::quality(queries, &report.preview.rankings) {
        let mut both = |name: &str, of: fn(&Quality) -> f64| {
            if let Some(old) = &old {
                bar(&format!("{name}, before"), of(old), false);
            }
            bar(&format!("{name}, after"), of(&new), true);
        };
        both("nDCG@10", |quality| quality.ndcg);
        both("recall@10", |quality| quality.recall);
    }
    bars
}

fn sizes(plan: &Plan) -> Vec<Bar> {
    const MILLION: usize = 1_000_000;
    let sides = [(&plan.from, false), (&plan.to, true)];
    let all = sides.map(|(side, new)| (side, Sizes::new(MILLION, side.dimensions), new));
    let largest = all.iter().flat_map(|(_, sizes, _)| sizes.of).map(|(_, size)| size).max();
    let largest = largest.unwrap_or(1).max(1) as f64;
    let mut bars = Vec::new();
    for (side, sizes, new) in all {
        for (storage, size) in sizes.of {
            let chosen = if storage.name() == side.storage { " ●" } else { "" };
            let name = format!("{} × {storage}{chosen}", side.dimensions);
            bars.push((name, size as f64 / largest, crate::bytes::format(size), new));
        }
    }
    bars
}

fn chart(bars: &[Bar]) -> String {
    if bars.is_empty() {
        return "<p class=soft>Too few chunks to compare.</p>\n".to_owned();
    }
    let mut text = format!(
        "<svg role=img viewBox=\"0 0 {} {}\" width=\"100%\">\n",
        LEFT + BAR + 130.0,
        ROW * bars.len()
    );
    for (at, (name, value, shown, new)) in bars.iter().enumerate() {
        let (top, class) = (at * ROW, if *new { "new" } else { "old" });
        let width = (value.clamp(0.0, 1.0) * BAR).max(1.0);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<text x=0 y={0}>{1}</text><rect class={class} x={LEFT} y={2} width={width:.1} height=16 rx=2>\
             </rect><text x={3:.1} y={0}>{4}</text>",
            top + 17,
            escaped(name),
            top + 5,
            LEFT + width + 8.0,
            escaped(shown)
        );
    }
    text + "</svg>\n"
}

fn ranking(one: &Ranking) -> String {
    let list = |paths: &[String], other: Option<&[String]>| {
        let known: HashSet<&String> = other.into_iter().flatten().collect();
        let shown: Vec<String> = paths
            .iter()
            .take(5)
            .map(|path| match other.is_none() || known.contains(path) {
                true => escaped(path),
                false => format!("<b>{}</b>", escaped(path)),
            })
            .collect();
        shown.join("<br>")
    };
    let old = one.old.as_deref();
    let before = old.map_or("not known".to_owned(), |old| list(old, Some(&one.new)));
    let after = list(&one.new, old);
    format!("<tr><td>{}<td>{before}<td>{after}\n", escaped(&one.query))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
