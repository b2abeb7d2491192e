//! All environment variables that the program reads. No other file reads one.

use kokeshi_hub::HubConfig;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The value of a variable; an empty one is as if unset, because compose files write such.
fn value(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether a variable is set to nothing.
pub(crate) fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

/// The hub's cache, endpoint, token and offline switch, from the variables of `huggingface_hub`:
/// see [`HubConfig::from_env`].
pub(crate) fn hub() -> kokeshi_hub::Result<HubConfig> {
    HubConfig::from_env(&|name| value(name))
}

/// The value of a variable that is set and not empty.
pub(crate) fn variable(name: &OsStr) -> Option<String> {
    value(name.to_str()?).map(|value| value.to_string_lossy().into_owned())
}

/// The folder of the user's configuration files, by the XDG Base Directory Specification: a
/// relative path in the variable is ignored.
pub(crate) fn config_folder() -> Option<PathBuf> {
    let named = value("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| Some(home()?.join(".config")))
}

/// The user's home folder.
pub(crate) fn home() -> Option<PathBuf> {
    env::home_dir()
}

/// Where programs keep what they remember: `XDG_STATE_HOME`, or `.local/state` in the home folder.
/// `None` if neither is known.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))
}

/// Whether `NO_COLOR` is set and not empty (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    value("NO_COLOR").is_some()
}

/// Whether `TERM` names a terminal without cursor movement and block characters.
pub(crate) fn dumb_terminal() -> bool {
    env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// Whether the terminal supports hyperlinks. No variable is common to all terminals.
pub(crate) fn hyperlinks() -> bool {
    const PROGRAMS: [&str; 6] = ["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio"];
    const TERMINALS: [&str; 4] = ["kitty", "alacritty", "foot", "ghostty"];
    let is = |name: &str, known: &[&str]| {
        let value = env::var(name).unwrap_or_default();
        known.iter().any(|known| value.contains(known))
    };
    let vte = env::var("VTE_VERSION").ok().and_then(|version| version.parse().ok());
    is("TERM_PROGRAM", &PROGRAMS)
        || is("TERM", &TERMINALS)
        || vte.is_some_and(|version: u32| version >= 5000)
        || ["WT_SESSION", "KONSOLE_VERSION", "DOMTERM"].iter().any(|name| value(name).is_some())
}
