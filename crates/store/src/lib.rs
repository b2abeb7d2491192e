//! Collections of documents, their chunks and the chunks' vectors, and search in them.
//!
//! [`Store`] is what a command needs of any engine; [`Sqlite`] is the one that is always there: one
//! file, one transaction for everything that belongs together. A collection records where its
//! vectors come from ([`Provenance`]) and takes no others.
//!
//! Search scans every vector with the kernels of `kokeshi_kernels::scan`; with [`Codes`], it scans
//! those instead and computes the exact score of a short list. For very large collections, [`Near`] tells of
//! a graph that finds the candidates.

mod address;
mod error;
mod fields;
mod filter;
mod fusion;
mod graph;
mod near;
mod paging;
mod points;
mod postgres;
mod provenance;
mod record;
mod retry;
mod rows;
mod sqlite;
mod storage;
mod terms;
mod words;

pub use address::{Address, Url};
pub use error::{Error, Result};
pub use fields::Fields;
pub use filter::{Condition, Filter};
pub use fusion::rank_share;
pub use paging::{Pages, pages};
pub use near::{Near, NearBuilt, Step, Unused, Watch};
pub use provenance::Provenance;
pub use record::{
    Chunk, Collection, Counts, Document, Entry, Hit, Lock, Part, Place, Query, Source, Store,
};
pub use sqlite::Sqlite;
pub use storage::{Codes, Storage};
