//! Collections of documents, their chunks and the chunks' vectors, and search in them.
//!
//! Every store implements [`Source`] and [`Store`], and [`IndexedFolders`] if files can be indexed
//! into it. [`Sqlite`] is the one that every build has: one file, in which one transaction changes
//! everything that belongs together. Other crates implement the traits with the help of
//! [`backend`]. A collection records where its vectors come from ([`Provenance`]) and accepts no
//! others.
//!
//! Search scans every vector with the kernels of `kokeshi_kernels::scan`; with [`Codes`], it scans
//! those instead and computes the exact score of a short list. For very large collections, an ANN
//! index ([`AnnIndex`], feature `ann`) finds the candidates.

mod address;
mod ann;
pub mod backend;
mod compare;
mod error;
mod fields;
mod filter;
mod fusion;
mod paging;
mod provenance;
mod record;
mod replacement;
mod rows;
mod sqlite;
mod storage;
mod terms;
mod traits;
mod words;

pub use address::{Address, Engine, Url, UrlParts};
pub use ann::{AnnBuild, AnnIndex, BuildStep, OnBuildStep, UnusedReason};
pub use error::{Error, Result};
pub use fields::Fields;
pub use filter::{Condition, Filter, is_below};
pub use fusion::reciprocal_rank;
pub use paging::{Pages, pages};
pub use provenance::Provenance;
pub use record::{
    Chunk, ChunkLocation, Collection, Counts, Document, Entry, Hit, Query, RankContribution,
};
pub use replacement::{Replacement, SwitchCheck, SwitchEffect};
pub use rows::{JsonRows, keep_long_numbers, parquet_rows};
pub use sqlite::{GraphCommand, Sqlite, answer_graph_requests, read_graphs_with};
pub use storage::{Codes, Storage};
pub use traits::{IndexedFolders, Lock, Source, Store};
