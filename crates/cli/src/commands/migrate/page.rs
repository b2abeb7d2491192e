//! The report of a verification as one page that loads nothing from elsewhere.

use super::queries::{self, MigrationQuery};
use crate::bytes;
use crate::view::bars::{self, Bar};
use kokeshi_analysis::Quality;
use kokeshi_migrate::{Plan, Ranking, VectorSizes, Verification};
use maud::{Markup, html};
use std::collections::HashSet;

/// Number of documents that are shown for each query.
const DOCUMENTS: usize = 5;

pub(super) fn page(plan: &Plan, report: &Verification, queries: &[MigrationQuery]) -> String {
    let body = html! {
        header {
            h1 { "Migration " (plan.name) }
            span.soft { (report.counts) }
        }
        main {
            (summary(plan, report))
            h2 { "Checks" }
            (checks(report))
            h2 { "What changes for readers" }
            (chart(&figures(report, queries)))
            @if !report.preview.rankings.is_empty() {
                h2 { "Top documents for each query" }
                table {
                    tr { th { "query" } th { "before" } th { "after" } }
                    @for ranking in &report.preview.rankings { (ranking_row(ranking)) }
                }
            }
            h2 { "Size of vectors" }
            (chart(&sizes(plan)))
            p.soft { "Per million chunks." }
        }
    };
    kokeshi_server::page(&format!("Migration {}", plan.name), bars::STYLE, &body)
}

fn summary(plan: &Plan, report: &Verification) -> Markup {
    let (from, to) = (&plan.from, &plan.to);
    html! {
        p {
            "From " b { (from.collection) } " (" (from.model) ") to "
            b { (to.collection) } " (" (to.model) ")."
        }
        @if report.passed() {
            p.good { "All checks passed: readers can switch to it." }
        } @else {
            p.bad { "A check failed: readers cannot switch to it." }
        }
    }
}

fn checks(report: &Verification) -> Markup {
    html! {
        table {
            @for check in &report.checks {
                tr {
                    @if check.passed { td.good.word { "ok" } } @else { td.bad.word { "failed" } }
                    td { (check.name) }
                    td.soft { (check.detail) }
                }
            }
        }
    }
}

fn figures(report: &Verification, queries: &[MigrationQuery]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut bar = |label: &str, share: f64, is_new: bool| {
        bars.push(Bar {
            label: label.to_owned(),
            share,
            value: format!("{share:.3}"),
            is_other: !is_new,
        });
    };
    if let Some(share) = report.preview.overlap {
        bar("overlap@10 with the old model", share, true);
    }
    if let Some(recall) = report.recall {
        bar("recall@10 of the index", recall, true);
    }
    if let Some((old, new)) = queries::quality(queries, &report.preview.rankings) {
        let mut both = |name: &str, figure: fn(&Quality) -> f64| {
            if let Some(old) = &old {
                bar(&format!("{name}, before"), figure(old), false);
            }
            bar(&format!("{name}, after"), figure(&new), true);
        };
        both("nDCG@10", |quality| quality.ndcg);
        both("recall@10", |quality| quality.recall);
    }
    bars
}

fn sizes(plan: &Plan) -> Vec<Bar> {
    const MILLION: usize = 1_000_000;
    let sides = [(&plan.from, false), (&plan.to, true)];
    let all = sides.map(|(side, is_new)| {
        (side, VectorSizes::new(MILLION, side.dimensions).by_storage, is_new)
    });
    let largest = all.iter().flat_map(|(_, sizes, _)| sizes).map(|(_, size)| *size).max();
    let largest = largest.unwrap_or(1).max(1) as f64;
    let mut bars = Vec::new();
    for (side, sizes, is_new) in all {
        for (storage, size) in sizes {
            let chosen = if storage.name() == side.storage { " ●" } else { "" };
            bars.push(Bar {
                label: format!("{} × {storage}{chosen}", side.dimensions),
                share: size as f64 / largest,
                value: bytes::format(size),
                is_other: !is_new,
            });
        }
    }
    bars
}

fn chart(bars: &[Bar]) -> Markup {
    html! {
        @if bars.is_empty() {
            p.soft { "Too few chunks to compare." }
        } @else {
            (bars::bars(bars))
        }
    }
}

/// The top documents for a query by both models; those that only one of them has are bold.
fn ranking_row(ranking: &Ranking) -> Markup {
    let old = ranking.old.as_deref();
    html! {
        tr {
            td { (ranking.query) }
            td {
                @match old {
                    Some(old) => { (documents(old, Some(&ranking.new))) }
                    None => { "unknown" }
                }
            }
            td { (documents(&ranking.new, old)) }
        }
    }
}

fn documents(paths: &[String], other: Option<&[String]>) -> Markup {
    let known: HashSet<&String> = other.into_iter().flatten().collect();
    let is_common = |path: &String| other.is_none() || known.contains(path);
    html! {
        @for (index, path) in paths.iter().take(DOCUMENTS).enumerate() {
            @if index > 0 { br; }
            @if is_common(path) { (path) } @else { b { (path) } }
        }
    }
}
