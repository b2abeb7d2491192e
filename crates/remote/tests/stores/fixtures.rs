//! Documents, vectors and stores for the cases.

use kokeshi_store::{
    Address, Chunk, ChunkLocation, Document, Filter, Hit, Provenance, Query, Storage, Store,
};
use kokeshi_testkit::{Random, unit_rows};
use serde_json::{Map, Value};

pub(crate) const WIDTH: usize = 96;

/// A store, and a collection's name that no other test uses.
pub(crate) struct Case<'a> {
    pub(crate) address: &'a Address,
    pub(crate) name: &'static str,
}

pub(crate) fn provenance(storage: Storage) -> Provenance {
    Provenance {
        model: "test".to_owned(),
        revision: "sha256:01".to_owned(),
        passage_task: Some("retrieval.passage".to_owned()),
        query_task: None,
        dimensions: WIDTH,
        normalized: true,
        chunking: "structure:256".to_owned(),
        late: true,
        storage,
        codes: None,
    }
}

/// A unit vector that depends on `seed` alone.
pub(crate) fn vector(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let values: Vec<f32> = (0..WIDTH).map(|_| random.signed_unit()).collect();
    unit_rows(&values, WIDTH)
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

pub(crate) fn document(path: &str, seeds: impl IntoIterator<Item = u64>) -> Document {
    let chunk = |(at, seed): (usize, u64)| Chunk {
        location: ChunkLocation {
            bytes: at..at + 10,
            lines: (at + 1, at + 2),
            page: (at == 1).then_some(7),
        },
        text: format!("chunk {seed} of {path}"),
        metadata: Map::new(),
        vector: vector(seed),
    };
    Document {
        path: path.to_owned(),
        hash: format!("hash of {path}"),
        modified: 1_700_000_000_123_456_789,
        size: 2,
        format: "text".to_owned(),
        metadata: Map::new(),
        chunks: seeds.into_iter().enumerate().map(chunk).collect(),
    }
}

impl Case<'_> {
    pub(crate) fn open(&self) -> Box<dyn Store> {
        kokeshi_remote::create(self.address).expect("a store")
    }

    /// The store with a new empty collection.
    pub(crate) fn create(&self) -> Box<dyn Store> {
        let mut store = self.open();
        let storage = store.storages()[0];
        store.create(self.name, &provenance(storage)).expect("a collection");
        store
    }

    pub(crate) fn search(&self, store: &dyn Store, vector: &[f32], limit: usize) -> Vec<Hit> {
        let filter = Filter::default();
        let query = Query { vector, words: None, limit, filter: &filter, exact: false };
        store.search(self.name, &query).expect("hits")
    }

    /// The texts of all chunks that a reader can find, sorted.
    pub(crate) fn texts(&self, store: &dyn Store) -> Vec<String> {
        let hits = self.search(store, &vector(1), 5000);
        let mut texts: Vec<String> = hits.into_iter().map(|hit| hit.text).collect();
        texts.sort();
        texts
    }
}

pub(crate) fn all_texts(documents: &[Document]) -> Vec<String> {
    let chunks = documents.iter().flat_map(|document| &document.chunks);
    let mut texts: Vec<String> = chunks.map(|chunk| chunk.text.clone()).collect();
    texts.sort();
    texts
}
