//! Which model and which options a collection is made with, or was.

use super::revision;
use crate::args::{CollectionArguments, Cutting, DeviceArguments, VectorArguments};
use crate::failure::hinted;
use crate::selection::{self, Loader};
use kokeshi::{Input, Model, Options};
use kokeshi_store::{Collection, Provenance, Source, Storage, Store};
use std::sync::Arc;

/// The model called `name`, and which weights it is made of.
pub(crate) fn model(
    name: &str,
    store: &dyn Store,
    loader: &Loader,
) -> anyhow::Result<(Arc<Model>, String)> {
    Ok((loader.get(name)?, revision::of(&selection::locate(name)?, store)?))
}

/// The tasks for passages and queries, where a model has them.
pub(crate) const TASKS: [&str; 2] = ["retrieval.passage", "retrieval.query"];

/// A collection and the model that made it.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) provenance: Provenance,
    pub(crate) model: Arc<Model>,
}

impl Opened {
    /// A vector for each query.
    pub(crate) fn embed_queries(&self, texts: &[&str]) -> anyhow::Result<Vec<Vec<f32>>> {
        let options = Options {
            task: self.provenance.query_task.clone(),
            dimensions: Some(self.provenance.dimensions),
            ..Options::default()
        };
        let inputs: Vec<Input<'_>> =
            texts.iter().map(|text| Input::new(text).options(options.clone())).collect();
        let embedded = self.model.embed(&inputs)?;
        Ok(embedded.into_iter().flat_map(|result| result.vectors).collect())
    }
}

/// The collection that `arguments` name, made if there is none, with its model. What is not said
/// stays as the collection has it.
pub(crate) fn to_index(
    store: &mut dyn Store,
    arguments: &CollectionArguments,
    vectors: &VectorArguments,
    device: &DeviceArguments,
) -> anyhow::Result<Opened> {
    let found = store.collection(&arguments.collection)?;
    let old = found.as_ref().map(|found| &found.provenance);
    let name = vectors.model.clone().or_else(|| old.map(|old| old.model.clone()));
    let name = name.unwrap_or_else(|| "starter".to_owned());
    let model = Loader::new(device)?.get(&name)?;
    let revision = revision::of(&selection::locate(&name)?, store)?;
    let task = |wanted: &str| {
        let tasks = &model.config().tasks;
        tasks.iter().any(|task| task.name == wanted).then(|| wanted.to_owned())
    };
    let [passage_task, query_task] = TASKS.map(task);
    let provenance = Provenance {
        model: selection::absolute_name(&name),
        revision,
        passage_task,
        query_task,
        dimensions: (vectors.dimensions)
            .or(old.map(|old| old.dimensions))
            .unwrap_or(model.config().hidden),
        normalised: true,
        chunking: (vectors.chunk.map(|cutting| cutting.to_string()))
            .or(old.map(|old| old.chunking.clone()))
            .unwrap_or_else(|| Cutting::default().to_string()),
        late: vectors.late_chunking.or(old.map(|old| old.late)).unwrap_or(true),
        storage: (vectors.storage)
            .or(old.map(|old| old.storage))
            .or(store.storages().first().copied())
            .unwrap_or(Storage::F16),
        codes: vectors.shortlist.or(old.and_then(|old| old.codes)),
    };
    let name = match found {
        Some(found) => {
            found.provenance.check_same(&found.name, &provenance)?;
            found.name
        }
        None => {
            check_dimensions(&model, provenance.dimensions)?;
            store.create(&arguments.collection, &provenance)?;
            arguments.collection.clone()
        }
    };
    Ok(Opened { name, provenance, model })
}

/// The engine refuses dimensions only with a text at hand, and an empty collection must not be left
/// behind.
fn check_dimensions(model: &Model, dimensions: usize) -> anyhow::Result<()> {
    let probe = kokeshi::Input::new("").dimensions(dimensions);
    model.embed(&[probe])?;
    Ok(())
}

/// The collection that `arguments` name, with its model as it was.
pub(crate) fn to_search(
    store: &dyn Store,
    collection: &str,
    device: &DeviceArguments,
) -> anyhow::Result<Opened> {
    let Collection { name, provenance, .. } = known(store, collection)?;
    let model = Loader::new(device)?.get(&provenance.model)?;
    check_revision(&provenance, &revision::of(&selection::locate(&provenance.model)?, store)?)?;
    Ok(Opened { name, provenance, model })
}

/// # Errors
///
/// If the weights are not those that made a collection.
pub(crate) fn check_revision(made: &Provenance, revision: &str) -> anyhow::Result<()> {
    if revision == made.revision {
        return Ok(());
    }
    Err(hinted(
        format!(
            "the weights of `{}` are now {revision}; the collection was made with {}",
            made.model, made.revision
        ),
        "vectors of both cannot be compared: bring the old weights back, or index again into \
         another collection with --collection NAME",
    ))
}

/// The collection that `name` leads to.
pub(crate) fn known(store: &dyn Source, name: &str) -> anyhow::Result<Collection> {
    if let Some(found) = store.collection(name)? {
        return Ok(found);
    }
    // Counting names the collections that there are.
    store.count(name)?;
    Err(anyhow::anyhow!("there is no collection `{name}` in {}", store.name()))
}
