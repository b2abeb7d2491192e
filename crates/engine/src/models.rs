//! Several models in one process, each loaded on first use.

use crate::error::{Error, Result};
use crate::model::{LoadOptions, Model};
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A cache of loaded models by name. When the next model would exceed the memory budget, models
/// that are not in use are dropped, the least recently requested first.
///
/// Bytes are those of [`Model::len_bytes`]. They are known only once a model is loaded, so memory
/// can exceed the budget by one model until the models that it replaces are freed.
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
    cache: Mutex<Cache>,
    /// Notified whenever a load has ended, successfully or not.
    load_ended: Condvar,
}

/// A model in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    /// The name that it was requested by.
    pub id: String,
    /// Bytes of its weights.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Cache {
    /// The least recently requested model comes first.
    loaded: Vec<CachedModel>,
    /// Names of the models that a caller is loading.
    loading: HashSet<String>,
}

#[derive(Debug)]
struct CachedModel {
    id: String,
    bytes: usize,
    model: Arc<Model>,
}

impl Models {
    /// An empty cache whose models load with `options`. Without a budget no model is ever dropped.
    pub fn new(options: LoadOptions, budget_bytes: Option<usize>) -> Self {
        Self {
            options,
            budget_bytes: budget_bytes.unwrap_or(usize::MAX),
            cache: Mutex::default(),
            load_ended: Condvar::new(),
        }
    }

    /// Removes the model called `id` from the cache. It is freed when it is no longer in use.
    pub fn forget(&self, id: &str) {
        let forgotten: Vec<CachedModel> =
            self.lock().loaded.extract_if(.., |cached| cached.id == id).collect();
        // Freeing takes a while; the cache is no longer locked here.
        drop(forgotten);
    }

    /// The model called `id`. If it is not in memory, `open` loads it; meanwhile callers with the
    /// same `id` wait, callers with another `id` do not. A failed load leaves nothing behind: the
    /// next caller, waiting or later, tries again.
    ///
    /// `open` must not request `id` itself: it would wait for its own end.
    ///
    /// # Errors
    ///
    /// Those of `open`; [`Error::Budget`] if the model does not fit into the budget together with
    /// the models in use.
    pub fn get(
        &self,
        id: &str,
        open: impl FnOnce(&LoadOptions) -> Result<Model>,
    ) -> Result<Arc<Model>> {
        let claim = match self.find(id) {
            Lookup::Loaded(model) => return Ok(model),
            Lookup::Absent(claim) => claim,
        };
        let model = Arc::new(open(&self.options)?);
        let evicted = self.lock().put(id, &model, self.budget_bytes)?;
        drop(claim);
        // Freeing gigabytes takes a while; the cache is not locked here.
        drop(evicted);
        Ok(model)
    }

    /// The models in memory, the least recently requested first.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let model =
            |cached: &CachedModel| LoadedModel { id: cached.id.clone(), bytes: cached.bytes };
        self.lock().loaded.iter().map(model).collect()
    }

    /// Looks `id` up, after waiting for another caller that is loading it.
    fn find<'a>(&'a self, id: &'a str) -> Lookup<'a> {
        let loading = |cache: &mut Cache| cache.loading.contains(id);
        let waited = self.load_ended.wait_while(self.lock(), loading);
        let mut cache = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = cache.touch(id) {
            return Lookup::Loaded(model);
        }
        cache.loading.insert(id.to_owned());
        Lookup::Absent(Claim { models: self, id })
    }

    /// The cache is consistent between any two of its changes, so a panic elsewhere does not
    /// invalidate it.
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of looking a model up.
enum Lookup<'a> {
    Loaded(Arc<Model>),
    Absent(Claim<'a>),
}

/// The right to load a model. It ends when it is dropped, after a success, an error or a panic.
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

impl Cache {
    /// The model called `id`, which becomes the most recently requested one.
    fn touch(&mut self, id: &str) -> Option<Arc<Model>> {
        let at = self.loaded.iter().position(|cached| cached.id == id)?;
        self.loaded[at..].rotate_left(1);
        self.loaded.last().map(|cached| Arc::clone(&cached.model))
    }

    /// Adds a model and returns those evicted for it.
    ///
    /// # Errors
    ///
    /// [`Error::Budget`] if it does not fit; then nothing is evicted.
    fn put(&mut self, id: &str, model: &Arc<Model>, budget: usize) -> Result<Vec<CachedModel>> {
        let (id, bytes) = (id.to_owned(), model.len_bytes());
        let in_use = self.loaded.iter().filter(|cached| cached.is_in_use());
        let in_use = in_use.map(|cached| cached.bytes).sum();
        if bytes.saturating_add(in_use) > budget {
            return Err(Error::Budget { id, bytes, in_use, budget });
        }
        let loaded: usize = self.loaded.iter().map(|cached| cached.bytes).sum();
        let mut excess = loaded.saturating_add(bytes).saturating_sub(budget);
        let evict = |cached: &mut CachedModel| {
            let evict = excess > 0 && !cached.is_in_use();
            if evict {
                excess = excess.saturating_sub(cached.bytes);
            }
            evict
        };
        let evicted = self.loaded.extract_if(.., evict).collect();
        self.loaded.push(CachedModel { id, bytes, model: Arc::clone(model) });
        Ok(evicted)
    }
}

impl CachedModel {
    /// Whether the model is in use outside the cache. Users can only be added while the cache is
    /// locked.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.model) > 1
    }
}
