//! Several models in one process, each loaded when it is first asked for.

use crate::error::{Error, Result};
use crate::model::{LoadOptions, Model};
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Loaded models by name. When the next one would exceed the memory budget, the models that
/// nobody holds go first, the one not asked for the longest before the others.
///
/// Bytes are those of [`Model::len_bytes`]. A model's are known once it is loaded: until then,
/// and until what it replaces is gone, memory holds it on top of the budget.
///
/// ```no_run
/// use kokeshi::{Input, LoadOptions, Model, Models};
/// use std::path::Path;
///
/// let models = Models::new(LoadOptions::default(), Some(2 << 30));
/// for folder in ["jina-embeddings-v2-base-de", "jina-embeddings-v3"] {
///     let model = models.get(folder, |options| Model::open(Path::new(folder), options))?;
///     model.embed(&[Input::new("The same text.").task("text-matching")])?;
/// }
/// # Ok::<(), kokeshi::Error>(())
/// ```
#[derive(Debug)]
pub struct Models {
    options: LoadOptions,
    budget_bytes: usize,
    shelf: Mutex<Shelf>,
    /// Told whenever a load has ended, well or not.
    load_ended: Condvar,
}

/// A model that is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    /// The name it was asked for by.
    pub id: String,
    /// Bytes that its weights take.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The one asked for the longest ago comes first.
    loaded: Vec<Shelved>,
    /// Names of the models that a caller is loading.
    loading: HashSet<String>,
}

#[derive(Debug)]
struct Shelved {
    id: String,
    bytes: usize,
    model: Arc<Model>,
}

impl Models {
    /// No models yet; they will be loaded with `options`. Without a budget none is ever dropped.
    pub fn new(options: LoadOptions, budget_bytes: Option<usize>) -> Self {
        Self {
            options,
            budget_bytes: budget_bytes.unwrap_or(usize::MAX),
            shelf: Mutex::default(),
            load_ended: Condvar::new(),
        }
    }

    /// Lets go of the model called `id`, which ends when nobody holds it any more.
    pub fn forget(&self, id: &str) {
        let forgotten: Vec<Shelved> =
            self.lock().loaded.extract_if(.., |shelved| shelved.id == id).collect();
        // Freeing takes a while, and the shelf is not locked any more.
        drop(forgotten);
    }

    /// The model called `id`. If it is not in memory, `open` loads it, while callers with the
    /// same `id` wait and callers with another do not. A failed load leaves nothing behind: the
    /// next caller, waiting or later, tries again.
    ///
    /// `open` must not ask for `id` itself, which would wait for its own end.
    ///
    /// # Errors
    ///
    /// Those of `open`; [`Error::Budget`] if the model does not fit into the budget beside those
    /// that are held by someone.
    pub fn get(
        &self,
        id: &str,
        open: impl FnOnce(&LoadOptions) -> Result<Model>,
    ) -> Result<Arc<Model>> {
        let claim = match self.find(id) {
            Found::Loaded(model) => return Ok(model),
            Found::Absent(claim) => claim,
        };
        let model = Arc::new(open(&self.options)?);
        let evicted = self.lock().put(id, &model, self.budget_bytes)?;
        drop(claim);
        // Giving back gigabytes takes a while, and happens here, where the shelf is not locked.
        drop(evicted);
        Ok(model)
    }

    /// The models in memory; the one asked for the longest ago comes first.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let entry =
            |shelved: &Shelved| LoadedModel { id: shelved.id.clone(), bytes: shelved.bytes };
        self.lock().loaded.iter().map(entry).collect()
    }

    /// Waits while somebody else loads `id`.
    fn find<'a>(&'a self, id: &'a str) -> Found<'a> {
        let loading = |shelf: &mut Shelf| shelf.loading.contains(id);
        let waited = self.load_ended.wait_while(self.lock(), loading);
        let mut shelf = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = shelf.touch(id) {
            return Found::Loaded(model);
        }
        shelf.loading.insert(id.to_owned());
        Found::Absent(Claim { models: self, id })
    }

    /// The shelf is whole between any two of its changes, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found<'a> {
    Loaded(Arc<Model>),
    Absent(Claim<'a>),
}

/// The right to load a model. It ends when dropped, by success, error or panic.
struct Claim<'a> {
    models: &'a Models,
    id: &'a str,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.models.lock().loading.remove(self.id);
        self.models.load_ended.notify_all();
    }
}

impl Shelf {
    /// The model called `id`, which becomes the one asked for last.
    fn touch(&mut self, id: &str) -> Option<Arc<Model>> {
        let at = self.loaded.iter().position(|shelved| shelved.id == id)?;
        self.loaded[at..].rotate_left(1);
        self.loaded.last().map(|shelved| Arc::clone(&shelved.model))
    }

    /// Adds a model, and hands back those that had to go for it: none if it does not fit.
    fn put(&mut self, id: &str, model: &Arc<Model>, budget: usize) -> Result<Vec<Shelved>> {
        let (id, bytes) = (id.to_owned(), model.len_bytes());
        let held = self.loaded.iter().filter(|shelved| shelved.is_held());
        let in_use = held.map(|shelved| shelved.bytes).sum();
        if bytes.saturating_add(in_use) > budget {
            return Err(Error::Budget { id, bytes, in_use, budget });
        }
        let loaded: usize = self.loaded.iter().map(|shelved| shelved.bytes).sum();
        let mut excess = loaded.saturating_add(bytes).saturating_sub(budget);
        let goes = |old: &mut Shelved| {
            let goes = excess > 0 && !old.is_held();
            if goes {
                excess = excess.saturating_sub(old.bytes);
            }
            goes
        };
        let evicted = self.loaded.extract_if(.., goes).collect();
        self.loaded.push(Shelved { id, bytes, model: Arc::clone(model) });
        Ok(evicted)
    }
}

impl Shelved {
    /// Whether anybody has the model. New holders come only from a locked shelf.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.model) > 1
    }
}
