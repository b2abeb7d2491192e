//! Tables of texts to tables of vectors: a folder of Parquet, JSONL or CSV files becomes a folder of
//! Parquet files, one for each [`Shard`] of the input.
//!
//! A shard is embedded by [`Job::run`] as a whole: its rows are read, embedded and written in
//! blocks under a temporary name; then the file is renamed, and a [`Manifest`] says what was read
//! and how. A shard with a manifest is finished; any other is done again. So a run can be killed at
//! any moment, and any number of processes can share a job without talking to each other: whatever
//! starts them (a shell, Kubernetes, Ray, Spark) only has to name the shards.
//!
//! ```text
//! patterns ─ inputs.rs → files ─ shard.rs → shards ─ read/ → rows ─ units.rs, embed.rs → vectors
//!                                                       writer.rs → OUTPUT/NAME.parquet
//!                                                       manifest.rs → OUTPUT/_kokeshi/NAME.json
//! ```

mod columns;
mod documents;
mod embed;
mod error;
mod failed;
mod inputs;
mod job;
mod lock;
mod manifest;
mod read;
mod rows;
mod shard;
mod vectors;
mod writer;

pub use columns::{Columns, Keep};
pub use embed::Method;
pub use error::{Error, Result};
pub use inputs::{InputFile, InputFormat, matching};
pub use job::{Job, ModelRecord, Progress, ShardResult};
pub use manifest::{FOLDER, Manifest};
pub use shard::{Part, SHARD_BYTES, Shard};
pub use vectors::VectorType;
