//! Search: with the approximate index if there is one, and over all vectors if that finds too few.

use super::collections::{bits, kind};
use super::queries::{Queries as _, SqlValue, vector_text};
use kokeshi_store::backend::merged;
use kokeshi_store::{ChunkLocation, Filter, Hit, Provenance, Query, RankContribution};
use postgres::{Error, Row, Transaction};
use serde_json::{Map, Value};

/// Candidates of a short list of bits per requested hit, and their minimum number.
const CANDIDATES_PER_HIT: usize = 20;
const MIN_CANDIDATES: usize = 1000;
/// Minimum and maximum number of candidates that the index keeps while it searches; the maximum is
/// pgvector's.
const EF_SEARCH: (usize, usize) = (200, 1000);
/// Rows requested per hit, if [`Filter`] must check some conditions.
const ROWS_PER_HIT: usize = 8;

pub(super) fn search(
    transaction: &mut Transaction<'_>,
    (collection, provenance, vectors): (i64, &Provenance, &str),
    query: &Query<'_>,
) -> Result<Vec<Hit>, Error> {
    let documents = match query.filter.reads_paths() {
        true => Some(matching_documents(transaction, collection, query.filter)?),
        false => None,
    };
    let terms = query.filter.terms();
    let vector = vector_text(&provenance.storage.rounded(query.vector));
    let row_query = RowQuery { collection, provenance, vectors, vector, documents, terms };
    let rows_per_hit = if query.filter.reads_metadata() { ROWS_PER_HIT } else { 1 };
    if !query.exact {
        let rows = row_query.rows(transaction, query.limit.saturating_mul(rows_per_hit), false)?;
        let hits = matching_hits(&rows, query);
        if hits.len() == query.limit {
            return Ok(hits);
        }
    }
    // The index may have missed some rows, or conditions may have excluded too many.
    let mut limit = query.limit.saturating_mul(rows_per_hit);
    loop {
        let rows = row_query.rows(transaction, limit, true)?;
        let hits = matching_hits(&rows, query);
        if hits.len() == query.limit || rows.len() < limit {
            return Ok(hits);
        }
        limit = limit.saturating_mul(ROWS_PER_HIT);
    }
}

/// The ids of the documents with matching paths.
fn matching_documents(
    transaction: &mut Transaction<'_>,
    collection: i64,
    filter: &Filter,
) -> Result<Vec<i64>, Error> {
    let sql = format!("SELECT id, path FROM kokeshi.documents_{collection}");
    let rows = transaction.rows(&sql, &[])?;
    let matches = |row: &&Row| filter.matches_path(row.get(1));
    Ok(rows.iter().filter(matches).map(|row| row.get(0)).collect())
}

/// A query for the nearest rows.
struct RowQuery<'a> {
    collection: i64,
    provenance: &'a Provenance,
    /// The schema of pgvector.
    vectors: &'a str,
    vector: String,
    documents: Option<Vec<i64>>,
    terms: Vec<String>,
}

impl RowQuery<'_> {
    /// The nearest rows, best first. An `exact` search computes every cosine.
    fn rows(
        &self,
        transaction: &mut Transaction<'_>,
        limit: usize,
        exact: bool,
    ) -> Result<Vec<Row>, Error> {
        let (collection, vectors) = (self.collection, self.vectors);
        let vector = format!("$1::text::{vectors}.{}", kind(self.provenance));
        let distance = format!("embedding OPERATOR({vectors}.<=>) {vector}");
        // PostgreSQL uses the index only to order by the bare operator.
        let cosine = match exact {
            true => format!("({distance}) + 0"),
            false => distance.clone(),
        };
        let mut values: Vec<&dyn SqlValue> = vec![&self.vector];
        let mut conditions = Vec::new();
        if let Some(documents) = &self.documents {
            values.push(documents);
            conditions.push(format!("document = ANY(${})", values.len()));
        }
        if !self.terms.is_empty() {
            values.push(&self.terms);
            conditions.push(format!("terms @> ${}", values.len()));
        }
        let conditions = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let chunks = format!("kokeshi.chunks_{collection}");
        let source = match self.provenance.codes {
            Some(_) if !exact => {
                let candidates = limit.saturating_mul(CANDIDATES_PER_HIT).max(MIN_CANDIDATES);
                let dimensions = self.provenance.dimensions;
                let query = format!("{vectors}.binary_quantize({vector})::bit({dimensions})");
                let order =
                    format!("{} OPERATOR({vectors}.<~>) {query}", bits(self.provenance, vectors));
                format!("(SELECT * FROM {chunks}{conditions} ORDER BY {order} LIMIT {candidates})")
            }
            _ => format!("(SELECT * FROM {chunks}{conditions} ORDER BY {cosine} LIMIT {limit})"),
        };
        self.prepare(transaction, limit)?;
        let sql = format!(
            "SELECT 1 - ({distance}) AS score, path, format, ordinal, first_byte, end_byte, \
             first_line, last_line, page, text, chunk.metadata, document.metadata \
             FROM {source} AS chunk JOIN kokeshi.documents_{collection} AS document \
             ON document.id = chunk.document ORDER BY score DESC, path, ordinal LIMIT {limit}"
        );
        transaction.rows(&sql, &values)
    }

    /// Sets how many candidates the index keeps, and lets it continue if a filter excludes them.
    fn prepare(&self, transaction: &mut Transaction<'_>, limit: usize) -> Result<(), Error> {
        let ef_search = match self.provenance.codes {
            Some(_) => EF_SEARCH.1,
            None => limit.saturating_mul(2).clamp(EF_SEARCH.0, EF_SEARCH.1),
        };
        transaction.batch_execute(&format!(
            "SET LOCAL hnsw.ef_search = {ef_search}; SET LOCAL hnsw.iterative_scan = strict_order"
        ))
    }
}

/// The rows that meet all conditions, as hits.
fn matching_hits(rows: &[Row], query: &Query<'_>) -> Vec<Hit> {
    let hits = rows.iter().filter_map(|row| {
        let (own, document) = (object(row.get(10)), object(row.get(11)));
        let matches = query.filter.matches_path(row.get(1));
        (matches && query.filter.matches_metadata(&own, &document))
            .then(|| hit(row, merged(document, own)))
    });
    let hits = hits.take(query.limit).enumerate().map(|(at, hit)| Hit {
        dense: Some(RankContribution { rank: at + 1, score: hit.score }),
        ..hit
    });
    hits.collect()
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn hit(row: &Row, metadata: Map<String, Value>) -> Hit {
    let number = |at| row.get::<_, i64>(at) as usize;
    Hit {
        score: row.get::<_, f64>(0) as f32,
        dense: None,
        words: None,
        path: row.get(1),
        format: row.get(2),
        ordinal: row.get::<_, i32>(3) as usize,
        location: ChunkLocation {
            bytes: number(4)..number(5),
            lines: (number(6), number(7)),
            page: row.get::<_, Option<i64>>(8).map(|page| page as usize),
        },
        text: row.get(9),
        metadata,
    }
}
