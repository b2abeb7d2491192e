//! The provenance of a new or an existing collection.

use crate::chunking::DocumentChunking;
use crate::embedder::Embedder;
use crate::error::{Error, Result};
use kokeshi::{Input, Model};
use kokeshi_store::{Codes, Collection, Provenance, Source, Storage, Store};
use std::sync::Arc;

/// The tasks for passages and queries, where a model has them.
pub const TASKS: [&str; 2] = ["retrieval.passage", "retrieval.query"];

/// A loaded model, and the name and revision that collections record.
#[derive(Clone, Debug)]
pub struct NamedModel {
    /// Its name, or the absolute path of its folder.
    pub name: String,
    /// The exact weights: see [`revision`](crate::revision()).
    pub revision: String,
    /// The model.
    pub model: Arc<Model>,
}

/// The options of a collection. An option that is `None` stays as the collection has it; a new
/// collection gets the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Elements of a vector; all that the model has by default.
    pub dimensions: Option<usize>,
    /// How documents are cut.
    pub chunking: Option<DocumentChunking>,
    /// Whether chunks are pooled from one pass over their document; the default.
    pub late: Option<bool>,
    /// How vectors are stored; the store's first storage by default.
    pub storage: Option<Storage>,
    /// Codes that find a short list; none by default.
    pub codes: Option<Codes>,
}

/// A collection and the embedder that computes its vectors.
#[derive(Clone, Debug)]
pub struct OpenCollection {
    /// The collection's own name.
    pub name: String,
    /// Where its vectors come from.
    pub provenance: Provenance,
    /// The embedder.
    pub embedder: Embedder,
}

impl OpenCollection {
    /// Opens the collection `name` to index into it, or creates it. `existing` is the collection
    /// that the store has under that name; `model` must be its model.
    ///
    /// # Errors
    ///
    /// If the collection has other settings, the model does not have the dimensions, or the store
    /// fails.
    pub fn to_index(
        store: &mut dyn Store,
        name: &str,
        existing: Option<Collection>,
        settings: &Settings,
        model: NamedModel,
    ) -> Result<Self> {
        let old = existing.as_ref().map(|existing| &existing.provenance);
        let NamedModel { name: model_name, revision, model } = model;
        let provenance = provenance(store, old, settings, (model_name, revision, &model));
        let name = match existing {
            Some(existing) => {
                existing.provenance.check_same(&existing.name, &provenance)?;
                existing.name
            }
            None => {
                check_dimensions(&model, provenance.dimensions)?;
                store.create(name, &provenance)?;
                name.to_owned()
            }
        };
        Ok(Self::new(name, provenance, model))
    }

    /// Opens `collection` to search it.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsChanged`] if `model` did not produce its vectors.
    pub fn to_search(collection: Collection, model: NamedModel) -> Result<Self> {
        let Collection { name, provenance, .. } = collection;
        check_revision(&provenance, &model.revision)?;
        Ok(Self::new(name, provenance, model.model))
    }

    /// The collection `name`, whose vectors `model` computes.
    pub fn new(name: String, provenance: Provenance, model: Arc<Model>) -> Self {
        let embedder = Embedder::new(model, &provenance);
        Self { name, provenance, embedder }
    }
}

/// The provenance of a collection with `settings`, which otherwise keeps its `old` provenance.
fn provenance(
    store: &dyn Store,
    old: Option<&Provenance>,
    settings: &Settings,
    (name, revision, model): (String, String, &Model),
) -> Provenance {
    let Settings { dimensions, chunking, late, storage, codes } = *settings;
    let task = |wanted: &str| {
        let tasks = &model.config().tasks;
        tasks.iter().any(|task| task.name == wanted).then(|| wanted.to_owned())
    };
    let [passage_task, query_task] = TASKS.map(task);
    Provenance {
        model: name,
        revision,
        passage_task,
        query_task,
        dimensions: dimensions.or(old.map(|old| old.dimensions)).unwrap_or(model.config().hidden),
        normalized: true,
        chunking: chunking
            .map(|chunking| chunking.to_string())
            .or(old.map(|old| old.chunking.clone()))
            .unwrap_or_else(|| DocumentChunking::default().to_string()),
        late: late.or(old.map(|old| old.late)).unwrap_or(true),
        storage: storage
            .or(old.map(|old| old.storage))
            .or(store.storages().first().copied())
            .unwrap_or(Storage::F16),
        codes: codes.or(old.and_then(|old| old.codes)),
    }
}

/// Embeds an empty text, because the engine checks dimensions only with an input. Otherwise an
/// empty collection would be left behind.
fn check_dimensions(model: &Model, dimensions: usize) -> Result<()> {
    model.embed(&[Input::new("").dimensions(dimensions)])?;
    Ok(())
}

/// Checks that a collection's vectors were produced with this revision.
///
/// # Errors
///
/// [`Error::WeightsChanged`] if they were not.
pub fn check_revision(provenance: &Provenance, revision: &str) -> Result<()> {
    if revision == provenance.revision {
        return Ok(());
    }
    Err(Error::WeightsChanged {
        model: provenance.model.clone(),
        revision: revision.to_owned(),
        recorded: provenance.revision.clone(),
    })
}

/// The collection that `name` resolves to.
///
/// # Errors
///
/// If there is none, or the store fails.
pub fn find_collection(store: &dyn Source, name: &str) -> Result<Collection> {
    if let Some(collection) = store.collection(name)? {
        return Ok(collection);
    }
    // This fails with an error that lists the existing collections.
    store.count(name)?;
    Err(Error::NoCollection { name: name.to_owned(), store: store.name() })
}
