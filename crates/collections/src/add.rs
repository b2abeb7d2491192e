//! Texts that are no files: added to a collection by ids of their own.

use crate::chunking::DocumentChunking;
use crate::chunks::{LocatedChunk, chunks};
use crate::embedder::{Embeddings, Passage};
use crate::error::{Error, Result};
use crate::settings::OpenCollection;
use kokeshi::{BlockSize, Embedded, Input, blocks};
use kokeshi_documents::DocumentText;
use kokeshi_store::{Chunk, Document, Entry, Store};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// The format that documents of such texts have. No file is read as it, so that an indexer, which
/// removes documents without files, does not remove them.
const FORMAT: &str = "added";

/// Whether a document was added as a text, and so has no file.
pub(crate) fn is_added(entry: &Entry) -> bool {
    entry.format == FORMAT
}

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

impl AddSummary {
    /// Also counts what `other` counts.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.blank += other.blank;
        self.chunks += other.chunks;
        self.tokens += other.tokens;
    }
}

/// Texts with their vectors, before they are written.
#[derive(Clone, Debug, Default)]
pub struct EmbeddedTexts {
    documents: Vec<Document>,
    /// What adding them does, once they are written.
    pub summary: AddSummary,
}

impl EmbeddedTexts {
    /// Writes them to the collection that they were embedded for.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn write(&self, store: &mut dyn Store, collection: &OpenCollection) -> Result<()> {
        if !self.documents.is_empty() {
            store.upsert(&collection.name, &self.documents)?;
        }
        Ok(())
    }
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
    let mut summary = AddSummary::default();
    let latest = latest(texts);
    for batch in blocks(&latest, |text| BlockSize::of(&text.text)) {
        let embedded = embedded(store, collection, batch, |inputs| {
            Ok::<_, Error>(collection.embedder.model.embed(inputs)?)
        })?;
        embedded.write(store, collection)?;
        summary.add(embedded.summary);
        if !each(batch.len()) {
            break;
        }
    }
    store.finish(&collection.name)?;
    Ok(summary)
}

/// Embeds those of `texts` that the collection does not have yet, all of them at once, for callers
/// that write them later. `embed` computes the vectors, as [`Model::embed`](kokeshi::Model::embed)
/// does.
///
/// # Errors
///
/// Those of `embed`, and if the store or the engine fails.
pub fn embed_texts<E: From<Error>>(
    store: &dyn Store,
    collection: &OpenCollection,
    texts: &[AddedText],
    embed: impl FnOnce(&[Input<'_>]) -> Result<Vec<Embedded>, E>,
) -> Result<EmbeddedTexts, E> {
    embedded(store, collection, &latest(texts), embed)
}

/// The last text of each id, in order.
fn latest(texts: &[AddedText]) -> Vec<&AddedText> {
    let mut seen = HashSet::new();
    let mut latest: Vec<&AddedText> =
        texts.iter().rev().filter(|text| seen.insert(text.id.as_str())).collect();
    latest.reverse();
    latest
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

fn embedded<E: From<Error>>(
    store: &dyn Store,
    collection: &OpenCollection,
    texts: &[&AddedText],
    embed: impl FnOnce(&[Input<'_>]) -> Result<Vec<Embedded>, E>,
) -> Result<EmbeddedTexts, E> {
    let changed = changed(store, collection, texts)?;
    let unchanged = texts.len() - changed.len();
    let mut summary = AddSummary { unchanged, written: changed.len(), ..AddSummary::default() };
    if changed.is_empty() {
        return Ok(EmbeddedTexts { summary, ..EmbeddedTexts::default() });
    }
    let cut = cut(collection, &changed)?;
    let passages: Vec<Passage<'_>> =
        cut.iter().flat_map(|(text, chunks)| Passage::of_parts(text, chunks)).collect();
    let embeddings = Embeddings::of(embed(&collection.embedder.passage_inputs(&passages))?);
    drop(passages);
    summary.tokens = embeddings.tokens;
    let mut vectors = embeddings.vectors.into_iter();
    let documents: Vec<Document> = changed
        .into_iter()
        .zip(cut)
        .map(|(added, (text, chunks))| document(added, &text, chunks, &mut vectors))
        .collect();
    summary.chunks = documents.iter().map(|document| document.chunks.len()).sum();
    summary.blank = documents.iter().filter(|document| document.chunks.is_empty()).count();
    Ok(EmbeddedTexts { documents, summary })
}

/// A text and the chunks of its parts.
type CutText = (DocumentText, Vec<Vec<LocatedChunk>>);

fn cut(collection: &OpenCollection, texts: &[(&AddedText, String)]) -> Result<Vec<CutText>> {
    let chunking: DocumentChunking = collection.provenance.chunking.parse()?;
    let cut = |(text, _): &(&AddedText, String)| {
        let document = DocumentText::of(text.text.clone());
        let chunks = chunks(&document, chunking, &collection.embedder.model);
        Ok((document, chunks.map_err(Error::Documents)?))
    };
    texts.iter().map(cut).collect()
}

/// The document of a text with this hash, whose chunks have the next of `vectors`.
fn document(
    (added, hash): (&AddedText, String),
    text: &DocumentText,
    chunks: Vec<Vec<LocatedChunk>>,
    vectors: &mut impl Iterator<Item = Vec<f32>>,
) -> Document {
    let chunks = chunks.into_iter().flatten().zip(vectors);
    let chunks = chunks.map(|(LocatedChunk { location, .. }, vector)| Chunk {
        text: text.text[location.bytes.clone()].to_owned(),
        location,
        metadata: Map::new(),
        vector,
    });
    Document {
        path: added.id.clone(),
        hash,
        modified: 0,
        size: added.text.len() as u64,
        format: FORMAT.to_owned(),
        metadata: added.metadata.clone(),
        chunks: chunks.collect(),
    }
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
            (0..kokeshi::BLOCK_TEXTS + 10).map(|n| text(&n.to_string(), "A text.", "en")).collect();
        let summary = add_texts(&mut store, &collection, &texts, &mut |_| false).expect("a batch");
        assert_eq!(summary.written, kokeshi::BLOCK_TEXTS);
        assert_eq!(store.count("c").expect("counts").documents, kokeshi::BLOCK_TEXTS);
    }
}
