//! The user's configuration file: defaults for the options of all commands.

use crate::args::{self, DeviceKind};
use crate::env;
use crate::text_file;
use anyhow::{Context, bail};
use clap::{ColorChoice, ValueEnum};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The configuration of this process; set once, before the command line is parsed.
static CURRENT: OnceLock<Config> = OnceLock::new();

/// A key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Model,
    Device,
    Threads,
    Store,
    Color,
}

impl Key {
    pub(crate) const ALL: [Self; 5] =
        [Self::Model, Self::Device, Self::Threads, Self::Store, Self::Color];

    /// The name, which is that of the option.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Device => "device",
            Self::Threads => "threads",
            Self::Store => "store",
            Self::Color => "color",
        }
    }

    /// The variable that overrides the file for every command.
    pub(crate) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Device => Some("KOKESHI_DEVICE"),
            Self::Threads => Some("KOKESHI_THREADS"),
            Self::Store => Some("KOKESHI_STORE"),
            Self::Model | Self::Color => None,
        }
    }

    /// What a value must be.
    fn expected(self) -> &'static str {
        match self {
            Self::Model => "a string: a known name, a hub id or a folder",
            Self::Device => "`\"auto\"`, `\"cpu\"`, `\"cuda\"`, `\"cuda:N\"` or `\"reference\"`",
            Self::Threads => "a whole number from 1 to 65535",
            Self::Store => "a string: a file or the address of a server",
            Self::Color => "`\"auto\"`, `\"always\"` or `\"never\"`",
        }
    }

    /// The value as the option would have it; `None` if it has the wrong type or is not allowed.
    fn parse(self, value: &DeValue<'_>) -> Option<String> {
        if self == Self::Threads {
            let digits = value.as_integer().filter(|number| number.radix() == 10)?;
            let threads: u16 = digits.as_str().parse().ok()?;
            return (threads > 0).then(|| threads.to_string());
        }
        let text = value.as_str().filter(|text| !text.trim().is_empty())?;
        let is_valid = match self {
            Self::Device => DeviceKind::parse(text).is_ok(),
            Self::Color => ColorChoice::from_str(text, false).is_ok(),
            Self::Model | Self::Store | Self::Threads => true,
        };
        is_valid.then(|| if self == Self::Store { in_home(text) } else { text.to_owned() })
    }
}

/// A path that begins with `~/` in the user's home folder; no shell expands it in a file.
fn in_home(text: &str) -> String {
    match (text.strip_prefix("~/"), env::home()) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => text.to_owned(),
    }
}

/// A key that the file sets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: Key,
    pub(crate) value: String,
    /// Line in the file, from 1.
    pub(crate) line: usize,
}

/// The contents of the file.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The file; `None` if the user has no home folder.
    pub(crate) path: Option<PathBuf>,
    /// Whether there is such a file.
    pub(crate) exists: bool,
    settings: Vec<Setting>,
}

impl Config {
    /// What the file sets for `key`.
    pub(crate) fn setting(&self, key: Key) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The value that the file has for `key`.
    pub(crate) fn value(&self, key: Key) -> Option<&str> {
        self.setting(key).map(|setting| setting.value.as_str())
    }

    /// The number of worker threads on the processor.
    pub(crate) fn threads(&self) -> Option<u16> {
        self.value(Key::Threads)?.parse().ok()
    }

    /// When to use colours.
    pub(crate) fn color(&self) -> Option<ColorChoice> {
        ColorChoice::from_str(self.value(Key::Color)?, false).ok()
    }

    fn read(path: PathBuf) -> anyhow::Result<Self> {
        let text = match text_file::read(&path, text_file::MAX_SETTINGS) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: Some(path), ..Self::default() });
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the configuration {}", path.display()));
            }
        };
        let settings = parse(&text, &path)?;
        Ok(Self { path: Some(path), exists: true, settings })
    }
}

