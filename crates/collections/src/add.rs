//! Texts that are no files: added to a collection by ids of their own.

use crate::chunking::DocumentChunking;
use crate::chunks::{LocatedChunk, chunks};
use crate::embedder::Passage;
use crate::error::{Error, Result};
use crate::settings::OpenCollection;
use kokeshi_documents::DocumentText;
use kokeshi_store::{Chunk, Document, Store};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Bytes of text that are embedded and written together, and the maximum number of texts; a longer
/// text is a batch of its own.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_TEXTS: usize = 256;
/// The format that documents of such texts have.
const FORMAT: &str = "text";

/// A text to add.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedText {
    /// What identifies it: a text of the same id is replaced. It is the path of its document.
    pub id: String,
    /// The text.
    pub text: String,
    /// Fields to filter by.
    pub metadata: Map<String, Value>,
}

/// What adding texts did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddSummary {
    /// Texts that were written.
    pub written: usize,
    /// Texts that the collection had already, with the same fields.
    pub unchanged: usize,
    /// Texts of these that are blank, and so have no chunk.
    pub blank: usize,
    /// Chunks that were written.
    pub chunks: usize,
    /// Tokens that the engine processed.
    pub tokens: usize,
}

/// Adds `texts` to a collection; of several with one id, the last counts. Each batch is durable when
/// `each` is called with the number of texts that are done, and stays whatever happens later. `each`
/// returns whether to go on.
///
/// # Errors
///
/// If the store or the engine fails.
pub fn add_texts(
    store: &mut dyn Store,
    collection: &OpenCollection,
    texts: &[AddedText],
    each: &mut dyn FnMut(usize) -> bool,
) -> Result<AddSummary> {
    let chunking: DocumentChunking = collection.provenance.chunking.parse()?;
    let mut summary = AddSummary::default();
    let latest = latest(texts);
    let mut rest = latest.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_len(rest));
        rest = after;
        let changed = changed(store, collection, batch)?;
        summary.unchanged += batch.len() - changed.len();
        if !changed.is_empty() {
            let documents = embedded(collection, chunking, changed, &mut summary)?;
            store.upsert(&collection.name, &documents)?;
        }
        if !each(batch.len()) {
            break;
        }
    }
    store.finish(&collection.name)?;
    Ok(summary)
}

/// The last text of each id, in order.
fn latest(texts: &[AddedText]) -> Vec<&AddedText> {
    let mut seen = HashSet::new();
    let mut latest: Vec<&AddedText> =
        texts.iter().rev().filter(|text| seen.insert(text.id.as_str())).collect();
    latest.reverse();
    latest
}

