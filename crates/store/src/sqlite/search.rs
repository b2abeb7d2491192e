//! Search: by ANN index, scan or short list; by words; and the fusion of both.

use super::best::{RowFilter, Scored};
use super::blocks::{self, BitTable, BlockTable, Slots};
use super::matrix::{Matrix, RowBuffer, best_in_file, final_score};
use super::readers::BlockReader;
use super::{Sqlite, collections, documents};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::fusion::fuse;
use crate::provenance::Provenance;
use crate::record::{ChunkLocation, Hit, Query, RankContribution};
use crate::storage::{EncodedQuery, Layout, Storage};
use crate::traits::Source as _;
use crate::words;
use rusqlite::params;
use std::collections::HashMap;

/// Minimum number of ranks that are fused of each ranking.
const FUSED_RANKS: usize = 100;
/// Candidates of a short list per requested hit, and their minimum number.
const CANDIDATES_PER_HIT: usize = 20;
const MIN_CANDIDATES: usize = 1000;
/// Bits per row of codes for which so many candidates suffice. With fewer bits, the short list is
/// up to `MAX_FACTOR` times as long.
const CODE_BITS: usize = 1024;
const MAX_FACTOR: usize = 8;
/// Maximum number of attempts to search between writes of other processes.
const RETRIES: usize = 20;

/// An attempt to read one state of the store with several connections.
pub(super) enum ReadAttempt<T> {
    Done(T),
    /// Another process wrote meanwhile.
    Changed,
}

impl Sqlite {
    pub(super) fn search_in(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        self.retry_read(|| {
            let hits = self.search_once(collection, query)?;
            Ok(hits.map_or(ReadAttempt::Changed, ReadAttempt::Done))
        })
    }

    /// Runs `read` on one state of the store, and again if another process wrote meanwhile.
    pub(super) fn retry_read<T>(&self, read: impl Fn() -> Result<ReadAttempt<T>>) -> Result<T> {
        for _ in 0..RETRIES {
            let transaction =
                self.connection.unchecked_transaction().map_err(Error::sqlite(&self.path))?;
            let attempt = read()?;
            drop(transaction);
            if let ReadAttempt::Done(value) = attempt {
                return Ok(value);
            }
        }
        Err(Error::Busy { store: self.name() })
    }

    /// `None` if another process wrote meanwhile.
    fn search_once(&self, collection: &str, query: &Query<'_>) -> Result<Option<Vec<Hit>>> {
        let fail = Error::sqlite(&self.path);
        let (id, found) = self.require(collection)?;
        let provenance = &found.provenance;
        provenance.check_width(query.vector.len())?;
        let only = match query.filter.is_empty() {
            true => None,
            false => Some(self.matching_slots(id, query.filter).map_err(fail)?),
        };
        let ranks = if query.words.is_some() { query.limit.max(FUSED_RANKS) } else { query.limit };
        let Some(dense) = self.nearest(id, provenance, query, only.as_ref(), ranks)? else {
            return Ok(None);
        };
        let ranked = match query.words {
            None => dense.into_iter().enumerate().map(Ranked::dense).collect(),
            Some(text) => {
                let words = self.by_words(id, text, only.as_ref(), ranks).map_err(fail)?;
                fused(&dense, &words)
            }
        };
        let hits = ranked.into_iter().take(query.limit);
        hits.map(|ranked| self.hit(id, &ranked).map_err(fail)).collect::<Result<_>>().map(Some)
    }

    /// The slots of the chunks that a filter matches.
    fn matching_slots(&self, collection: i64, filter: &Filter) -> rusqlite::Result<Slots> {
        let mut slots = Slots::default();
        let sql = "SELECT id, path, metadata FROM documents WHERE collection = ?1";
        let mut all = self.connection.prepare_cached(sql)?;
        let sql = "SELECT slot, metadata FROM chunks WHERE document = ?1";
        let mut chunks = self.connection.prepare_cached(sql)?;
        let limit = blocks::max_slots(&self.connection)?;
        let mut rows = all.query([collection])?;
        while let Some(row) = rows.next()? {
            if !filter.matches_path(row.get_ref(1)?.as_str()?) {
                continue;
            }
            let document = match filter.reads_metadata() {
                true => documents::metadata(row.get_ref(2)?.as_str_or_null()?),
                false => serde_json::Map::new(),
            };
            let mut chunks = chunks.query([row.get::<_, i64>(0)?])?;
            while let Some(chunk) = chunks.next()? {
                let own = documents::metadata(chunk.get_ref(1)?.as_str_or_null()?);
                if filter.matches_metadata(&own, &document) {
                    match chunk.get(0)? {
                        slot if slot <= limit => slots.insert(slot),
                        _ => return Err(blocks::damaged("a slot that no vector can have")),
                    }
                }
            }
        }
        Ok(slots)
    }

