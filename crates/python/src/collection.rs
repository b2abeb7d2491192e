//! `CollectionFile`: a collection in a store; see `kokeshi.Collection`.

use crate::engines::{LoadedEngine, engine};
use crate::errors::{of_collections, of_store};
use crate::model::Engine;
use kokeshi_collections::{
    AddedText, NamedModel, OpenCollection, SearchRequest, Settings, add_texts, find_collection,
    search,
};
use kokeshi_store::{Address, Condition, Filter, Hit, Store};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A collection by its store and name. The store is opened for each call, so that a fork shares no
/// connection.
#[pyclass(frozen, module = "kokeshi._kokeshi")]
pub(crate) struct CollectionFile {
    engine: Py<Engine>,
    address: Address,
    name: String,
    settings: Settings,
}

#[pymethods]
impl CollectionFile {
    #[new]
    #[pyo3(signature = (engine, store, name, *, dimensions=None, chunking=None, late=None, storage=None))]
    fn new(
        engine: Py<Engine>,
        store: &str,
        name: String,
        dimensions: Option<usize>,
        chunking: Option<&str>,
        late: Option<bool>,
        storage: Option<&str>,
    ) -> PyResult<Self> {
        let address = Address::from(store);
        let settings = Settings {
            dimensions,
            chunking: chunking.map(str::parse).transpose().map_err(of_collections)?,
            late,
            storage: storage.map(str::parse).transpose().map_err(of_store)?,
            codes: None,
        };
        Ok(Self { engine, address, name, settings })
    }

    /// Adds or replaces texts by their ids; `metadata` are JSON objects. Returns counts by name.
    #[pyo3(signature = (ids, texts, metadata, progress=None))]
    fn add(
        &self,
        py: Python<'_>,
        ids: Vec<String>,
        texts: Vec<String>,
        metadata: Vec<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(&'static str, usize)>> {
        let engine = engine(py, self.engine.get().key())?;
        let texts = added(ids, texts, metadata)?;
        let mut failure = None;
        let summary = py.detach(|| {
            let mut store = kokeshi_remote::create(&self.address).map_err(of_store)?;
            let _lock = store.lock().map_err(of_store)?;
            let existing = store.collection(&self.name).map_err(of_store)?;
            let model = named(&engine)?;
            let collection =
                OpenCollection::to_index(&mut *store, &self.name, existing, &self.settings, model);
            let collection = collection.map_err(of_collections)?;
            let added = add_texts(&mut *store, &collection, &texts, &mut |count| {
                let reported = Python::attach(|py| {
                    if let Some(progress) = &progress {
                        progress.call1(py, (count,))?;
                    }
                    py.check_signals()
                });
                failure = reported.err();
                failure.is_none()
            });
            added.map_err(of_collections)
        })?;
        match failure {
            Some(error) => Err(error),
            None => Ok(vec![
                ("written", summary.written),
                ("unchanged", summary.unchanged),
                ("blank", summary.blank),
                ("chunks", summary.chunks),
                ("tokens", summary.tokens),
            ]),
        }
    }

    /// The hits of a query as JSON, best first.
    #[pyo3(signature = (query, *, limit, conditions, paths, hybrid, exact))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn search(
        &self,
        py: Python<'_>,
        query: &str,
        limit: usize,
        conditions: Vec<String>,
        paths: Vec<String>,
        hybrid: bool,
        exact: bool,
    ) -> PyResult<String> {
        let engine = engine(py, self.engine.get().key())?;
        let conditions: Vec<Condition> =
            conditions.iter().map(|one| one.parse().map_err(of_store)).collect::<PyResult<_>>()?;
        let filter = Filter::new(&paths, conditions).map_err(of_store)?;
        let hits = py.detach(|| {
            engine.run(|_| {
                let store = kokeshi_remote::open(&self.address).map_err(of_store)?;
                let request = SearchRequest {
                    collection: &self.name,
                    text: query,
                    hybrid,
                    limit,
                    distinct: false,
                    filter: &filter,
                    exact,
                };
                let model = named(&engine)?;
                let open = |name: &str| {
                    let collection = find_collection(&*store, name)?;
                    OpenCollection::to_search(collection, model.clone())
                };
                let results = search::<kokeshi_collections::Error>(&*store, &request, open);
                Ok::<_, PyErr>(results.map_err(of_collections)?.hits)
            })
        })?;
        Ok(Value::Array(hits.iter().map(described).collect()).to_string())
    }

    /// Removes texts, and returns how many there were.
    fn remove(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<usize> {
        py.detach(|| {
            let mut store = self.open()?;
            let _lock = store.lock().map_err(of_store)?;
            store.remove(&self.name, &ids).map_err(of_store)
        })
    }

    /// The numbers of documents and chunks; zeros if there is no such collection yet.
    fn count(&self, py: Python<'_>) -> PyResult<(usize, usize)> {
        py.detach(|| {
            if matches!(&self.address, Address::File(path) if !path.exists()) {
                return Ok((0, 0));
            }
            let store = self.open()?;
            match store.collection(&self.name).map_err(of_store)? {
                Some(_) => {
                    let counts = store.count(&self.name).map_err(of_store)?;
                    Ok((counts.documents, counts.chunks))
                }
                None => Ok((0, 0)),
            }
        })
    }
}

impl CollectionFile {
    fn open(&self) -> PyResult<Box<dyn Store>> {
        kokeshi_remote::open(&self.address).map_err(of_store)
    }
}

fn named(engine: &Arc<LoadedEngine>) -> PyResult<NamedModel> {
    let (name, model) = (engine.name.clone(), Arc::clone(&engine.model));
    Ok(NamedModel { name, revision: engine.revision()?, model })
}

fn added(ids: Vec<String>, texts: Vec<String>, metadata: Vec<String>) -> PyResult<Vec<AddedText>> {
    let one = |((id, text), metadata): ((String, String), String)| {
        let metadata: Map<String, Value> = serde_json::from_str(&metadata)
            .map_err(|error| PyValueError::new_err(format!("metadata of {id:?}: {error}")))?;
        Ok(AddedText { id, text, metadata })
    };
    ids.into_iter().zip(texts).zip(metadata).map(one).collect()
}

fn described(hit: &Hit) -> Value {
    let location = &hit.location;
    json!({
        "id": hit.path,
        "score": hit.score,
        "cosine": hit.dense.map(|dense| dense.score),
        "text": hit.text,
        "chunk": hit.ordinal,
        "bytes": [location.bytes.start, location.bytes.end],
        "lines": (location.lines.0 > 0).then_some([location.lines.0, location.lines.1]),
        "page": location.page,
        "metadata": hit.metadata,
    })
}