/// Reads the settings of a file; `path` is for messages.
fn parse(text: &str, path: &Path) -> anyhow::Result<Vec<Setting>> {
    let place = |at: usize| format!("{}, line {}", path.display(), line(text, at));
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let place = place(error.span().map_or(0, |span| span.start));
            bail!("{place}: not TOML: {}", error.message());
        }
    };
    let names = Key::ALL.map(|key| format!("`{}`", key.name())).join(", ");
    let mut settings = Vec::new();
    for (name, value) in &table {
        let at = name.span().start;
        let Some(key) = Key::ALL.into_iter().find(|key| key.name() == name.get_ref().as_ref())
        else {
            bail!("{}: unknown key `{}`; the keys are {names}", place(at), name.get_ref());
        };
        let Some(parsed) = key.parse(value.get_ref()) else {
            let (expected, written) = (key.expected(), written(text, value));
            bail!(
                "{}: `{}` must be {expected}, not {written}; the keys are {names}",
                place(at),
                key.name()
            );
        };
        settings.push(Setting { key, value: parsed, line: line(text, at) });
    }
    Ok(settings)
}

/// A value as the file has it, or its type if it is long.
fn written(text: &str, value: &Spanned<DeValue<'_>>) -> String {
    const MAX_BYTES: usize = 40;
    match text.get(value.span()).filter(|text| text.len() <= MAX_BYTES && !text.contains('\n')) {
        Some(text) => format!("`{text}`"),
        None => format!("this {}", value.get_ref().type_str()),
    }
}

/// The line of a byte of `text`, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// Reads the file, whose settings hold from now on in this process.
///
/// # Errors
///
/// If the file cannot be read or has a mistake; no setting holds then.
pub(crate) fn load() -> anyhow::Result<()> {
    let path = env::config_folder().map(|folder| folder.join("kokeshi/config.toml"));
    let config = path.map_or_else(|| Ok(Config::default()), Config::read);
    let (config, result) = match config {
        Ok(config) => (config, Ok(())),
        Err(error) => (Config::default(), Err(error)),
    };
    CURRENT.set(config).ok().context("the configuration is read once")?;
    result
}

/// The configuration of this process.
pub(crate) fn current() -> &'static Config {
    CURRENT.get_or_init(Config::default)
}

/// The model of commands that are given none, and have none recorded.
pub(crate) fn model() -> &'static str {
    current().value(Key::Model).unwrap_or("starter")
}

/// The definition of the command line with the defaults of the file. The number of threads is none
/// of them: as an option it also selects the processor.
pub(crate) fn command() -> clap::Command {
    let keys = [Key::Model, Key::Device, Key::Store];
    let defaults = keys.map(|key| current().value(key).map(|value| (key.name(), value)));
    args::command(&defaults.into_iter().flatten().collect::<Vec<_>>())
}

/// The value of the variable that overrides `key`.
pub(crate) fn variable(key: Key) -> Option<(&'static str, String)> {
    match key {
        Key::Color => env::no_color().then(|| ("NO_COLOR", "never".to_owned())),
        key => {
            let name = key.variable()?;
            Some((name, env::variable(OsStr::new(name))?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Setting>, String> {
        parse(text, Path::new("config.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_read_with_their_lines() {
        let text = "# mine\ndevice = \"cuda:1\"\n\nthreads = 4\ncolor = \"never\"\n";
        let settings = parsed(text).expect("settings");
        let found: Vec<_> = settings.iter().map(|s| (s.key, s.value.as_str(), s.line)).collect();
        let mut expected =
            [(Key::Device, "cuda:1", 2), (Key::Threads, "4", 4), (Key::Color, "never", 5)];
        expected.sort_by_key(|setting| setting.2);
        let mut found = found;
        found.sort_by_key(|setting| setting.2);
        assert_eq!(found, expected);
        assert_eq!(parsed(""), Ok(Vec::new()));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_the_keys() {
        for (text, parts) in [
            ("\nmodle = \"x\"", ["line 2", "unknown key `modle`", "`threads`"]),
            ("threads = \"four\"", ["line 1", "not `\"four\"`", "from 1 to 65535"]),
            ("threads = 0", ["line 1", "`threads` must be", "not `0`"]),
            ("threads = 0x10", ["line 1", "`threads` must be", "not `0x10`"]),
            ("model = [\"a\"]", ["line 1", "`model` must be a string", "`color`"]),
            ("model = \"\"", ["line 1", "`model` must be a string", "`color`"]),
            ("device = \"gpu\"", ["line 1", "`device` must be", "not `\"gpu\"`"]),
            ("color = true", ["line 1", "`color` must be", "not `true`"]),
            ("[serve]\nport = 1", ["line 1", "unknown key `serve`", "`store`"]),
            ("model = \"a\"\nmodel = \"b\"", ["line 2", "not TOML", "duplicate"]),
            ("a b", ["config.toml, line 1", "not TOML", ""]),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
