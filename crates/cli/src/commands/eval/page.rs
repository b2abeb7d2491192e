//! The figures of an evaluation as one page that loads nothing from elsewhere.

use super::chart::{Line, lines};
use super::figures::{
    Evaluation, SetFigures, families, main_measure, means, method_means, plural, shown,
};
use super::search::MethodFigures;
use crate::args::EvalKind;
use crate::view::bars::{self, Bar, bars};
use maud::{Markup, html};

const STYLE: &str = "
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
.axis { stroke: var(--line); }
.scroll svg { min-width: 34rem; max-width: 46rem; } .line { fill: none; stroke-width: 2; }
td.number, th.number { text-align: right; } summary { cursor: pointer; margin: .6rem 0; }
";

pub(super) fn page(evaluation: &Evaluation) -> String {
    let title = format!("Evaluation of {}", evaluation.model);
    let body = html! {
        header {
            h1 { (title) }
            span.soft { (evaluation.device) }
        }
        main {
            (summary(evaluation))
            @for (kind, sets) in evaluation.by_kind() { (section(evaluation, kind, &sets)) }
            @if let Some(search) = &evaluation.search {
                h2 { "Methods of search" }
                p {
                    "Documents indexed as by kokeshi index, in chunks; a document has the rank of its best "
                    "chunk. " (search.dimensions) " dimensions, " (search.storage)
                    @if let Some(codes) = &search.shortlist { ", short list by " (codes) }
                    "; chunks: " (search.chunking) "."
                }
                (methods(&evaluation.sets))
            }
        }
    };
    kokeshi_server::page(&title, &[bars::STYLE, STYLE].concat(), &body)
}

fn summary(evaluation: &Evaluation) -> Markup {
    let list = |values: Vec<String>| values.join(", ");
    html! {
        @if evaluation.is_stopped { p.bad { "Stopped: some sets are missing." } }
        p {
            "Dimensions: " (list(evaluation.dimensions.iter().map(ToString::to_string).collect()))
            ". Precision: " (list(evaluation.precisions.clone())) ". Seed of shares: " (evaluation.seed)
            ". All figures are times 100."
        }
        p.soft { "Weights: " (evaluation.revision) }
    }
}

fn section(evaluation: &Evaluation, kind: EvalKind, sets: &[&SetFigures]) -> Markup {
    let notes = sets.iter().flat_map(|set| set.notes.iter().map(move |note| (&set.name, note)));
    html! {
        h2 { (kind.title()) }
        p { (kind.definition()) " " (tasks(sets)) }
        h3.soft { (main_measure(kind).name) }
        (bars(&set_bars(evaluation, sets)))
        @if evaluation.dimensions.len() > 1 {
            h3.soft { (main_measure(kind).name) " by dimensions" }
            (lines(&sweep_lines(evaluation, sets)))
        }
        (first_table(evaluation, kind, sets))
        @if evaluation.is_sweep() {
            details {
                summary { "All dimensions and precisions" }
                (sweep_table(kind, sets))
            }
        }
        @for (name, note) in notes { p.soft { (name) ": " (note) "." } }
    }
}

fn tasks(sets: &[&SetFigures]) -> String {
    let first = &sets[0].tasks;
    if sets.iter().any(|set| set.tasks != *first) {
        return String::new();
    }
    let names: Vec<&str> = first.iter().map(|task| task.as_deref().unwrap_or("none")).collect();
    format!("Tasks: {}.", names.join(" and "))
}

/// The main measure of each set and the mean of each family, in the first dimensions and precision.
fn set_bars(evaluation: &Evaluation, sets: &[&SetFigures]) -> Vec<Bar> {
    let (precision, dimensions) = (&evaluation.precisions[0], evaluation.dimensions[0]);
    let mut bars = Vec::new();
    for (family, members) in families(sets) {
        let mut add = |label: String, members: &[&SetFigures], is_other| {
            let values = means(members, precision, dimensions);
            if let Some(share) = values.and_then(|values| values.first().copied()) {
                bars.push(Bar { label, share, value: shown(share), is_other });
            }
        };
        for set in &members {
            add(set.name.clone(), &[*set], false);
        }
        if members.len() > 1 {
            add(format!("mean of {}", plural_of(family, members.len())), &members, true);
        }
    }
    bars
}

fn plural_of(family: &str, count: usize) -> String {
    format!("{count} × {family}")
}

