//! Searching a collection whose name may be switched during the search.

use crate::error::{Error, Result};
use crate::settings::OpenCollection;
use kokeshi_store::{Filter, Hit, Query, Store};
use std::collections::{HashMap, HashSet};

/// Number of attempts if the name is switched to another collection during a search.
const ATTEMPTS: usize = 3;
/// Maximum number of hits that are requested to find enough with different texts.
const MAX_HITS: usize = 10_000;

/// A search of a collection.
#[derive(Clone, Copy, Debug)]
pub struct SearchRequest<'a> {
    /// The collection or its alias.
    pub collection: &'a str,
    /// The query's text.
    pub text: &'a str,
    /// Whether to search for its words as well, and fuse both rankings.
    pub hybrid: bool,
    /// Maximum number of hits, if `distinct` does not ask for more.
    pub limit: usize,
    /// Whether to return as many hits as it takes to have `limit` different texts.
    pub distinct: bool,
    /// Which chunks are searched.
    pub filter: &'a Filter,
    /// Whether to scan all vectors, even if there are codes or an index.
    pub exact: bool,
}

/// The hits of a search, with its collection and vector.
pub struct SearchResults {
    /// The collection that was searched.
    pub collection: OpenCollection,
    /// The query's vector, `[dimensions]`.
    pub vector: Vec<f32>,
    /// The hits, best first.
    pub hits: Vec<Hit>,
}

/// Searches a collection, which `open` opens by its name.
///
/// The collection is opened again if its name was switched after the query was embedded, as a
/// migration does: vectors of different models are not comparable.
///
/// # Errors
///
/// [`Error::Replaced`] if that happens in every attempt; otherwise if the store or the engine
/// fails.
pub fn search<E: From<Error>>(
    store: &dyn Store,
    request: &SearchRequest<'_>,
    mut open: impl FnMut(&str) -> Result<OpenCollection, E>,
) -> Result<SearchResults, E> {
    for _ in 0..ATTEMPTS {
        let collection = open(request.collection)?;
        if let Some((vector, hits)) = attempt(store, request, &collection)? {
            return Ok(SearchResults { collection, vector, hits });
        }
    }
    Err(Error::Replaced { name: request.collection.to_owned() }.into())
}

/// The query's vector and the hits; `None` if the name was switched meanwhile.
fn attempt(
    store: &dyn Store,
    request: &SearchRequest<'_>,
    collection: &OpenCollection,
) -> Result<Option<(Vec<f32>, Vec<Hit>)>> {
    let vector = collection.embedder.queries([request.text])?.remove(0);
    let request = SearchRequest { collection: &collection.name, ..*request };
    let hits = search_vector(store, &request, &vector);
    let now = store.collection(&collection.name)?;
    match now.is_some_and(|now| now.provenance == collection.provenance) {
        true => Ok(Some((vector, hits?))),
        false => Ok(None),
    }
}

/// The hits of a query's `vector`, `[dimensions]`; the text of `request` is searched for its words
/// alone.
///
/// # Errors
///
/// If the store fails.
pub fn search_vector(
    store: &dyn Store,
    request: &SearchRequest<'_>,
    vector: &[f32],
) -> Result<Vec<Hit>> {
    let SearchRequest { collection, text, hybrid, filter, exact, .. } = *request;
    let mut limit = request.limit;
    loop {
        let query = Query { vector, words: hybrid.then_some(text), limit, filter, exact };
        let hits = store.search(collection, &query)?;
        let texts: HashSet<&str> = hits.iter().map(|hit| hit.text.as_str()).collect();
        let is_enough = texts.len() >= request.limit || hits.len() < limit;
        if !request.distinct || is_enough || limit >= MAX_HITS {
            return Ok(hits);
        }
        limit = limit.saturating_mul(4).min(MAX_HITS);
    }
}

/// The first `limit` hits with different texts, each with the later ones that have its text.
pub fn distinct_hits(hits: Vec<Hit>, limit: usize) -> Vec<(Hit, Vec<Hit>)> {
    let mut distinct: Vec<(Hit, Vec<Hit>)> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    for hit in hits {
        match at.get(&hit.text) {
            Some(&at) => distinct[at].1.push(hit),
            None if distinct.len() < limit => {
                at.insert(hit.text.clone(), distinct.len());
                distinct.push((hit, Vec::new()));
            }
            None => {}
        }
    }
    distinct
}
