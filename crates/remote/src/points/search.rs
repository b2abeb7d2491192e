//! Search: with the engine's index, and over all matching points if that finds too few.

use super::point::ScoredChunk;
use super::store::PointStore;
use super::{NearestQuery, PATHS, PointFilter, names};
use kokeshi_kernels::cosine;
use kokeshi_store::{Collection, Hit, Query, Result, Store as _};

/// Points requested per hit, if some conditions must be checked here.
pub(super) const POINTS_PER_HIT: usize = 8;
/// Maximum number of points requested from an engine, which limits them.
const MAX_POINTS: usize = 4096;

impl PointStore {
    pub(super) fn search_in(&self, collection: &Collection, query: &Query<'_>) -> Result<Vec<Hit>> {
        let terms = query.filter.terms();
        let paths = self.matching(&collection.name, query)?;
        if paths.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        // If there are too many paths for one condition, they are checked here instead.
        let paths = paths.filter(|paths| paths.len() <= PATHS);
        let is_checked_here =
            paths.is_none() && query.filter.reads_paths() || query.filter.reads_metadata();
        let filter = PointFilter { paths, terms };
        if !query.exact || self.engine.is_exact() {
            let mut limit =
                query.limit.saturating_mul(if is_checked_here { POINTS_PER_HIT } else { 1 });
            while limit <= MAX_POINTS {
                let found = self.nearest(collection, query, &filter, limit)?;
                let returned = found.len();
                let hits = best(found, query);
                if hits.len() == query.limit {
                    return Ok(hits);
                }
                if returned < limit {
                    break;
                }
                limit = limit.saturating_mul(POINTS_PER_HIT);
            }
        }
        self.search_all(&collection.name, query, &filter)
    }

    /// Paths of matching documents, if there are conditions on paths.
    fn matching(&self, collection: &str, query: &Query<'_>) -> Result<Option<Vec<String>>> {
        if !query.filter.reads_paths() {
            return Ok(None);
        }
        let entries = self.list(collection)?.into_iter();
        let paths = entries.map(|entry| entry.path).filter(|path| query.filter.matches_path(path));
        Ok(Some(paths.collect()))
    }

    fn nearest(
        &self,
        collection: &Collection,
        query: &Query<'_>,
        filter: &PointFilter,
        limit: usize,
    ) -> Result<Vec<ScoredChunk>> {
        let table = names::chunks(&collection.name);
        let (vector, exact, provenance) = (query.vector, query.exact, &collection.provenance);
        let nearest = NearestQuery { vector, limit, exact, provenance };
        let points = self.call(|engine| engine.nearest(&table, &nearest, filter))?;
        Ok(points.into_iter().map(|(score, point)| ScoredChunk::new(score, point)).collect())
    }

    /// The best hits among all matching points, with their cosines computed here.
    fn search_all(
        &self,
        collection: &str,
        query: &Query<'_>,
        filter: &PointFilter,
    ) -> Result<Vec<Hit>> {
        let mut kept: Vec<ScoredChunk> = Vec::new();
        self.scan(&names::chunks(collection), filter, true, |points| {
            let scored = points.into_iter().map(|point| {
                let score = cosine(&point.vector, query.vector);
                ScoredChunk::new(score, point)
            });
            kept.extend(scored.filter(|chunk| matches(chunk, query)));
            sort(&mut kept);
            kept.truncate(query.limit);
        })?;
        Ok(best(kept, query))
    }
}

/// Whether a chunk meets all conditions.
fn matches(chunk: &ScoredChunk, query: &Query<'_>) -> bool {
    let (own, document) = chunk.metadata();
    query.filter.matches_path(&chunk.point.path) && query.filter.matches_metadata(&own, &document)
}

/// Sorts by score, best first; equal scores by path and index.
fn sort(chunks: &mut [ScoredChunk]) {
    chunks.sort_by(|a, b| {
        let scores = b.score.total_cmp(&a.score);
        scores.then_with(|| a.point.path.cmp(&b.point.path)).then(a.ordinal().cmp(&b.ordinal()))
    });
}

/// The best chunks that meet all conditions, as hits.
fn best(mut chunks: Vec<ScoredChunk>, query: &Query<'_>) -> Vec<Hit> {
    chunks.retain(|chunk| matches(chunk, query));
    sort(&mut chunks);
    let best = chunks.into_iter().take(query.limit).zip(1..);
    best.map(|(chunk, rank)| chunk.hit(rank)).collect()
}
