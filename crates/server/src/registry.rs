//! The served models: from the name that a client uses to a running model.

use crate::bindings::{Binding, Bindings, ReadBindings};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::problem::{Outcome, Problem};
use crate::running::Running;
use kokeshi::{LoadOptions, Model, Models, QueueLimits};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What loads a model.
pub type Opener = Box<dyn Fn(&LoadOptions) -> kokeshi::Result<Model> + Send + Sync>;

/// A model to serve.
pub struct ModelEntry {
    /// The name in the API.
    pub name: String,
    /// Its hub repository, if it has one.
    pub repo: Option<String>,
    /// Its licence, if it is known.
    pub licence: Option<Licence>,
    /// Loads it.
    pub open: Opener,
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

/// All served models, and those of them that run.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<ModelEntry>,
    bindings: Bindings,
    models: Models,
    queue_tokens: usize,
    metrics: Arc<Metrics>,
    /// The one asked for the longest ago comes first.
    running: Mutex<Vec<Arc<Running>>>,
}

/// What a client's `model` means.
#[derive(Clone, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) model: Meant<'a>,
    /// The task after the colon.
    pub(crate) task: Option<String>,
}

/// A model by its own name, or by that of a collection.
#[derive(Clone, Debug)]
pub(crate) enum Meant<'a> {
    Itself(&'a ModelEntry),
    Bound(Arc<Binding>),
}

impl Named<'_> {
    pub(crate) fn entry(&self) -> &ModelEntry {
        match &self.model {
            Meant::Itself(entry) => entry,
            Meant::Bound(binding) => &binding.model,
        }
    }

    /// The collection's, if it is named by one.
    pub(crate) fn bound(&self) -> Option<&Binding> {
        match &self.model {
            Meant::Itself(_) => None,
            Meant::Bound(binding) => Some(binding),
        }
    }
}

impl Registry {
    pub(crate) fn new(
        entries: Vec<ModelEntry>,
        read: Option<ReadBindings>,
        models: Models,
        queue_tokens: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        if entries.is_empty() {
            return Err(Error::NoModel);
        }
        let mut names = HashSet::new();
        let twice = entries.iter().find(|entry| !names.insert(entry.name.to_ascii_lowercase()));
        if let Some(entry) = twice {
            return Err(Error::DuplicateModel { name: entry.name.clone() });
        }
        let (bindings, running) = (Bindings::new(read), Mutex::default());
        Ok(Self { entries, bindings, models, queue_tokens, metrics, running })
    }

    /// Names that follow collections.
    pub(crate) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(crate) fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The model called `name`: with or without an owner, a task (`name:retrieval.query`) or
    /// Ollama's `:latest`. Without a name, the first.
    pub(crate) fn find<'a>(&'a self, name: Option<&'a str>) -> Outcome<Named<'a>> {
        let Some(asked) = name else {
            return Ok(Named { model: Meant::Itself(&self.entries[0]), task: None });
        };
        let bare = OWNERS.iter().find_map(|owner| strip(asked, owner)).unwrap_or(asked);
        if let Some(model) = self.meant(asked).or_else(|| self.meant(bare)) {
            return Ok(Named { model, task: None });
        }
        let split = bare.rsplit_once(':');
        let found = split.and_then(|(name, task)| Some((self.meant(name)?, task)));
        let Some((model, task)) = found else { return Err(self.unknown(asked)) };
        let task = match &model {
            Meant::Bound(binding) => binding.task(task),
            Meant::Itself(_) => Some(task.to_owned()).filter(|task| task != "latest"),
        };
        Ok(Named { model, task })
    }