/// The main measure of each family and precision, by dimensions.
fn sweep_lines(evaluation: &Evaluation, sets: &[&SetFigures]) -> Vec<Line> {
    let mut all = Vec::new();
    for (family, members) in families(sets) {
        for precision in &evaluation.precisions {
            let point = |&dimensions: &usize| {
                Some((dimensions, *means(&members, precision, dimensions)?.first()?))
            };
            let points: Vec<(usize, f64)> =
                evaluation.dimensions.iter().filter_map(point).collect();
            all.push(Line { label: format!("{family}, {precision}"), points });
        }
    }
    all
}

/// All measures of each set, in the first dimensions and precision.
fn first_table(evaluation: &Evaluation, kind: EvalKind, sets: &[&SetFigures]) -> Markup {
    let (precision, dimensions) = (&evaluation.precisions[0], evaluation.dimensions[0]);
    html! {
        div.scroll {
            table {
                tr {
                    th { "set" }
                    @for (_, noun) in &sets[0].counts { th.number { (plural(noun)) } }
                    @for measure in kind.measures() { th.number { (measure.name) } }
                }
                @for set in sets {
                    tr {
                        td { (set.name) }
                        @for (count, _) in &set.counts { td.number { (count) } }
                        @for value in set.at(precision, dimensions).unwrap_or_default() {
                            td.number { (shown(*value)) }
                        }
                    }
                }
            }
        }
    }
}

/// All measures of each set in all dimensions and precisions.
fn sweep_table(kind: EvalKind, sets: &[&SetFigures]) -> Markup {
    html! {
        div.scroll {
            table {
                tr {
                    th { "set" } th { "precision" } th.number { "dimensions" }
                    @for measure in kind.measures() { th.number { (measure.name) } }
                }
                @for set in sets {
                    @for figures in &set.figures {
                        tr {
                            td { (set.name) } td { (figures.precision) }
                            td.number { (figures.dimensions) }
                            @for value in &figures.values { td.number { (shown(*value)) } }
                        }
                    }
                }
            }
        }
    }
}

fn methods(sets: &[SetFigures]) -> Markup {
    let searched = sets.iter().filter(|set| !set.methods.is_empty());
    let mut groups: Vec<(&str, Vec<MethodFigures>)> =
        searched.map(|set| (set.name.as_str(), set.methods.clone())).collect();
    let means = method_means(sets);
    if !means.is_empty() {
        groups.push(("mean", means));
    }
    let bar = |(name, method): (&str, &MethodFigures)| Bar {
        label: format!("{name}: {}", method.title()),
        share: method.quality.ndcg,
        value: shown(method.quality.ndcg),
        is_other: name == "mean",
    };
    let all = groups.iter().flat_map(|(name, of)| of.iter().map(move |method| (*name, method)));
    html! {
        h3.soft { "nDCG@10" }
        (bars(&all.clone().map(bar).collect::<Vec<_>>()))
        div.scroll {
            table {
                tr {
                    th { "set" } th { "method" } th.number { "chunks" } th.number { "nDCG@10" }
                    th.number { "recall@10" }
                }
                @for (name, method) in all {
                    tr {
                        td { (name) } td { (method.title()) } td.number { (method.chunks) }
                        td.number { (shown(method.quality.ndcg)) }
                        td.number { (shown(method.quality.recall)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::eval::figures::{Figures, SearchSettings};
    use kokeshi_analysis::Quality;

    #[test]
    fn the_page_shows_every_set_and_loads_nothing_from_elsewhere() {
        let figures = |dimensions, value| Figures {
            precision: "f32".to_owned(),
            dimensions,
            values: vec![value, 0.5, 0.25],
        };
        let quality = Quality { ndcg: 0.75, recall: 0.5 };
        let set = SetFigures {
            kind: EvalKind::Retrieval,
            name: "</script><b>set".to_owned(),
            family: "f".to_owned(),
            language: None,
            counts: vec![(3, "document"), (2, "query")],
            tasks: vec![None, None],
            notes: vec!["a note".to_owned()],
            figures: vec![figures(64, 0.625), figures(32, 0.375)],
            methods: vec![MethodFigures { late: true, hybrid: false, chunks: 5, quality }],
        };
        let evaluation = Evaluation {
            model: "m".to_owned(),
            revision: "sha256:1".to_owned(),
            dimensions: vec![64, 32],
            precisions: vec!["f32".to_owned()],
            device: "cpu".to_owned(),
            seed: 7,
            search: Some(SearchSettings {
                dimensions: 64,
                chunking: "lines".to_owned(),
                storage: "f16".to_owned(),
                shortlist: None,
            }),
            sets: vec![set.clone(), set],
            is_stopped: true,
        };
        let page = page(&evaluation);
        for part in ["62.50", "37.50", "75.00", "&lt;b&gt;set", "a note", "Stopped", "queries"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>set") && !page.contains("src=") && !page.contains("<script"));
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "{page}");
    }
}
