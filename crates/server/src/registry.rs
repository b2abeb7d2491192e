//! The served models, and the names that resolve to them.

use crate::bindings::{Binding, Bindings, ReadBindings};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::problem::{ApiResult, Problem};
use crate::running_model::RunningModel;
use kokeshi::{LoadOptions, Model, Models, QueueLimits};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A function that loads a model.
pub type LoadModel = Box<dyn Fn(&LoadOptions) -> kokeshi::Result<Model> + Send + Sync>;

/// A model to serve.
pub struct ModelEntry {
    /// The name in the API.
    pub name: String,
    /// Its hub repository, if it has one.
    pub repo: Option<String>,
    /// The licence of its weights, if known.
    pub licence: Option<Licence>,
    /// Loads the model.
    pub load: LoadModel,
}

/// The licence of a model's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    /// SPDX identifier.
    pub id: String,
    /// What it means for a user of the model, in one sentence.
    pub note: String,
}

impl fmt::Debug for ModelEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Owners that clients may put before a model's name.
const OWNERS: [&str; 4] = ["jinaai/", "jina-ai/", "jina_ai/", "kokeshi/"];

/// All served models, and which of them are running.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<Arc<ModelEntry>>,
    bindings: Bindings,
    models: Models,
    queue_tokens: usize,
    metrics: Arc<Metrics>,
    /// Least recently used first.
    running: Mutex<Vec<Arc<RunningModel>>>,
}

/// The meaning of a request's `model` field.
#[derive(Clone, Debug)]
pub(crate) struct ModelRef {
    target: Target,
    /// The task after the colon.
    pub(crate) task: Option<String>,
}

/// A served model, or a name that is bound to a collection.
#[derive(Clone, Debug)]
enum Target {
    Model(Arc<ModelEntry>),
    Collection(Arc<Binding>),
}

impl ModelRef {
    /// The model of the collection that a name is bound to.
    pub(crate) fn of_binding(binding: &Arc<Binding>) -> Self {
        Self { target: Target::Collection(Arc::clone(binding)), task: None }
    }

    pub(crate) fn entry(&self) -> &ModelEntry {
        match &self.target {
            Target::Model(entry) => entry,
            Target::Collection(binding) => &binding.model,
        }
    }

    /// The binding, if the name is that of a collection.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        match &self.target {
            Target::Model(_) => None,
            Target::Collection(binding) => Some(binding),
        }
    }
}

impl Registry {
    pub(crate) fn new(
        entries: Vec<ModelEntry>,
        read_bindings: Option<ReadBindings>,
        models: Models,
        queue_tokens: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        if entries.is_empty() {
            return Err(Error::NoModel);
        }
        let mut names = HashSet::new();
        let duplicate = entries.iter().find(|entry| !names.insert(entry.name.to_ascii_lowercase()));
        if let Some(entry) = duplicate {
            return Err(Error::DuplicateModel { name: entry.name.clone() });
        }
        let entries = entries.into_iter().map(Arc::new).collect();
        let (bindings, running) = (Bindings::new(read_bindings), Mutex::default());
        Ok(Self { entries, bindings, models, queue_tokens, metrics, running })
    }

    /// Names that are bound to collections.
    pub(crate) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(crate) fn entries(&self) -> &[Arc<ModelEntry>] {
        &self.entries
    }

    /// Resolves a model's name, which may have an owner before it, and a task
    /// (`name:retrieval.query`) or Ollama's `:latest` after it. `None` resolves to the first model.
    pub(crate) fn resolve(&self, name: Option<&str>) -> ApiResult<ModelRef> {
        let Some(name) = name else {
            let first = Arc::clone(&self.entries[0]);
            return Ok(ModelRef { target: Target::Model(first), task: None });
        };
        let bare = OWNERS.iter().find_map(|owner| strip_prefix(name, owner)).unwrap_or(name);
        if let Some(target) = self.target(name).or_else(|| self.target(bare)) {
            return Ok(ModelRef { target, task: None });
        }
        let split = bare.rsplit_once(':');
        let with_task = split.and_then(|(name, task)| Some((self.target(name)?, task)));
        let Some((target, task)) = with_task else { return Err(self.unknown_model(name)) };
        let task = match &target {
            Target::Collection(binding) => binding.task(task),
            Target::Model(_) => Some(task.to_owned()).filter(|task| task != "latest"),
        };
        Ok(ModelRef { target, task })
    }

    fn target(&self, name: &str) -> Option<Target> {
        let entry = self.entry(name).cloned().map(Target::Model);
        entry.or_else(|| self.bindings.find(name).map(Target::Collection))
    }

