//! One file a command.

pub(crate) mod bench;
pub(crate) mod embed;
pub(crate) mod models;
pub(crate) mod serve;
pub(crate) mod similarity;
