//! Names that lead to whatever model a collection was made with, and follow it while the server runs.
//!
//! Where collections lie, and how their models are found, is the program's business: it hands in a
//! [`ReadBindings`]. A thread calls it twice a second. A model is loaded before a name leads to it, and
//! whatever goes wrong leaves a name where it was.

use crate::app::App;
use crate::error::{Error, Result};
use crate::registry::ModelEntry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

/// Time between two looks at the collections.
const EVERY: Duration = Duration::from_millis(500);

/// Where a name leads to at the moment.
#[derive(Debug)]
pub struct Binding {
    /// The name in the API.
    pub name: String,
    /// The collection, as it is called itself.
    pub collection: String,
    /// The model that makes its vectors.
    pub model: ModelEntry,
    /// The task of what is written to it, if its model has tasks: `name:passage`.
    pub passage_task: Option<String>,
    /// The task of what is asked of it: of requests that name no task.
    pub query_task: Option<String>,
    /// Numbers of its vectors: of requests that name no other.
    pub dimensions: usize,
}

/// Reads where all names lead, or says why that cannot be known now.
pub type ReadBindings = Box<dyn FnMut() -> Result<Vec<Binding>, String> + Send>;

impl Binding {
    /// What decides vectors, for comparison.
    fn key(&self) -> (&str, &str, [&Option<String>; 2], usize) {
        let tasks = [&self.passage_task, &self.query_task];
        (&self.collection, &self.model.name, tasks, self.dimensions)
    }

    /// A task by what comes after the name's colon: `query`, `passage`, or a task of the model.
    pub(crate) fn task(&self, suffix: &str) -> Option<String> {
        match suffix {
            "latest" | "query" => self.query_task.clone(),
            "passage" => self.passage_task.clone(),
            task => Some(task.to_owned()),
        }
    }
}

/// All such names.
#[derive(Default)]
pub(crate) struct Bindings {
    read: Mutex<Option<ReadBindings>>,
    current: RwLock<Vec<Arc<Binding>>>,
    /// Why the last look failed.
    trouble: Mutex<Option<String>>,
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

    /// Where names lead now. The list is whole between any two of its changes, so a panic elsewhere
    /// does not spoil it; the same goes for the locks below.
    pub(crate) fn current(&self) -> Vec<Arc<Binding>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Binding>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.iter().find(|binding| binding.name.eq_ignore_ascii_case(name)).cloned()
    }

    /// Why the last look failed, if it did.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, binding: Binding) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.retain(|old| old.name != binding.name);
        current.push(Arc::new(binding));
    }

    /// Tells what is wrong when that changes.
    fn tell(&self, trouble: Option<String>) {
        let mut told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == trouble {
            return;
        }
        match &trouble {
            Some(reason) => tracing::warn!(reason, "collections are not followed; names stay"),
            None => tracing::info!("collections are followed again"),
        }
        *told = trouble;
    }
}

impl App {
    /// Finds out where all names lead, before the first request.
    pub(crate) fn bind_names(&self) -> Result<()> {
        self.look().map_err(|reason| Error::Bindings { reason })?;
        let names = self.registry.bindings().current();
        let taken = names.iter().find(|binding| {
            let entries = self.registry.entries();
            entries.iter().any(|entry| entry.name.eq_ignore_ascii_case(&binding.name))
        });
        match taken {
            Some(binding) => Err(Error::DuplicateModel { name: binding.name.clone() }),
            None => Ok(()),
        }
    }

    /// Follows the collections until the server is gone.
    pub(crate) fn follow(self: &Arc<Self>) -> Result<()> {
        if self.registry.bindings().current().is_empty() {
            return Ok(());
        }
        let app: Weak<Self> = Arc::downgrade(self);
        let follow = move || {
            while let Some(app) = app.upgrade() {
                let outcome = app.look();
                app.registry.bindings().tell(outcome.err());
                drop(app);
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new().name("kokeshi-follow".to_owned()).spawn(follow)?;
        Ok(())
    }

    /// Reads where names lead, and loads the models of those that lead elsewhere now.
    fn look(&self) -> Result<(), String> {
        let bindings = self.registry.bindings();
        let mut read = bindings.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = read.as_mut() else { return Ok(()) };
        let mut failed = None;
        for binding in read()? {
            let old = bindings.find(&binding.name);
            if old.as_ref().is_some_and(|old| old.key() == binding.key()) {
                continue;
            }
            if let Err(error) = self.registry.run(&binding.model) {
                failed = Some(format!("`{}`: {error}", binding.model.name));
                continue;
            }
            let (name, collection) = (&binding.name, &binding.collection);
            tracing::info!(name, collection, model = binding.model.name, "a name follows");
            bindings.put(binding);
            if let Some(old) = old {
                self.registry.retire(&old.model.name);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
