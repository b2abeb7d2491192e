//! Adding documents to the served collections, and removing them. Documents are embedded in the
//! queue of the collection's model, and are stored when a call returns.

use crate::admission::Caller;
use crate::app::App;
use crate::bindings::StoredCollection;
use crate::embed::check_step;
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelRef;
use crate::running_model::{QUEUE_FULL, RunningModel};
use crate::search::{ATTEMPTS, RETRY, switched, target};
use crate::work::Pace;
use kokeshi::{Embedded, Input};
use kokeshi_collections::{
    AddSummary, AddedText, EmbeddedTexts, Error, OpenCollection, embed_texts,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Documents that are embedded and written together, and bytes of their texts; a longer text is a
/// batch of its own. A batch should not keep others waiting for long.
pub(crate) const BATCH_DOCUMENTS: usize = 64;
pub(crate) const BATCH_BYTES: usize = 64 << 10;
/// Time between two attempts to add documents while the queue is full.
const FULL_RETRY: Duration = Duration::from_millis(500);

/// Documents with their vectors, for a collection.
struct Addition {
    collection: OpenCollection,
    texts: EmbeddedTexts,
}

impl App {
    /// Adds a batch of documents to the collection that `name` is bound to. While the queue is full,
    /// it waits.
    pub(crate) async fn add_documents(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        documents: Vec<AddedText>,
    ) -> ApiResult<AddSummary> {
        let documents: Arc<[AddedText]> = documents.into();
        let (started, limit) = (Instant::now(), self.config().timeouts.request);
        let mut attempts = ATTEMPTS;
        loop {
            match self.try_add(caller, name, &documents).await {
                Ok(Some(summary)) => return Ok(summary),
                Ok(None) if attempts > 0 => {
                    attempts -= 1;
                    tokio::time::sleep(RETRY).await;
                }
                Ok(None) => return Err(switched()),
                Err(problem) if problem.code == QUEUE_FULL && started.elapsed() < limit => {
                    tokio::time::sleep(FULL_RETRY).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    /// `None` if the name resolves to another collection than the server knows.
    async fn try_add(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        documents: &Arc<[AddedText]>,
    ) -> ApiResult<Option<AddSummary>> {
        let (binding, stored) = self.bound(Some(name))?;
        let running = self.loaded(&caller.name, &ModelRef::of_binding(&binding)).await?;
        running.check_room(&caller.name)?;
        let addition = self.addition(caller, &stored, running, documents).await?;
        let Some(addition) = addition else { return Ok(None) };
        let summary = addition.texts.summary;
        if summary.written == 0 {
            return Ok(Some(summary));
        }
        let stores = self.stores()?;
        let write = move || {
            stores.write(|store| {
                if target(store, &stored)?.is_none() {
                    return Ok(None);
                }
                addition.texts.write(store, &addition.collection)?;
                store.finish(&addition.collection.name).map_err(Error::from)?;
                Ok(Some(summary))
            })
        };
        self.write_store(&caller.name, write).await
    }

    /// Embeds those of `documents` that are new or have changed.
    async fn addition(
        self: &Arc<Self>,
        caller: &Caller,
        stored: &StoredCollection,
        running: Arc<RunningModel>,
        documents: &Arc<[AddedText]>,
    ) -> ApiResult<Option<Addition>> {
        let (app, stores, stored) = (Arc::clone(self), self.stores()?, stored.clone());
        let (client, caller, documents) =
            (Arc::clone(&caller.name), caller.clone(), Arc::clone(documents));
        let size = documents.iter().map(|document| document.text.len()).sum();
        let embed = move |pace: &mut Pace| {
            for (index, document) in documents.iter().enumerate() {
                check_step(&running.model, index, &document.text, false)?;
            }
            // Those of searches keep vectors in memory.
            let store = stores.open()?;
            let Some(found) = target(&*store, &stored)? else { return Ok(None) };
            let model = Arc::clone(&running.model);
            let collection = OpenCollection::new(found.name, found.provenance, model);
            let texts = embed_texts(&*store, &collection, &documents, |inputs| {
                let task = stored.provenance.passage_task.as_deref();
                app.embed_inputs(inputs, (&*running, task), &caller, pace)
            })?;
            Ok(Some(Addition { collection, texts }))
        };
        self.embed_addition(&client, size, embed).await
    }

    /// Runs inputs in the queue of a model and waits for them. Tokens are charged before they run,
    /// and returned if they do not.
    fn embed_inputs(
        &self,
        inputs: &[Input<'_>],
        (running, task): (&RunningModel, Option<&str>),
        caller: &Caller,
        pace: &mut Pace,
    ) -> ApiResult<Vec<Embedded>> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let request = running.model.prepare_while(inputs, &mut || pace.keep_running())?;
        let tokens = request.tokens();
        self.check_tokens(tokens)?;
        let deposit = caller.deposit(tokens)?;
        let limit = self.config().timeouts.request;
        let embedded = pace.wait_for(running.embed(request, &caller.name, limit));
        match &embedded {
            Ok(_) => self.count_tokens(&running.name, task, tokens, inputs.len()),
            Err(_) => caller.settle_done(deposit, 0),
        }
        embedded
    }

    /// Removes documents by their ids, and returns how many existed.
    pub(crate) async fn remove_documents(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        ids: Vec<String>,
    ) -> ApiResult<usize> {
        let ids: Arc<[String]> = ids.into();
        for _ in 0..ATTEMPTS {
            let (_, stored) = self.bound(Some(name))?;
            let (stores, ids) = (self.stores()?, Arc::clone(&ids));
            let write = move || {
                stores.write(|store| {
                    let Some(found) = target(store, &stored)? else { return Ok(None) };
                    let removed = store.remove(&found.name, &ids).map_err(Error::from)?;
                    store.finish(&found.name).map_err(Error::from)?;
                    Ok(Some(removed))
                })
            };
            if let Some(removed) = self.write_store(&caller.name, write).await? {
                return Ok(removed);
            }
            tokio::time::sleep(RETRY).await;
        }
        Err(switched())
    }
}

/// The same refusal, which also says how much of the body is stored.
pub(crate) fn stored_before(problem: Problem, count: usize, noun: &str) -> Problem {
    if count == 0 {
        return problem;
    }
    let message = format!("{}; the first {count} {noun} of the body are stored", problem.message);
    Problem { message, ..problem }
}
