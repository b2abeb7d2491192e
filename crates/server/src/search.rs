//! Searching the served collections: the query runs in the queue of the collection's model as any
//! request does, the store is read apart from other work, and the sentences of the hits run in the
//! queue again.

use crate::admission::Caller;
use crate::app::App;
use crate::bindings::{Binding, StoredCollection};
use crate::embed::{EmbedRequest, RequestTask, check_step, least_tokens};
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelRef;
use crate::running_model::RunningModel;
use crate::stores::Stores;
use crate::wire::embeddings::Usage;
use crate::wire::input::RequestTexts;
use crate::wire::search::{HitBody, SearchResponse};
use crate::work::Pace;
use kokeshi::{Chunk, Request};
use kokeshi_collections::{
    Embedder, Error, SearchRequest, best_sentences, distinct_hits, search_vector,
};
use kokeshi_store::{Collection, Filter, Hit, Store};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Attempts to search or write a collection that a migration switches or removes at the same time,
/// and the time between two. Names follow within less than their product.
pub(crate) const ATTEMPTS: usize = 10;
pub(crate) const RETRY: Duration = Duration::from_millis(300);

/// A search whose fields are valid.
#[derive(Debug)]
pub(crate) struct Search {
    /// The name that is bound to the collection; `None` is the only one.
    pub(crate) collection: Option<String>,
    pub(crate) query: SearchQuery,
    pub(crate) limit: usize,
    pub(crate) filter: Filter,
    pub(crate) hybrid: bool,
    pub(crate) exact: bool,
    pub(crate) min_score: Option<f32>,
    pub(crate) best_sentences: bool,
}

/// What to search for.
#[derive(Debug)]
pub(crate) enum SearchQuery {
    Text(String),
    Vector(Vec<f32>),
}

/// A hit, and later ones with the same text.
type DistinctHit = (Hit, Vec<Hit>);

impl App {
    /// The binding of a name, or of the only one, and the collection that it found.
    pub(crate) fn bound(&self, name: Option<&str>) -> ApiResult<(Arc<Binding>, StoredCollection)> {
        let current = self.registry.bindings().current();
        let mut stored = current.iter().filter(|binding| binding.stored.is_some());
        let binding = match name {
            Some(name) => current.iter().find(|binding| binding.name.eq_ignore_ascii_case(name)),
            None => stored.next().filter(|_| stored.next().is_none()),
        };
        let found = binding.and_then(|binding| Some((binding, binding.stored.clone()?)));
        match found {
            Some((binding, stored)) => Ok((Arc::clone(binding), stored)),
            None => Err(not_served(name, &current)),
        }
    }

    /// The store of the collections.
    pub(crate) fn stores(&self) -> ApiResult<Arc<Stores>> {
        self.stores.clone().ok_or_else(|| not_served(None, &[]))
    }

    /// Answers a search.
    pub(crate) async fn search(
        self: &Arc<Self>,
        search: Search,
        caller: &Caller,
    ) -> ApiResult<SearchResponse> {
        let search = Arc::new(search);
        for _ in 0..ATTEMPTS {
            let (binding, stored) = self.bound(search.collection.as_deref())?;
            let (vector, tokens) = self.query_vector(&binding, &search.query, caller).await?;
            let hits = self.hits(&stored, &search, &vector, caller).await?;
            if let Some(hits) = hits {
                let ranked = RankedHits { binding, stored, vector, tokens, hits };
                return self.described(ranked, &search, caller).await;
            }
            tokio::time::sleep(RETRY).await;
        }
        Err(switched())
    }

