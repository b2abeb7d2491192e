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

mod best_sentence;
mod chunking;
mod chunks;
mod embedder;
mod error;
mod index;
mod indexer;
mod location;
mod model_location;
mod plan;
mod read;
mod revision;
mod roots;
mod search;
mod settings;
mod texts;

pub use chunking::DocumentChunking;
pub use embedder::{Embedder, Embeddings, Passage};
pub use error::{Error, Result};
pub use index::{IndexProgress, IndexRun, IndexSummary};
pub use indexer::Indexer;
pub use location::{StoreLocation, canonical, is_below};
pub use model_location::ModelLocation;
pub use plan::{FileTask, IndexPlan};
pub use revision::{fresh_revision, revision};
pub use roots::parse_walk_options;
pub use search::{SearchRequest, SearchResults, search};
pub use settings::{NamedModel, OpenCollection, Settings, TASKS, check_revision, find_collection};
pub use texts::document_text;

/// The collection that is used where none is named.
pub const DEFAULT_COLLECTION: &str = "default";
