//! One module per command.

pub(crate) mod ann;
pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
mod confirm;
pub(crate) mod dedupe;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod extract;
pub(crate) mod fence;
pub(crate) mod forget;
pub(crate) mod graph;
pub(crate) mod index;
mod left_out;
pub(crate) mod man;
mod memory;
pub(crate) mod migrate;
pub(crate) mod models;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod similarity;
pub(crate) mod status;
pub(crate) mod watch;
