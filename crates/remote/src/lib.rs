//! Collections that servers keep, and how an address is opened.
//!
//! [`open()`], [`create`], [`open_foreign`], [`open_source`] and [`detect_fields`] turn an
//! [`Address`] into a store or source. Which servers a build can reach is decided by its features:
//! `postgres`, `qdrant`, `milvus`, `chroma`. Without the feature, an address of that scheme is an
//! error that names it.
//!
//! Arrow of dependencies: this crate uses `kokeshi-store`, never the other way round.

mod open;
#[cfg(feature = "points")]
mod points;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "points", feature = "postgres"))]
mod retry;

pub use kokeshi_store::{Address, Error, Result};
pub use open::{create, detect_fields, open, open_foreign, open_source};
