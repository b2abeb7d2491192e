//! Collections that servers keep, and how an address is opened.
//!
//! [`open()`], [`create`], [`open_foreign`], [`open_source`] and [`detect_fields`] turn an
//! [`Address`] into a store or source. A build can reach the servers whose features it has:
//! `postgres`, `qdrant`, `milvus`, `chroma`. Any other address is an error that names the missing
//! feature.
//!
//! This crate depends on `kokeshi-store`, never the other way round.

mod open;
#[cfg(feature = "points")]
mod points;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "points", feature = "postgres"))]
mod retry;

pub use kokeshi_store::{Address, Error, Result};
pub use open::{create, detect_fields, open, open_foreign, open_source};
