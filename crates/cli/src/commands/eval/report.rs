//! The figures of an evaluation, for people and for programs.

use crate::layout::{counted, fitted};
use crate::visible::visible;
use kokeshi_analysis::Quality;
use kokeshi_collections::OpenCollection;
use kokeshi_store::Provenance;
use serde_json::{Value, json};
use std::fmt::Write;

/// The figures of a set.
pub(super) struct SetFigures {
    pub(super) name: String,
    pub(super) documents: usize,
    pub(super) queries: usize,
    /// One for each search method.
    pub(super) rows: Vec<Figures>,
}

/// A search method and its quality.
pub(super) struct Figures {
    pub(super) late: bool,
    pub(super) hybrid: bool,
    pub(super) chunks: usize,
    pub(super) quality: Quality,
}

impl Figures {
    fn title(&self) -> String {
        let late = if self.late { "late chunking" } else { "each chunk alone" };
        format!("{late}, {}", if self.hybrid { "hybrid" } else { "dense" })
    }
}

/// Columns of a set's name and of a search method.
const NAMES: (usize, usize) = (16, 26);

pub(super) fn text(collection: &OpenCollection, sets: &[SetFigures]) -> String {
    let Provenance { model, dimensions, chunking, storage, codes, .. } = &collection.provenance;
    let codes = codes.map_or_else(String::new, |codes| format!(", short list by {codes}"));
    let mut text = format!(
        "{}, {dimensions} dimensions, {storage}{codes}; chunks: {}\n\n",
        visible(model),
        visible(chunking)
    );
    let mut line = |set: &str, method: &str, chunks: &str, [ndcg, recall]: [&str; 2]| {
        let (set, method) = (fitted(set, NAMES.0), fitted(method, NAMES.1));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{set}  {method}  {chunks:>8}  {ndcg:>7}  {recall:>9}");
    };
    line("set", "method", "chunks", ["nDCG@10", "recall@10"]);
    let shown = |quality: Quality| [quality.ndcg, quality.recall].map(|x| format!("{x:.4}"));
    for set in sets {
        for (number, row) in set.rows.iter().enumerate() {
            let name = if number == 0 { set.name.as_str() } else { "" };
            let [ndcg, recall] = shown(row.quality);
            line(name, &row.title(), &row.chunks.to_string(), [&ndcg, &recall]);
        }
    }
    for (number, (row, mean)) in means(sets).into_iter().enumerate() {
        let [ndcg, recall] = shown(mean);
        line(if number == 0 { "mean" } else { "" }, &row.title(), "", [&ndcg, &recall]);
    }
    let sizes = sets.iter().map(|set| {
        let (documents, queries) = (set.documents, set.queries);
        let queries =
            if queries == 1 { "1 query".to_owned() } else { format!("{queries} queries") };
        format!("{}: {}, {queries}", set.name, counted(documents, "document"))
    });
    let sizes: Vec<String> = sizes.collect();
    text + "\n" + &sizes.join("; ") + "\n"
}

/// The mean of each search method over several sets, which all have the same weight.
fn means(sets: &[SetFigures]) -> Vec<(&Figures, Quality)> {
    let [first, _, ..] = sets else { return Vec::new() };
    let mean = |at: usize| {
        let all: Vec<Quality> = sets.iter().map(|set| set.rows[at].quality).collect();
        Quality::mean(&all)
    };
    first.rows.iter().enumerate().map(|(at, row)| (row, mean(at))).collect()
}

pub(super) fn json(collection: &OpenCollection, sets: &[SetFigures]) -> anyhow::Result<String> {
    let provenance = &collection.provenance;
    let figures = |row: &Figures, quality: Quality| {
        json!({
            "late_chunking": row.late,
            "hybrid": row.hybrid,
            "ndcg_10": quality.ndcg,
            "recall_10": quality.recall,
        })
    };
    let rows = |rows: &[Figures]| -> Vec<Value> {
        let object = |row: &Figures| {
            let mut object = figures(row, row.quality);
            object["chunks"] = row.chunks.into();
            object
        };
        rows.iter().map(object).collect()
    };
    let sets_json: Vec<Value> = sets
        .iter()
        .map(|set| {
            json!({
                "name": set.name,
                "documents": set.documents,
                "queries": set.queries,
                "ways": rows(&set.rows),
            })
        })
        .collect();
    let means: Vec<Value> = means(sets).into_iter().map(|(row, mean)| figures(row, mean)).collect();
    let output = json!({
        "model": provenance.model,
        "revision": provenance.revision,
        "dimensions": provenance.dimensions,
        "storage": provenance.storage.name(),
        "shortlist": provenance.codes.map(|codes| codes.to_string()),
        "chunking": provenance.chunking,
        "sets": sets_json,
        "means": means,
    });
    Ok(serde_json::to_string_pretty(&output)? + "\n")
}