fn batch_len(texts: &[&AddedText]) -> usize {
    let mut bytes = 0;
    let fits = texts.iter().take(BATCH_TEXTS).take_while(|text| {
        bytes += text.text.len();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1).min(texts.len())
}

/// Those of `texts` that the collection does not have with the same content, and their hashes.
fn changed<'t>(
    store: &dyn Store,
    collection: &OpenCollection,
    texts: &[&'t AddedText],
) -> Result<Vec<(&'t AddedText, String)>> {
    let paths: Vec<String> = texts.iter().map(|text| text.id.clone()).collect();
    let entries = store.entries(&collection.name, &paths)?;
    let stored: HashMap<String, String> =
        entries.into_iter().map(|entry| (entry.path, entry.hash)).collect();
    let with_hash = texts.iter().map(|text| (*text, hash(text)));
    Ok(with_hash.filter(|(text, hash)| stored.get(&text.id) != Some(hash)).collect())
}

/// A hash of the text and its fields.
fn hash(text: &AddedText) -> String {
    let mut hash = Sha256::new();
    hash.update(text.text.as_bytes());
    hash.update([0]);
    hash.update(Value::Object(text.metadata.clone()).to_string());
    format!("{:x}", hash.finalize())
}

fn embedded(
    collection: &OpenCollection,
    chunking: DocumentChunking,
    texts: Vec<(&AddedText, String)>,
    summary: &mut AddSummary,
) -> Result<Vec<Document>> {
    let model = &*collection.embedder.model;
    let cut = |text: &AddedText| -> Result<(DocumentText, Vec<Vec<LocatedChunk>>)> {
        let document = DocumentText::of(text.text.clone());
        let chunks = chunks(&document, chunking, model).map_err(Error::Documents)?;
        Ok((document, chunks))
    };
    let documents = texts.iter().map(|(text, _)| cut(text)).collect::<Result<Vec<_>>>()?;
    let passages: Vec<Passage<'_>> =
        documents.iter().flat_map(|(text, chunks)| Passage::of_parts(text, chunks)).collect();
    let embeddings = collection.embedder.passages(&passages, &mut |_| ())?;
    drop(passages);
    summary.tokens += embeddings.tokens;
    summary.written += texts.len();
    let mut vectors = embeddings.vectors.into_iter();
    let documents = texts.into_iter().zip(documents).map(|((added, hash), (document, chunks))| {
        let chunks: Vec<Chunk> = chunks
            .into_iter()
            .flatten()
            .zip(&mut vectors)
            .map(|(LocatedChunk { location, .. }, vector)| Chunk {
                text: document.text[location.bytes.clone()].to_owned(),
                location,
                metadata: Map::new(),
                vector,
            })
            .collect();
        summary.chunks += chunks.len();
        summary.blank += usize::from(chunks.is_empty());
        Document {
            path: added.id.clone(),
            hash,
            modified: 0,
            size: added.text.len() as u64,
            format: FORMAT.to_owned(),
            metadata: added.metadata.clone(),
            chunks,
        }
    });
    Ok(documents.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{NamedModel, Settings};
    use kokeshi::{LoadOptions, Model};
    use kokeshi_store::{Filter, Query, Source, Sqlite};
    use serde_json::json;
    use std::sync::Arc;

    fn collection(store: &mut Sqlite) -> OpenCollection {
        let folder = kokeshi_testkit::fixture("v3-tiny/original");
        let model = Model::open(&folder, &LoadOptions::default()).expect("a model");
        let (name, revision) = ("tiny".to_owned(), "1".to_owned());
        let model = NamedModel { name, revision, model: Arc::new(model) };
        let settings = Settings::default();
        OpenCollection::to_index(store, "c", None, &settings, model).expect("a collection")
    }

    fn text(id: &str, text: &str, lang: &str) -> AddedText {
        let Value::Object(metadata) = json!({ "lang": lang }) else { panic!("an object") };
        AddedText { id: id.to_owned(), text: text.to_owned(), metadata }
    }

    fn add(store: &mut Sqlite, collection: &OpenCollection, texts: &[AddedText]) -> AddSummary {
        add_texts(store, collection, texts, &mut |_| true).expect("they are added")
    }

    #[test]
    fn texts_are_added_replaced_and_left_alone_by_their_ids() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::create(&folder.path().join("a.db")).expect("a store");
        let collection = collection(&mut store);
        let texts =
            [text("a", "One. Two.", "en"), text("b", "Three.", "en"), text("c", "  ", "en")];
        let summary = add(&mut store, &collection, &texts);
        assert_eq!((summary.written, summary.unchanged, summary.blank), (3, 0, 1));
        assert_eq!(add(&mut store, &collection, &texts).unchanged, 3);
        // The last of an id counts; other fields are another text.
        let texts = [text("a", "Old.", "en"), text("a", "New.", "en"), text("b", "Three.", "de")];
        let summary = add(&mut store, &collection, &texts);
        assert_eq!((summary.written, summary.unchanged, summary.chunks), (2, 0, 2));
        let stored = store.documents("c", &["a".to_owned()]).expect("a document").remove(0);
        assert_eq!(stored.chunks[0].text, "New.");
        assert_eq!(store.count("c").expect("counts").documents, 3);

        let vector = collection.embedder.queries(["three"]).expect("a vector").remove(0);
        let filter = Filter::new(&[], vec!["lang=de".parse().expect("a condition")]);
        let filter = filter.expect("a filter");
        let query =
            Query { vector: &vector, words: None, limit: 10, filter: &filter, exact: false };
        let hits = store.search("c", &query).expect("hits");
        assert_eq!(hits.len(), 1);
        assert_eq!((hits[0].path.as_str(), hits[0].text.as_str()), ("b", "Three."));
    }

    #[test]
    fn what_was_written_before_a_stop_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::create(&folder.path().join("a.db")).expect("a store");
        let collection = collection(&mut store);
        let texts: Vec<AddedText> =
            (0..BATCH_TEXTS + 10).map(|n| text(&n.to_string(), "A text.", "en")).collect();
        let summary = add_texts(&mut store, &collection, &texts, &mut |_| false).expect("a batch");
        assert_eq!(summary.written, BATCH_TEXTS);
        assert_eq!(store.count("c").expect("counts").documents, BATCH_TEXTS);
    }
}
