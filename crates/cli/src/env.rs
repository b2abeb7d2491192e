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

/// The number, from 0, that Kubernetes gives a process of an indexed job, or Slurm one of a job array.
///
/// # Errors
///
/// Which variables are missing, or which is not a number.
pub(crate) fn job_index() -> Result<usize, String> {
    let number = |name: &str| {
        let value = value(name)?.to_string_lossy().into_owned();
        Some(value.parse::<usize>().map_err(|_| format!("{name} is `{value}`, not a number")))
    };
    if let Some(index) = number("JOB_COMPLETION_INDEX") {
        return index;
    }
    let Some(id) = number("SLURM_ARRAY_TASK_ID") else {
        return Err("neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID is set".to_owned());
    };
    let first = number("SLURM_ARRAY_TASK_MIN").unwrap_or(Ok(0))?;
    Ok(id?.saturating_sub(first))
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