    /// The query's vector, and how many tokens it took.
    async fn query_vector(
        self: &Arc<Self>,
        binding: &Arc<Binding>,
        query: &SearchQuery,
        caller: &Caller,
    ) -> ApiResult<(Vec<f32>, usize)> {
        let text = match query {
            SearchQuery::Text(text) => text.clone(),
            SearchQuery::Vector(vector) => return Ok((unit(vector, binding.dimensions)?, 0)),
        };
        let request = EmbedRequest {
            model: None,
            texts: RequestTexts::Flat(vec![text]),
            task: RequestTask::OfCollection(binding.query_task.clone()),
            dimensions: Some(binding.dimensions),
            normalized: true,
            truncate: None,
            late_chunking: None,
        };
        let reference = ModelRef::of_binding(binding);
        let mut embedded = self.embed_with(reference, request, caller).await?;
        let vector = embedded.vectors.pop();
        let vector = vector.ok_or_else(|| Problem::internal("the query has no vector"))?;
        Ok((vector, embedded.tokens))
    }

    /// The hits of a vector; `None` if the collection no longer exists.
    async fn hits(
        self: &Arc<Self>,
        stored: &StoredCollection,
        search: &Arc<Search>,
        vector: &[f32],
        caller: &Caller,
    ) -> ApiResult<Option<Vec<DistinctHit>>> {
        let (stores, stored, search, vector) =
            (self.stores()?, stored.clone(), Arc::clone(search), vector.to_vec());
        let read = move || stores.read(|store| hits(store, &stored, &search, &vector));
        self.read_store(&caller.name, read).await
    }

    /// The answer, with the best sentences if they are asked for.
    async fn described(
        self: &Arc<Self>,
        ranked: RankedHits,
        search: &Search,
        caller: &Caller,
    ) -> ApiResult<SearchResponse> {
        let RankedHits { binding, stored, vector, mut tokens, hits } = ranked;
        let mut best = Vec::new();
        if search.best_sentences && !hits.is_empty() {
            let running = self.loaded(&caller.name, &ModelRef::of_binding(&binding)).await?;
            let texts = hits.iter().map(|(hit, _)| hit.text.clone()).collect();
            let (ranges, more) =
                self.best_sentences(running, &stored, texts, &vector, caller).await?;
            best = ranges;
            tokens += more;
        }
        let mut best = best.into_iter();
        let hits = hits.into_iter().map(|hit| HitBody::new(hit, best.next(), search.hybrid));
        Ok(SearchResponse {
            object: "list",
            collection: binding.collection.clone(),
            model: binding.model.name.clone(),
            usage: Usage { total_tokens: tokens, prompt_tokens: tokens },
            hits: hits.collect(),
        })
    }

    /// The range of bytes of the best sentence of each text, and how many tokens that took.
    async fn best_sentences(
        self: &Arc<Self>,
        running: Arc<RunningModel>,
        stored: &StoredCollection,
        texts: Vec<String>,
        vector: &[f32],
        caller: &Caller,
    ) -> ApiResult<(Vec<Range<usize>>, usize)> {
        running.check_room(&caller.name)?;
        let size = texts.iter().map(String::len).sum();
        let deposit = caller.deposit(least_tokens(size))?;
        let embedder = Embedder::new(Arc::clone(&running.model), &stored.provenance);
        let prepare = move |pace: &mut Pace| sentences(&embedder, texts, pace);
        let Sentences { request, texts, sentences } =
            self.work(&caller.name, size, prepare).await??;
        let tokens = request.tokens();
        self.check_tokens(tokens)?;
        caller.settle(deposit, tokens)?;
        let limit = self.config().timeouts.request;
        let embedded = running.embed(request, &caller.name, limit).await?;
        let task = stored.provenance.passage_task.as_deref();
        self.count_tokens(&running.name, task, tokens, texts.len());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Ok((best_sentences(vector, &texts, sentences, &embedded), tokens))
    }
}

/// The hits of a search, and where they are from.
struct RankedHits {
    binding: Arc<Binding>,
    stored: StoredCollection,
    vector: Vec<f32>,
    tokens: usize,
    hits: Vec<DistinctHit>,
}

/// Tokenized texts, whose sentences get a vector each.
struct Sentences {
    request: Request,
    texts: Vec<String>,
    sentences: Vec<Vec<Chunk>>,
}

