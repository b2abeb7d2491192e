//! Collections as the command line names them: their options and their models.

use crate::args::{DeviceArguments, VectorArguments};
use crate::config;
use crate::meter::Meter;
use crate::selection::{self, Loader};
use kokeshi_collections::{
    IndexProgress, NamedModel, OpenCollection, Settings, find_collection, revision,
};
use kokeshi_store::Store;

/// The model called `name`, and the revision of its weights.
pub(crate) fn load_model(
    name: &str,
    store: &dyn Store,
    loader: &Loader,
) -> anyhow::Result<NamedModel> {
    let model = loader.get(name)?;
    let revision = revision(&selection::locate(name)?, store)?;
    Ok(NamedModel { name: selection::absolute_name(name), revision, model })
}

/// Opens or creates the collection `name` for indexing. For options that are not given, an existing
/// collection keeps its own.
pub(crate) fn to_index(
    store: &mut dyn Store,
    name: &str,
    vectors: &VectorArguments,
    device: &DeviceArguments,
) -> anyhow::Result<OpenCollection> {
    let existing = store.collection(name)?;
    let recorded = existing.as_ref().map(|existing| existing.provenance.model.as_str());
    let model = vectors.model.as_deref().or(recorded).unwrap_or(config::model());
    let model = load_model(model, store, &Loader::new(device)?)?;
    let settings = Settings {
        dimensions: vectors.dimensions,
        chunking: vectors.chunk,
        late: vectors.late_chunking,
        storage: vectors.storage,
        codes: vectors.shortlist,
    };
    Ok(OpenCollection::to_index(store, name, existing, &settings, model)?)
}

/// Opens the collection that `name` points to, with the model that produced its vectors.
pub(crate) fn to_search(
    store: &dyn Store,
    name: &str,
    device: &DeviceArguments,
) -> anyhow::Result<OpenCollection> {
    let collection = find_collection(store, name)?;
    let model = load_model(&collection.provenance.model, store, &Loader::new(device)?)?;
    Ok(OpenCollection::to_search(collection, model)?)
}

impl IndexProgress for Meter {
    fn show(&mut self, documents: usize, tokens: usize, bytes: u64) {
        Meter::show(self, documents, tokens, bytes);
    }

    fn advance(&mut self, documents: usize, tokens: usize, bytes: u64) {
        Meter::advance(self, documents, tokens, bytes);
    }
}
