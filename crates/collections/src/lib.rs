//! Collections of the user's files: finding their store, keeping them up to date, and searching
//! them.
//!
//! A file passes through these modules in turn: `plan` (which files are new or changed), `read`
//! (text and chunks) and `index` (vectors, writes). [`Indexer`] does this for all the folders of a
//! collection. [`OpenCollection`] is a collection with the model that its [`Provenance`] records.
//! All vectors of a collection come from its [`Embedder`].
//!
//! This crate knows nothing of terminals: it reports progress to an [`IndexProgress`], and leaves
//! formats that need a separate process to an [`Extractor`](kokeshi_documents::Extractor).
//!
//! [`Provenance`]: kokeshi_store::Provenance

mod add;
mod best_sentence;
mod choice;
mod chunking;
mod chunks;
mod embedder;
mod error;
mod index;
mod indexer;
mod left_out;
mod location;
mod model_location;
mod mounts;
mod plan;
mod read;
mod revision;
mod roots;
mod search;
mod settings;
mod staleness;
mod take_over;
mod texts;

pub use add::{AddSummary, AddedText, EmbeddedTexts, add_texts, embed_texts};
pub use best_sentence::best_sentences;
pub use choice::{IndexChoice, OutdatedIndex, choose_index};
pub use chunking::DocumentChunking;
pub use embedder::{Embedder, Embeddings, Passage};
pub use error::{Error, Result};
pub use index::{IndexProgress, IndexRun, IndexSummary};
pub use indexer::Indexer;
pub use left_out::{LeftOut, LeftOutReason, StoredText, left_out_kind};
pub use location::{StoreLocation, canonical, is_below};
pub use model_location::ModelLocation;
pub use mounts::recorded_mounts;
pub use plan::{FileTask, IndexPlan, Unreachable};
pub use revision::{fresh_revision, revision};
pub use roots::{Root, recorded_roots};
pub use search::{SearchRequest, SearchResults, distinct_hits, search, search_vector};
pub use settings::{NamedModel, OpenCollection, Settings, TASKS, check_revision, find_collection};
pub use staleness::{Staleness, stale};
pub use take_over::remove_index;
pub use texts::document_text;

/// The collection that is used where none is named.
pub const DEFAULT_COLLECTION: &str = "default";
