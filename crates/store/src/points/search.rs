//! Search: by the engine's index, and by all points that count if that falls short.

use super::row::Found;
use super::{Near, Only, PATHS, Points, names};
use crate::error::Result;
use crate::record::{Collection, Hit, Query};
use kokeshi_kernels::cosine;

/// Points asked for when conditions remain that the engine cannot judge, for each hit wanted.
const POINTS_A_HIT: usize = 8;
/// Most points of one answer: engines limit it.
const MOST: usize = 4096;

impl Points {
    pub(super) fn search_in(&self, collection: &Collection, query: &Query<'_>) -> Result<Vec<Hit>> {
        let Some(terms) = query.filter.terms() else { return Ok(Vec::new()) };
        let paths = self.matching(&collection.name, query)?;
        if paths.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        // Too many paths for one condition are judged here instead.
        let narrow = paths.filter(|paths| paths.len() <= PATHS);
        let judged =
            narrow.is_none() && query.filter.reads_paths() || query.filter.reads_metadata();
        let only = Only { paths: narrow, terms };
        if !query.exact || self.engine.is_exact() {
            let mut limit = query.limit.saturating_mul(if judged { POINTS_A_HIT } else { 1 });
            while limit <= MOST {
                let found = self.nearest(collection, query, &only, limit)?;
                let answered = found.len();
                let hits = best(found, query);
                if hits.len() == query.limit {
                    return Ok(hits);
                }
                if answered < limit {
                    break;
                }
                limit = limit.saturating_mul(POINTS_A_HIT);
            }
        }
        self.scanned(&collection.name, query, &only)
    }

    /// Paths of documents that count, if paths matter.
    fn matching(&self, collection: &str, query: &Query<'_>) -> Result<Option<Vec<String>>> {
        if !query.filter.reads_paths() {
            return Ok(None);
        }
        let entries = crate::record::Store::list(self, collection)?.into_iter();
        let paths = entries.map(|entry| entry.path).filter(|path| query.filter.matches_path(path));
        Ok(Some(paths.collect()))
    }

    fn nearest(
        &self,
        collection: &Collection,
        query: &Query<'_>,
        only: &Only,
        limit: usize,
    ) -> Result<Vec<Found>> {
        let table = names::chunks(&collection.name);
        let (vector, exact, made) = (query.vector, query.exact, &collection.provenance);
        let near = Near { vector, limit, exact, made };
        let rows = self.call(|engine| engine.nearest(&table, &near, only))?;
        Ok(rows.into_iter().map(|(score, row)| Found::new(score, row)).collect())
    }

    /// The best of all points that count, with their cosines computed here.
    fn scanned(&self, collection: &str, query: &Query<'_>, only: &Only) -> Result<Vec<Hit>> {
        let mut kept: Vec<Found> = Vec::new();
        self.scan(&names::chunks(collection), only, true, |rows| {
            let found = rows.into_iter().map(|row| {
                let score = cosine(&row.vector, query.vector);
                Found::new(score, row)
            });
            kept.extend(found.filter(|found| counts(found, query)));
            sort(&mut kept);
            kept.truncate(query.limit);
        })?;
        Ok(best(kept, query))
    }
}

/// Whether a chunk meets all conditions.
fn counts(found: &Found, query: &Query<'_>) -> bool {
    let (own, document) = found.metadata();
    query.filter.matches_path(&found.row.path) && query.filter.matches_metadata(&own, &document)
}

/// Best first; of equal scores, by path and number.
fn sort(found: &mut [Found]) {
    found.sort_by(|a, b| {
        let scores = b.score.total_cmp(&a.score);
        scores.then_with(|| a.row.path.cmp(&b.row.path)).then(a.ordinal().cmp(&b.ordinal()))
    });
}

/// The best of those that meet all conditions, as hits.
fn best(mut found: Vec<Found>, query: &Query<'_>) -> Vec<Hit> {
    found.retain(|found| counts(found, query));
    sort(&mut found);
    let best = found.into_iter().take(query.limit).zip(1..);
    best.map(|(found, rank)| found.hit(rank)).collect()
}