fn sentences(embedder: &Embedder, texts: Vec<String>, pace: &mut Pace) -> ApiResult<Sentences> {
    let slices: Vec<&str> = texts.iter().map(String::as_str).collect();
    let is_long = |text: &&str| check_step(&embedder.model, 0, text, false).is_err();
    if slices.iter().any(is_long) {
        let message = "a hit is too long to find its best sentence; set `best_sentences` to false";
        return Err(Problem::invalid("best_sentences", message));
    }
    let sentences = embedder.sentences(&slices, &mut || pace.keep_running())?;
    let inputs = embedder.sentence_inputs(&slices, &sentences);
    let request = embedder.model.prepare_while(&inputs, &mut || pace.keep_running())?;
    drop((inputs, slices));
    Ok(Sentences { request, texts, sentences })
}

/// A vector of unit length with the direction of `vector`: scores are cosines.
fn unit(vector: &[f32], dimensions: usize) -> ApiResult<Vec<f32>> {
    if vector.len() != dimensions {
        let message = format!(
            "`vector` has {} elements; the vectors of the collection have {dimensions}",
            vector.len()
        );
        return Err(Problem::invalid("vector", message));
    }
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length == 0.0 || !length.is_finite() {
        let message = "`vector` has no direction: its length is zero or not a finite number";
        return Err(Problem::invalid("vector", message));
    }
    Ok(vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
}

/// The hits in the collection that a binding found; `None` if it no longer exists.
fn hits(
    store: &dyn Store,
    stored: &StoredCollection,
    search: &Search,
    vector: &[f32],
) -> ApiResult<Option<Vec<DistinctHit>>> {
    let Some(found) = existing(store, stored)? else { return Ok(None) };
    let request = SearchRequest {
        collection: &found.name,
        text: match &search.query {
            SearchQuery::Text(text) => text,
            SearchQuery::Vector(_) => "",
        },
        hybrid: search.hybrid,
        limit: search.limit,
        distinct: true,
        filter: &search.filter,
        exact: search.exact,
    };
    let hits = search_vector(store, &request, vector);
    let now = store.collection(&found.name).map_err(Error::from)?;
    if now.is_none_or(|now| now.id != found.id) {
        return Ok(None);
    }
    let mut hits = hits?;
    if let Some(least) = search.min_score {
        hits.retain(|hit| hit.dense.is_some_and(|dense| dense.score >= least));
    }
    Ok(Some(distinct_hits(hits, search.limit)))
}

/// The collection that a binding found. It may have another name by now: a switch renames it, and
/// the binding follows later.
pub(crate) fn existing(
    store: &dyn Store,
    stored: &StoredCollection,
) -> ApiResult<Option<Collection>> {
    let found = target(store, stored)?;
    match found {
        None => Ok(store.find_id(&stored.id).map_err(Error::from)?),
        found => Ok(found),
    }
}

/// The collection that a binding found, if its name still resolves to it.
pub(crate) fn target(
    store: &dyn Store,
    stored: &StoredCollection,
) -> ApiResult<Option<Collection>> {
    let found = store.collection(&stored.target).map_err(Error::from)?;
    Ok(found.filter(|found| found.id == stored.id))
}

/// 503: the name could not follow a switch in time.
pub(crate) fn switched() -> Problem {
    Problem::unavailable("the collection is being replaced by another one; try again")
}

/// 404 for a name that is not bound to a collection of the store.
fn not_served(name: Option<&str>, current: &[Arc<Binding>]) -> Problem {
    let stored = current.iter().filter(|binding| binding.stored.is_some());
    let names: Vec<String> = stored.map(|binding| format!("`{}`", binding.name)).collect();
    let has = match names.is_empty() {
        true => "it serves none".to_owned(),
        false => format!("it has {}", names.join(", ")),
    };
    let message = match name {
        Some(name) => {
            let name: String = name.chars().take(100).collect();
            format!("this server has no collection `{name}`; {has}")
        }
        None if names.is_empty() => "this server serves no collections".to_owned(),
        None => format!("expected the name of a collection of this server; {has}"),
    };
    Problem { field: Some("collection".to_owned()), ..Problem::not_found(message) }
}
