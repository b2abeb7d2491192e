//! The loaded models of this process, one for each configuration.
//!
//! A fork copies memory, but no threads: in the child, whatever waits for a thread of its parent
//! waits for ever. So everything that has threads belongs to the process that made it, and a child
//! makes its own on first use.

use crate::errors::{of_collections, of_engine, of_hub};
use kokeshi::{Device, Level, LoadOptions, Model, Precision};
use kokeshi_collections::{ModelLocation, fresh_revision};
use kokeshi_hub::{Check, HubConfig, ModelRef};
use pyo3::exceptions::{PyFileNotFoundError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A model by its name, and how it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EngineKey {
    /// As `--model` of the program.
    pub(crate) name: String,
    pub(crate) revision: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) threads: Option<usize>,
    pub(crate) precision: Option<String>,
    pub(crate) local_files_only: bool,
}

/// A loaded model and its threads.
pub(crate) struct LoadedEngine {
    pub(crate) model: Arc<Model>,
    location: ModelLocation,
    /// Its name, or the absolute path of its folder.
    pub(crate) name: String,
    revision: OnceLock<String>,
    threads: rayon::ThreadPool,
}

impl LoadedEngine {
    /// Runs `work` on this model, without threads that a parent process may have had.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce(&Model) -> T + Send) -> T {
        self.threads.install(|| work(&self.model))
    }

    /// What identifies its weights.
    pub(crate) fn revision(&self) -> PyResult<String> {
        if let Some(revision) = self.revision.get() {
            return Ok(revision.clone());
        }
        let revision = fresh_revision(&self.location).map_err(of_collections)?;
        Ok(self.revision.get_or_init(|| revision).clone())
    }
}

/// The engines of one process.
#[derive(Default)]
struct Engines {
    loaded: Mutex<HashMap<EngineKey, Arc<LoadedEngine>>>,
}

/// The process that made the engines, and they. Locked only by threads that have the interpreter's
/// lock, as has the thread that forks: so nobody holds it then.
static ENGINES: Mutex<Option<(u32, Arc<Engines>)>> = Mutex::new(None);

fn engines(_: Python<'_>) -> Arc<Engines> {
    let process = std::process::id();
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    match &*engines {
        Some((owner, engines)) if *owner == process => Arc::clone(engines),
        _ => {
            let own = Arc::new(Engines::default());
            // Those of the parent are forgotten: dropping them would wait for its threads.
            mem::forget(engines.replace((process, Arc::clone(&own))));
            own
        }
    }
}

/// The engine of `key`, which is loaded on first use.
///
/// # Errors
///
/// If the model cannot be found, downloaded or loaded.
pub(crate) fn engine(py: Python<'_>, key: &EngineKey) -> PyResult<Arc<LoadedEngine>> {
    let engines = engines(py);
    py.detach(|| {
        // Held while it loads: a second thread that wants it waits, and does not load it too.
        let mut loaded = engines.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = loaded.get(key) {
            return Ok(Arc::clone(engine));
        }
        let engine = Arc::new(load(key)?);
        loaded.insert(key.clone(), Arc::clone(&engine));
        Ok(engine)
    })
}

/// Gives up the engine of `key`; calls that use it come to their ends.
pub(crate) fn unload(py: Python<'_>, key: &EngineKey) {
    let engines = engines(py);
    py.detach(|| engines.loaded.lock().unwrap_or_else(PoisonError::into_inner).remove(key));
}

fn load(key: &EngineKey) -> PyResult<LoadedEngine> {
    let (location, options) = (locate(key)?, LoadOptions { device: device(key)? });
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(key.threads.unwrap_or(0))
        .thread_name(|number| format!("kokeshi {number}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start threads: {error}")))?;
    let model = threads.install(|| location.open(&options)).map_err(of_engine)?;
    let name = match &location {
        ModelLocation::Folder(folder) if Path::new(&key.name).is_dir() => {
            folder.canonicalize().unwrap_or_else(|_| folder.clone()).display().to_string()
        }
        _ => key.name.clone(),
    };
    Ok(LoadedEngine { model: Arc::new(model), location, name, revision: OnceLock::new(), threads })
}

/// Finds a model, and downloads it if that is allowed.
fn locate(key: &EngineKey) -> PyResult<ModelLocation> {
    let name = match &key.revision {
        Some(revision) => format!("{}@{revision}", key.name),
        None => key.name.clone(),
    };
    let (repo, revision) = match ModelRef::parse(&name).map_err(of_hub)? {
        ModelRef::Starter => return Ok(ModelLocation::Bundled),
        ModelRef::Folder(folder) => return Ok(ModelLocation::Folder(folder)),
        ModelRef::Repo { repo, revision } => (repo, revision),
    };
    let hub = HubConfig::from_env(&|name| std::env::var_os(name)).map_err(of_hub)?;
    if let Some(folder) = kokeshi_hub::locate(&hub, &repo, &revision).map_err(of_hub)? {
        match kokeshi_hub::check_files(&hub, &repo, &folder, Check::Changed) {
            Ok(_) => return Ok(ModelLocation::Folder(folder)),
            Err(kokeshi_hub::Error::Damaged { .. }) if !key.local_files_only && !hub.offline => {}
            Err(error) => return Err(of_hub(error)),
        }
    }
    if key.local_files_only || hub.offline {
        return Err(PyFileNotFoundError::new_err(format!(
            "model `{name}` is not on this machine; `kokeshi models pull {name}` downloads it"
        )));
    }
    let folder = kokeshi_hub::pull(&hub, &repo, &revision, &mut |_| ()).map_err(of_hub)?;
    Ok(ModelLocation::Folder(folder))
}

fn device(key: &EngineKey) -> PyResult<Device> {
    let precision = key.precision.as_deref().map(parsed_precision).transpose()?;
    let cpu = Device::Cpu { threads: key.threads, level: None::<Level>, precision };
    let on_card = |ordinal| Device::Cuda { ordinal, precision };
    let name = key.device.as_deref().unwrap_or("auto");
    match name {
        "cpu" => Ok(cpu),
        "auto" if key.threads.is_some() || precision == Some(Precision::Int8) => Ok(cpu),
        "auto" => Ok(kokeshi::first_card().map_or(cpu, |card| on_card(card.ordinal))),
        "cuda" => Ok(on_card(0)),
        "reference" => Ok(Device::Reference),
        _ => {
            let ordinal = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
            ordinal.map(on_card).ok_or_else(|| {
                PyValueError::new_err(format!(
                    "device '{name}' is not one of 'auto', 'cpu', 'cuda', 'cuda:N' and 'reference'"
                ))
            })
        }
    }
}

fn parsed_precision(name: &str) -> PyResult<Precision> {
    name.parse().map_err(|_| {
        let names = Precision::ALL.map(|precision| format!("'{precision}'")).join(", ");
        PyValueError::new_err(format!("precision '{name}' is not one of {names}"))
    })
}