    /// The best `limit` slots by their vectors, with final scores.
    pub(super) fn nearest(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &Query<'_>,
        only: Option<&Slots>,
        limit: usize,
    ) -> Result<Option<Vec<Scored>>> {
        let table = if query.exact { BlockTable::Vectors } else { BlockTable::Codes };
        let (table, layout) = match table.layout(provenance) {
            Some(layout) => (table, layout),
            None => (BlockTable::Vectors, vectors(provenance)),
        };
        let fail = Error::sqlite(&self.path);
        let live = Slots::read(&self.connection, BitTable::Live, id).map_err(fail)?;
        // A filter may match almost nothing in the graph.
        if !query.exact
            && only.is_none()
            && let Some(best) = self.approximate(id, provenance, query.vector, &live, limit)?
        {
            return Ok(Some(best));
        }
        let filter = RowFilter { live: &live, only };
        let probe = EncodedQuery::new(layout, query.vector);
        if table == BlockTable::Vectors {
            let best = self.scan(id, (table, layout), &probe, filter, limit)?;
            let scored = |row: Scored| Scored { score: final_score(layout, row.score), ..row };
            return Ok(best.map(|best| best.into_iter().map(scored).collect()));
        }
        let candidates = limit.saturating_mul(CANDIDATES_PER_HIT).max(MIN_CANDIDATES);
        let candidates = candidates.saturating_mul(list_factor(layout));
        let Some(candidates) = self.scan(id, (table, layout), &probe, filter, candidates)? else {
            return Ok(None);
        };
        self.rescored(id, provenance, query.vector, candidates, limit).map_err(fail).map(Some)
    }

    /// The best `limit` rows of a table. The first scan reads the file; the second one loads the
    /// rows into memory, because more will follow.
    fn scan(
        &self,
        id: i64,
        (table, layout): (BlockTable, Layout),
        probe: &EncodedQuery,
        filter: RowFilter<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Scored>>> {
        let generation = collections::generation(&self.connection, id);
        let generation = generation.map_err(Error::sqlite(&self.path))?;
        // Outdated rows are dropped first: two sets of rows may not fit into memory.
        let cached = self.scans.borrow_mut().remove(&(id, table));
        let cached = cached.filter(|cached| cached.generation() == generation);
        let source = BlockReader::new(self, (id, generation), (table, layout))?;
        let (best, cached) = match cached {
            None => {
                let best = best_in_file(&source, probe, filter, limit, self.level)?;
                (best, ScanCache::Once { generation })
            }
            Some(cached) => {
                let matrix = match cached {
                    ScanCache::Often(matrix) => Some(matrix),
                    ScanCache::Once { .. } => Matrix::read(&source, generation)?,
                };
                let Some(matrix) = matrix else { return Ok(None) };
                let best = matrix.best(probe, filter, limit, (self.threads, self.level));
                (Some(best), ScanCache::Often(matrix))
            }
        };
        self.scans.borrow_mut().insert((id, table), cached);
        Ok(best)
    }

    /// The best `limit` of `candidates` by the vectors themselves, which are read one by one.
    pub(super) fn rescored(
        &self,
        id: i64,
        provenance: &Provenance,
        query: &[f32],
        mut candidates: Vec<Scored>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Scored>> {
        let layout = vectors(provenance);
        candidates.sort_unstable_by_key(|row| row.slot);
        let mut rows = RowBuffer::zeroed(layout, candidates.len());
        let mut open = None;
        for (at, &Scored { slot, .. }) in candidates.iter().enumerate() {
            let block = blocks::key(id, slot / layout.rows);
            let blob = match open.take() {
                None => self.connection.blob_open("main", "vectors", "data", block, true)?,
                Some((at, blob)) if at == block => blob,
                Some((_, mut blob)) => {
                    rusqlite::blob::Blob::reopen(&mut blob, block)?;
                    blob
                }
            };
            rows.fill(at, &blob, slot)?;
            open = Some((block, blob));
        }
        let mut scores = vec![0.0; candidates.len()];
        rows.score(self.level, &EncodedQuery::new(layout, query), 0..candidates.len(), &mut scores);
        for (row, score) in candidates.iter_mut().zip(scores) {
            row.score = final_score(layout, score);
        }
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.truncate(limit);
        Ok(candidates)
    }

    /// The best `limit` slots by the words of `text`, with BM25 scores.
    fn by_words(
        &self,
        collection: i64,
        text: &str,
        only: Option<&Slots>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Scored>> {
        let Some(words) = words::any_of(text) else { return Ok(Vec::new()) };
        let sql = "SELECT chunks.slot, -words.rank FROM words \
                   JOIN chunks ON chunks.id = words.rowid \
                   WHERE words MATCH ?1 AND chunks.collection = ?2 ORDER BY words.rank";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![words, collection], |row| {
            Ok(Scored { slot: row.get(0)?, score: row.get::<_, f64>(1)? as f32 })
        })?;
        let matches = |row: &rusqlite::Result<Scored>| match (row, only) {
            (Ok(row), Some(only)) => only.contains(row.slot),
            _ => true,
        };
        rows.filter(matches).take(limit).collect()
    }

    fn hit(&self, collection: i64, ranked: &Ranked) -> rusqlite::Result<Hit> {
        let sql = "SELECT path, format, ordinal, first_byte, end_byte, first_line, last_line, page, \
                   text, documents.metadata, chunks.metadata \
                   FROM chunks JOIN documents ON documents.id = chunks.document \
                   WHERE chunks.collection = ?1 AND slot = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row(params![collection, ranked.slot], |row| {
            let mut metadata = documents::metadata(row.get_ref(9)?.as_str_or_null()?);
            metadata.extend(documents::metadata(row.get_ref(10)?.as_str_or_null()?));
            let location = ChunkLocation {
                bytes: row.get(3)?..row.get(4)?,
                lines: (row.get(5)?, row.get(6)?),
                page: row.get(7)?,
            };
            Ok(Hit {
                score: ranked.score,
                dense: ranked.dense,
                words: ranked.words,
                path: row.get(0)?,
                format: row.get(1)?,
                ordinal: row.get(2)?,
                location,
                text: row.get(8)?,
                metadata,
            })
        })
    }
}

