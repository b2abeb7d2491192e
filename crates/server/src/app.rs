//! The state that all handlers share.

use crate::auth::Keys;
use crate::bindings::ServedCollections;
use crate::browsers::Guard;
use crate::buffers::Buffers;
use crate::classifiers::Classifiers;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::registry::{ModelEntry, Registry};
use crate::request_id::RequestIds;
use crate::routes::Readiness;
use crate::shutdown::Drain;
use crate::stores::Stores;
use crate::traces::Traces;
use crate::work::Workers;
use kokeshi::Models;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// What can change while the server runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Arc<Keys>,
}

/// The state of a server.
#[derive(Debug)]
pub(crate) struct App {
    settings: RwLock<Settings>,
    pub(crate) registry: Registry,
    /// Refuses requests of foreign web pages, if neither keys nor permissions do.
    pub(crate) guard: Option<Guard>,
    /// Counts the bytes of bodies and answers.
    pub(crate) buffers: Buffers,
    pub(crate) readiness: Readiness,
    pub(crate) classifiers: Option<Classifiers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
    pub(crate) request_ids: RequestIds,
    /// When the server started, in seconds since 1970.
    pub(crate) started: u64,
    /// Exports a span for each request.
    pub(crate) traces: Option<Traces>,
    /// Slots for tokenization and other computation outside the queues.
    pub(crate) workers: Workers,
    /// The store of the served collections.
    pub(crate) stores: Option<Arc<Stores>>,
}

impl App {
    /// Checks those parts of the configuration that need neither a socket nor a model.
    pub(crate) fn new(
        config: Config,
        entries: Vec<ModelEntry>,
        collections: Option<ServedCollections>,
        models: Models,
    ) -> Result<Self> {
        let keys = Keys::new(&config, &Keys::default())?;
        if keys.is_empty() && !config.allow_open && !config.address.ip().is_loopback() {
            return Err(Error::KeyRequired { address: config.address });
        }
        let guard = Guard::new(&config);
        let buffers = Buffers::new(config.limits.buffered_bytes);
        let metrics: Arc<Metrics> = Arc::default();
        let queue_tokens = config.limits.queue_tokens;
        let (read_bindings, store) = match collections {
            Some(ServedCollections { store, read_bindings }) => (Some(read_bindings), store),
            None => (None, None),
        };
        let registry =
            Registry::new(entries, read_bindings, models, queue_tokens, Arc::clone(&metrics))?;
        let classifiers = config.classifiers.as_deref().map(Classifiers::open).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let traces = config.otlp_endpoint.as_deref().map(Traces::start).transpose()?;
        let settings = Settings { config: Arc::new(config), keys: Arc::new(keys) };
        Ok(Self {
            settings: RwLock::new(settings),
            registry,
            guard,
            buffers,
            readiness: Readiness::default(),
            classifiers,
            metrics,
            drain: Drain::default(),
            request_ids: RequestIds::default(),
            started,
            traces,
            workers: Workers::new(cores),
            stores: store.map(Stores::new).map(Arc::new),
        })
    }

    /// The current configuration.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.settings().config)
    }

    /// The current keys.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.settings().keys)
    }

    /// A change is one assignment, so the settings are usable after a panic.
    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses these settings from the next request on.
    pub(crate) fn set(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Loads all models, or only the first, so that errors appear before the first request.
    pub(crate) fn load(&self, all: bool) -> Result<()> {
        let entries = self.registry.entries();
        let entries = if all { entries } else { &entries[..1] };
        for entry in entries {
            let name = || entry.name.clone();
            let loaded = self.registry.load(entry);
            loaded.map_err(|source| Error::Model { name: name(), source })?;
        }
        self.bind_names()?;
        self.check_default_task(all)
    }

    fn check_default_task(&self, all: bool) -> Result<()> {
        let config = self.config();
        let Some(task) = config.default_task.as_ref().filter(|_| all) else { return Ok(()) };
        let running = self.registry.running_models();
        let mut tasks = running.iter().flat_map(|running| &running.model.config().tasks);
        match tasks.any(|known| known.name == *task) {
            true => Ok(()),
            false => Err(Error::DefaultTask { task: task.clone() }),
        }
    }
}
