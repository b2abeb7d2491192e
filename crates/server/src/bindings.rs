//! Names that are bound to collections: each resolves to the model that produced its collection's
//! vectors, and follows the collection to another model while the server runs.
//!
//! The caller knows where collections are and how to find their models: it passes a
//! [`ReadBindings`], which a thread calls twice per second. A model is loaded before a name
//! resolves to it. After any failure, names stay as they were.

use crate::app::App;
use crate::error::{Error, Result};
use crate::registry::ModelEntry;
use kokeshi_store::{Address, Provenance};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

/// Time between two reads of the bindings.
const INTERVAL: Duration = Duration::from_millis(500);

/// The collections that a server serves, and how their names are followed.
pub struct ServedCollections {
    /// The store of the collections; `None` if names follow nothing but migrations.
    pub store: Option<Address>,
    /// Reads the bindings of all names.
    pub read_bindings: ReadBindings,
}

impl fmt::Debug for ServedCollections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedCollections").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A collection of the server's store, as a binding found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCollection {
    /// The collection or alias that was asked for, which may resolve to another collection later.
    pub target: String,
    /// The collection's [`Collection::id`](kokeshi_store::Collection::id).
    pub id: String,
    /// What produced its vectors.
    pub provenance: Provenance,
}

/// The collection that a name is bound to at the moment.
#[derive(Debug)]
pub struct Binding {
    /// The name in the API.
    pub name: String,
    /// The collection's own name.
    pub collection: String,
    /// The model that produced its vectors.
    pub model: ModelEntry,
    /// The task of its documents, if its model has tasks; clients request it as `name:passage`.
    pub passage_task: Option<String>,
    /// The task of its queries, and the default task of requests.
    pub query_task: Option<String>,
    /// Elements of its vectors, and the default of requests.
    pub dimensions: usize,
    /// The collection in the server's store, for searching and writing it; `None` for a name that
    /// follows a migration.
    pub stored: Option<StoredCollection>,
}

type BindingKey<'a> =
    (&'a str, &'a str, [&'a Option<String>; 2], usize, &'a Option<StoredCollection>);

/// Reads the current bindings of all names, or returns why they cannot be read.
pub type ReadBindings = Box<dyn FnMut() -> Result<Vec<Binding>, String> + Send>;

impl Binding {
    /// Everything that determines vectors, for comparison.
    fn key(&self) -> BindingKey<'_> {
        let tasks = [&self.passage_task, &self.query_task];
        (&self.collection, &self.model.name, tasks, self.dimensions, &self.stored)
    }

    /// The task for the suffix after a name's colon: `query`, `passage`, or a task of the model.
    pub(crate) fn task(&self, suffix: &str) -> Option<String> {
        match suffix {
            "latest" | "query" => self.query_task.clone(),
            "passage" => self.passage_task.clone(),
            task => Some(task.to_owned()),
        }
    }
}

/// All bound names.
#[derive(Default)]
pub(crate) struct Bindings {
    read: Mutex<Option<ReadBindings>>,
    current: RwLock<Vec<Arc<Binding>>>,
    /// Why the last read failed.
    failure: Mutex<Option<String>>,
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Bindings {
    pub(crate) fn new(read: Option<ReadBindings>) -> Self {
        Self { read: Mutex::new(read), ..Self::default() }
    }

    /// The current bindings. Every change leaves the list consistent, so it is usable after another
    /// thread has panicked; the same is true of the other locks here.
    pub(crate) fn current(&self) -> Vec<Arc<Binding>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Binding>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.iter().find(|binding| binding.name.eq_ignore_ascii_case(name)).cloned()
    }

    /// Why the last read failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, binding: Binding) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match current.iter_mut().find(|old| old.name == binding.name) {
            Some(old) => *old = Arc::new(binding),
            None => current.push(Arc::new(binding)),
        }
    }

    /// Records the result of a read, and logs it if it changed.
    fn record(&self, failure: Option<String>) {
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == failure {
            return;
        }
        match &failure {
            Some(reason) => {
                tracing::warn!(reason, "cannot follow collections; names stay as they were");
            }
            None => tracing::info!("collections are followed again"),
        }
        *last = failure;
    }
}

impl App {
    /// Reads the bindings of all names, before the first request.
    pub(crate) fn bind_names(&self) -> Result<()> {
        self.refresh_bindings().map_err(|reason| Error::Bindings { reason })?;
        let names = self.registry.bindings().current();
        let duplicate = names.iter().find(|binding| {
            let entries = self.registry.entries();
            entries.iter().any(|entry| entry.name.eq_ignore_ascii_case(&binding.name))
        });
        match duplicate {
            Some(binding) => Err(Error::DuplicateModel { name: binding.name.clone() }),
            None => Ok(()),
        }
    }

    /// Follows the collections in a thread, until the server is dropped.
    pub(crate) fn follow_collections(self: &Arc<Self>) -> Result<()> {
        if self.registry.bindings().current().is_empty() {
            return Ok(());
        }
        let app: Weak<Self> = Arc::downgrade(self);
        let follow = move || {
            while let Some(app) = app.upgrade() {
                let result = app.refresh_bindings();
                app.registry.bindings().record(result.err());
                drop(app);
                thread::sleep(INTERVAL);
            }
        };
        thread::Builder::new().name("kokeshi-follow".to_owned()).spawn(follow)?;
        Ok(())
    }

    /// Reads the bindings, and loads the models of those that changed.
    fn refresh_bindings(&self) -> Result<(), String> {
        let bindings = self.registry.bindings();
        let mut read = bindings.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = read.as_mut() else { return Ok(()) };
        let mut failure = None;
        for binding in read()? {
            let old = bindings.find(&binding.name);
            if old.as_ref().is_some_and(|old| old.key() == binding.key()) {
                continue;
            }
            if let Err(error) = self.registry.load(&binding.model) {
                failure = Some(format!("`{}`: {error}", binding.model.name));
                continue;
            }
            let (name, collection) = (&binding.name, &binding.collection);
            tracing::info!(name, collection, model = binding.model.name, "a name is bound");
            bindings.set(binding);
            if let Some(old) = old {
                self.registry.retire(&old.model.name);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
