//! The user's own queries, which both models are compared on.

use crate::text_file;
use anyhow::Context;
use kokeshi_analysis::Quality;
use kokeshi_migrate::Ranking;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Maximum size of a file of queries, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// A query, and the documents that answer it, if known.
#[derive(Debug, Deserialize)]
pub(super) struct MigrationQuery {
    #[serde(alias = "text")]
    pub(super) query: String,
    #[serde(default)]
    relevant: Vec<String>,
}

/// Reads one JSON object per line.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<MigrationQuery>> {
    let text = text_file::read(path, MAX_BYTES)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| {
                format!(
                    "line {number} of {} is not a JSON object with a `query` and, if known, `relevant` paths",
                    path.display()
                )
            })
        })
        .collect()
}

pub(super) fn texts(queries: &[MigrationQuery]) -> Vec<String> {
    queries.iter().map(|query| query.query.clone()).collect()
}

/// The quality of the rankings of queries with known answers: of the old model, if it is known, and
/// of the new one. `None` if no query has known answers.
pub(super) fn quality(
    queries: &[MigrationQuery],
    rankings: &[Ranking],
) -> Option<(Option<Quality>, Quality)> {
    let judged = || queries.iter().zip(rankings).filter(|(query, _)| !query.relevant.is_empty());
    judged().next()?;
    let relevant = |query: &MigrationQuery| -> HashMap<String, f64> {
        query.relevant.iter().map(|path| (path.clone(), 1.0)).collect()
    };
    let old: Option<Vec<Quality>> = judged()
        .map(|(query, ranking)| Some(Quality::of(ranking.old.as_ref()?, &relevant(query))))
        .collect();
    let new: Vec<Quality> =
        judged().map(|(query, ranking)| Quality::of(&ranking.new, &relevant(query))).collect();
    Some((old.map(|old| Quality::mean(&old)), Quality::mean(&new)))
}
