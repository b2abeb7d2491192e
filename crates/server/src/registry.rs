//! The served models: from the name that a client uses to a running model.

use crate::error::{Error, Result};
use crate::problem::{Outcome, Problem};
use kokeshi::{LoadOptions, Model, Models};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A model to serve.
pub struct ModelEntry {
    /// The name in the API.
    pub name: String,
    /// Its hub repository, if it has one.
    pub repo: Option<String>,
    /// Its licence, if it is known.
    pub licence: Option<Licence>,
    /// Loads it.
    pub open: Box<dyn Fn(&LoadOptions) -> kokeshi::Result<Model> + Send + Sync>,
}

/// Terms that a model's weights are under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    /// SPDX identifier.
    pub id: String,
    /// What it means to a user, in a sentence.
    pub note: String,
}

impl fmt::Debug for ModelEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Owners that clients write before a model's name.
const OWNERS: [&str; 4] = ["jinaai/", "jina-ai/", "jina_ai/", "kokeshi/"];

/// All served models.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<ModelEntry>,
    models: Models,
}

/// What a client's `model` means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) entry: &'a ModelEntry,
    /// The task after the colon.
    pub(crate) task: Option<&'a str>,
}

impl Registry {
    pub(crate) fn new(entries: Vec<ModelEntry>, models: Models) -> Result<Self> {
        if entries.is_empty() {
            return Err(Error::NoModel);
        }
        let mut names = HashSet::new();
        let twice = entries.iter().find(|entry| !names.insert(entry.name.to_ascii_lowercase()));
        if let Some(entry) = twice {
            return Err(Error::DuplicateModel { name: entry.name.clone() });
        }
        Ok(Self { entries, models })
    }

    pub(crate) fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The model called `name`: with or without an owner, a task (`name:retrieval.query`) or
    /// Ollama's `:latest`. Without a name, the first.
    pub(crate) fn find<'a>(&'a self, name: Option<&'a str>) -> Outcome<Named<'a>> {
        let Some(asked) = name else { return Ok(Named { entry: &self.entries[0], task: None }) };
        let bare = OWNERS.iter().find_map(|owner| strip(asked, owner)).unwrap_or(asked);
        if let Some(entry) = self.entry(asked).or_else(|| self.entry(bare)) {
            return Ok(Named { entry, task: None });
        }
        let split = bare.rsplit_once(':');
        let found = split.and_then(|(name, task)| Some((self.entry(name)?, task)));
        let Some((entry, task)) = found else { return Err(self.unknown(asked)) };
        Ok(Named { entry, task: Some(task).filter(|task| *task != "latest") })
    }

    fn entry(&self, name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn unknown(&self, asked: &str) -> Problem {
        let names: Vec<_> = self.entries.iter().map(|entry| format!("`{}`", entry.name)).collect();
        let shown: String = asked.chars().take(100).collect();
        let message = format!("model `{shown}` is not served here; served: {}", names.join(", "));
        let mut problem = Problem::bad_request("INPUT_MODEL_NOT_FOUND", message);
        problem.field = Some("model".to_owned());
        problem
    }

    /// The model itself, loaded now if it is not in memory. May take seconds: not for an async
    /// thread.
    pub(crate) fn load(&self, entry: &ModelEntry) -> kokeshi::Result<Arc<Model>> {
        self.models.get(&entry.name, |options| (entry.open)(options))
    }
}

fn strip<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