    fn entry(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn unknown_model(&self, name: &str) -> Problem {
        let mut names: Vec<_> =
            self.entries.iter().map(|entry| format!("`{}`", entry.name)).collect();
        let bindings = self.bindings.current();
        names.extend(bindings.iter().map(|binding| format!("`{}`", binding.name)));
        let name: String = name.chars().take(100).collect();
        let message = format!("this server has no model `{name}`; it has {}", names.join(", "));
        let mut problem = Problem::bad_request("INPUT_MODEL_NOT_FOUND", message);
        problem.field = Some("model".to_owned());
        problem
    }

    /// All running models.
    pub(crate) fn running_models(&self) -> Vec<Arc<RunningModel>> {
        self.lock().clone()
    }

    /// The model if it is running. It becomes the most recently used one.
    pub(crate) fn running(&self, entry: &ModelEntry) -> Option<Arc<RunningModel>> {
        let mut running = self.lock();
        let at = running.iter().position(|model| model.name == entry.name)?;
        running[at..].rotate_left(1);
        running.last().cloned()
    }

    /// The model, which is loaded if it is not running. This may take seconds: do not call it on an
    /// async thread.
    pub(crate) fn load(&self, entry: &ModelEntry) -> kokeshi::Result<Arc<RunningModel>> {
        if let Some(running) = self.running(entry) {
            return Ok(running);
        }
        let model = self.load_within_budget(entry)?;
        // Another thread may have loaded it meanwhile. `models` has returned the same model to
        // both, and it needs only one queue.
        let mut running = self.lock();
        if let Some(running) = running.iter().find(|model| model.name == entry.name) {
            return Ok(Arc::clone(running));
        }
        let limits = QueueLimits {
            waiting_tokens: self.queue_tokens,
            observer: Some(self.metrics.observer(&entry.name)),
        };
        let model = Arc::new(RunningModel::start(&entry.name, model, limits)?);
        running.push(Arc::clone(&model));
        Ok(model)
    }

    /// Loads a model, and drops idle ones if the memory budget requires it.
    fn load_within_budget(&self, entry: &ModelEntry) -> kokeshi::Result<Arc<Model>> {
        let load = || self.models.get(&entry.name, |options| (entry.load)(options));
        match load() {
            Err(kokeshi::Error::Budget { bytes, in_use, budget, .. }) if bytes <= budget => {
                let idle = self.remove_idle((bytes + in_use).saturating_sub(budget));
                // This ends the queues' threads, so `running` must not be locked here.
                drop(idle);
                load()
            }
            result => result,
        }
    }

    /// Removes idle models, least recently used first, until they hold `bytes` in total.
    fn remove_idle(&self, bytes: usize) -> Vec<Arc<RunningModel>> {
        let mut freed = 0;
        let is_removed = |model: &mut Arc<RunningModel>| {
            let is_removed = freed < bytes && Arc::strong_count(model) == 1 && model.is_idle();
            if is_removed {
                freed += model.model.len_bytes();
            }
            is_removed
        };
        self.lock().extract_if(.., is_removed).collect()
    }

    /// Removes a model unless a name still resolves to it. Its memory is freed when its requests
    /// are done.
    pub(crate) fn retire(&self, name: &str) {
        let bindings = self.bindings.current();
        let is_served = self.entry(name).is_some();
        if is_served || bindings.iter().any(|binding| binding.model.name == name) {
            return;
        }
        let retired: Vec<_> = self.lock().extract_if(.., |model| model.name == name).collect();
        // This ends the queue's threads, so `running` must not be locked here.
        drop(retired);
        self.models.forget(name);
    }

    /// Locks the list of running models. Every change leaves it consistent, so it is usable after
    /// another thread has panicked.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<RunningModel>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strips a prefix, ignoring its case.
fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi::LoadOptions;

    fn entry(name: &str) -> ModelEntry {
        let load = Box::new(Model::starter);
        ModelEntry { name: name.to_owned(), repo: None, licence: None, load }
    }

    fn registry(names: &[&str], budget: Option<usize>) -> Registry {
        let entries = names.iter().map(|name| entry(name)).collect();
        let models = Models::new(LoadOptions::default(), budget);
        Registry::new(entries, None, models, 1000, Arc::default()).expect("a registry")
    }

    #[test]
    fn a_name_may_have_an_owner_a_task_or_a_tag() {
        let registry = registry(&["jina-embeddings-v3", "a/b:c"], None);
        for (requested, name, task) in [
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
            let model = registry.resolve(requested).expect("a served model");
            assert_eq!(
                (&*model.entry().name, model.task.as_deref()),
                (name, task),
                "{requested:?}"
            );
        }
        for requested in
            ["", ":", "jinaai/", "jina-embeddings-v2-base-en", "é", "jina-embeddings-v3/x"]
        {
            let problem = registry.resolve(Some(requested)).expect_err("no such model");
            assert_eq!(problem.code, "INPUT_MODEL_NOT_FOUND");
            assert!(problem.message.contains("`jina-embeddings-v3`, `a/b:c`"), "{problem:?}");
        }
    }

    #[test]
    fn a_model_that_does_not_fit_replaces_an_idle_one_but_not_one_in_use() {
        let bytes = Model::starter(&LoadOptions::default()).expect("the starter").len_bytes();
        let registry = registry(&["one", "two"], Some(bytes));
        let load =
            |name: &str| registry.load(registry.resolve(Some(name)).expect("served").entry());
        let one = load("one").expect("it fits");
        assert!(matches!(load("two"), Err(kokeshi::Error::Budget { .. })));
        drop(one);
        assert_eq!(load("two").expect("it replaces the first").name, "two");
        assert_eq!(registry.running_models().len(), 1);
    }
}