    fn meant(&self, name: &str) -> Option<Meant<'_>> {
        let entry = self.entry(name).map(Meant::Itself);
        entry.or_else(|| self.bindings.find(name).map(Meant::Bound))
    }

    fn entry(&self, name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn unknown(&self, asked: &str) -> Problem {
        let mut names: Vec<_> =
            self.entries.iter().map(|entry| format!("`{}`", entry.name)).collect();
        let bindings = self.bindings.current();
        names.extend(bindings.iter().map(|binding| format!("`{}`", binding.name)));
        let shown: String = asked.chars().take(100).collect();
        let message = format!("model `{shown}` is not served here; served: {}", names.join(", "));
        let mut problem = Problem::bad_request("INPUT_MODEL_NOT_FOUND", message);
        problem.field = Some("model".to_owned());
        problem
    }

    /// The running models.
    pub(crate) fn running(&self) -> Vec<Arc<Running>> {
        self.shelf().clone()
    }

    /// The model if it runs already.
    pub(crate) fn at_hand(&self, entry: &ModelEntry) -> Option<Arc<Running>> {
        let mut shelf = self.shelf();
        let at = shelf.iter().position(|running| running.name == entry.name)?;
        shelf[at..].rotate_left(1);
        shelf.last().cloned()
    }

    /// The model, loaded now if it does not run. May take seconds: not for an async thread.
    pub(crate) fn run(&self, entry: &ModelEntry) -> kokeshi::Result<Arc<Running>> {
        if let Some(running) = self.at_hand(entry) {
            return Ok(running);
        }
        let model = self.load(entry)?;
        // Others may have loaded it in the meantime: the same model then, and one queue is enough.
        let mut shelf = self.shelf();
        if let Some(running) = shelf.iter().find(|running| running.name == entry.name) {
            return Ok(Arc::clone(running));
        }
        let limits = QueueLimits {
            waiting_tokens: self.queue_tokens,
            observer: Some(self.metrics.observer(&entry.name)),
        };
        let running = Arc::new(Running::start(&entry.name, model, limits)?);
        shelf.push(Arc::clone(&running));
        Ok(running)
    }

    /// Makes room for a model that does not fit beside the others, once.
    fn load(&self, entry: &ModelEntry) -> kokeshi::Result<Arc<Model>> {
        let load = || self.models.get(&entry.name, |options| (entry.open)(options));
        match load() {
            Err(kokeshi::Error::Budget { bytes, in_use, budget, .. }) if bytes <= budget => {
                let idle = self.take_idle((bytes + in_use).saturating_sub(budget));
                // Threads of the queues end here, where the shelf is not locked.
                drop(idle);
                load()
            }
            result => result,
        }
    }

    /// Takes idle models off the shelf until they hold `bytes` together.
    fn take_idle(&self, bytes: usize) -> Vec<Arc<Running>> {
        let mut taken = 0;
        let goes = |running: &mut Arc<Running>| {
            let goes = taken < bytes && Arc::strong_count(running) == 1 && running.is_idle();
            if goes {
                taken += running.model.len_bytes();
            }
            goes
        };
        self.shelf().extract_if(.., goes).collect()
    }

    /// Lets go of a model that no name leads to any more, once those who have it are done.
    pub(crate) fn retire(&self, name: &str) {
        let bindings = self.bindings.current();
        let is_served = self.entry(name).is_some();
        if is_served || bindings.iter().any(|binding| binding.model.name == name) {
            return;
        }
        let retired: Vec<_> = self.shelf().extract_if(.., |running| running.name == name).collect();
        // Threads of the queue end here, where the shelf is not locked.
        drop(retired);
        self.models.forget(name);
    }

    /// The list is whole between any two of its changes, so a panic elsewhere does not spoil it.
    fn shelf(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn strip<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi::LoadOptions;

    fn entry(name: &str) -> ModelEntry {
        let open = Box::new(Model::starter);
        ModelEntry { name: name.to_owned(), repo: None, licence: None, open }
    }

    fn registry(names: &[&str], budget: Option<usize>) -> Registry {
        let entries = names.iter().map(|name| entry(name)).collect();
        let models = Models::new(LoadOptions::default(), budget);
        Registry::new(entries, None, models, 1000, Arc::default()).expect("a registry")
    }

    #[test]
    fn names_come_with_owners_tasks_and_tags() {
        let registry = registry(&["jina-embeddings-v3", "a/b:c"], None);
        for (asked, name, task) in [
            (None, "jina-embeddings-v3", None),
            (Some("jina-embeddings-v3"), "jina-embeddings-v3", None),
            (Some("Jina-Embeddings-V3"), "jina-embeddings-v3", None),
            (Some("jinaai/jina-embeddings-v3"), "jina-embeddings-v3", None),
            (Some("jina-ai/jina-embeddings-v3"), "jina-embeddings-v3", None),
            (
                Some("jina_ai/jina-embeddings-v3:separation"),
                "jina-embeddings-v3",
                Some("separation"),
            ),
            (Some("jina-embeddings-v3:latest"), "jina-embeddings-v3", None),
            (Some("a/b:c"), "a/b:c", None),
            (Some("a/b:c:separation"), "a/b:c", Some("separation")),
        ] {
            let named = registry.find(asked).expect("a served model");
            assert_eq!((&*named.entry().name, named.task.as_deref()), (name, task), "{asked:?}");
        }
        for asked in ["", ":", "jinaai/", "jina-embeddings-v2-base-en", "é", "jina-embeddings-v3/x"]
        {
            let problem = registry.find(Some(asked)).expect_err("no such model");
            assert_eq!(problem.code, "INPUT_MODEL_NOT_FOUND");
            assert!(problem.message.contains("`jina-embeddings-v3`, `a/b:c`"), "{problem:?}");
        }
    }

    #[test]
    fn a_model_that_does_not_fit_takes_the_place_of_an_idle_one_and_not_of_a_held_one() {
        let bytes = Model::starter(&LoadOptions::default()).expect("the starter").len_bytes();
        let registry = registry(&["one", "two"], Some(bytes));
        let run = |name: &str| registry.run(registry.find(Some(name)).expect("served").entry());
        let one = run("one").expect("it fits");
        assert!(matches!(run("two"), Err(kokeshi::Error::Budget { .. })));
        drop(one);
        assert_eq!(run("two").expect("it takes the place of the first").name, "two");
        assert_eq!(registry.running().len(), 1);
    }
}