/// The layout of a collection's vectors.
pub(super) fn vectors(provenance: &Provenance) -> Layout {
    Layout::new(provenance.storage, provenance.dimensions)
}

/// What a scan keeps for later ones.
#[derive(Debug)]
pub(super) enum ScanCache {
    /// One scan has read the file, at this generation of the collection.
    Once { generation: i64 },
    /// All rows, loaded by the second scan.
    Often(Matrix),
}

impl ScanCache {
    fn generation(&self) -> i64 {
        match self {
            Self::Once { generation } => *generation,
            Self::Often(matrix) => matrix.generation,
        }
    }
}

/// A slot with its contribution in each ranking.
struct Ranked {
    slot: usize,
    score: f32,
    dense: Option<RankContribution>,
    words: Option<RankContribution>,
}

impl Ranked {
    fn dense((at, row): (usize, Scored)) -> Self {
        let dense = Some(RankContribution { rank: at + 1, score: row.score });
        Self { slot: row.slot, score: row.score, dense, words: None }
    }
}

fn fused(dense: &[Scored], words: &[Scored]) -> Vec<Ranked> {
    let slots = |ranking: &[Scored]| ranking.iter().map(|row| row.slot).collect::<Vec<_>>();
    let parts = |ranking: &[Scored]| -> HashMap<usize, RankContribution> {
        let part =
            |(rank, row): (usize, &Scored)| (row.slot, RankContribution { rank, score: row.score });
        (1..).zip(ranking).map(part).collect()
    };
    let (in_dense, in_words) = (parts(dense), parts(words));
    let fused = fuse(&slots(dense), &slots(words)).into_iter();
    fused
        .map(|(slot, score)| Ranked {
            slot,
            score,
            dense: in_dense.get(&slot).copied(),
            words: in_words.get(&slot).copied(),
        })
        .collect()
}

/// How many times as long a short list is for codes of this layout.
fn list_factor(layout: Layout) -> usize {
    let bits = if layout.storage == Storage::Bits { 1 } else { 8 };
    CODE_BITS.div_ceil(bits * layout.dimensions.max(1)).min(MAX_FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_codes_with_fewer_bits_are_longer() {
        let times = |storage, dimensions| list_factor(Layout::new(storage, dimensions));
        let bits = [1024, 512, 256, 32, 1].map(|dimensions| times(Storage::Bits, dimensions));
        assert_eq!(bits, [1, 2, 4, 8, 8]);
        assert_eq!([1024, 256, 64].map(|dimensions| times(Storage::Int8, dimensions)), [1, 1, 2]);
    }
}
