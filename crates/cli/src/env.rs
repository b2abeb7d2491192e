//! Every environment variable that the program reads. No other file asks for one.

use kokeshi_hub::HubConfig;
use std::env;
use std::path::PathBuf;

/// The hub's cache, endpoint, token and offline switch. Their variables are those of
/// `huggingface_hub`: see [`HubConfig::from_env`].
pub(crate) fn hub() -> kokeshi_hub::Result<HubConfig> {
    HubConfig::from_env(&|name| env::var_os(name))
}

/// The user's home folder.
pub(crate) fn home() -> Option<PathBuf> {
    env::home_dir()
}

/// Whether `NO_COLOR` asks for plain output (<https://no-color.org>: set and not empty).
pub(crate) fn no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether `TERM` names a terminal that moves no cursor and draws no block characters.
pub(crate) fn dumb_terminal() -> bool {
    env::var_os("TERM").is_some_and(|value| value == "dumb")
}
