//! From what the user calls a model to the model.

use crate::args::{self, ArithmeticArguments, DeviceArguments, DeviceKind};
use crate::bytes;
use crate::env;
use crate::failure::{hinted, usage};
use kokeshi::{Checkpoint, Device, Error, LoadOptions, Model, Models, Precision};
use kokeshi_hub::{KNOWN, Known, ModelRef};
use std::ffi::OsStr;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the files of a model are.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this program.
    Bundled,
    /// In a folder: the user's own, or a snapshot in the hub's cache.
    Folder(PathBuf),
}

/// Finds a model without the network.
pub(crate) fn find(name: &str) -> anyhow::Result<Place> {
    match ModelRef::parse(name)? {
        ModelRef::Starter => Ok(Place::Bundled),
        ModelRef::Folder(folder) => Ok(Place::Folder(expanded(folder))),
        ModelRef::Repo { repo, revision } => {
            let cached = kokeshi_hub::locate(&env::hub()?, &repo, &revision)?;
            cached.map(Place::Folder).ok_or_else(|| {
                let message = format!("model `{name}` is not on this machine");
                hinted(message, format!("`kokeshi models pull {name}` downloads it"))
            })
        }
    }
}

/// The name of a model that still means it elsewhere: a folder's absolute path.
pub(crate) fn lasting(name: &str) -> String {
    match ModelRef::parse(name) {
        Ok(ModelRef::Folder(folder)) => {
            let folder = expanded(folder);
            folder.canonicalize().unwrap_or(folder).display().to_string()
        }
        _ => name.to_owned(),
    }
}

/// The models of a call, each loaded when it is first asked for.
pub(crate) struct Loader {
    /// Not given back at the end: the system takes the memory at once, where freeing the tokenizer of
    /// v3 piece by piece takes a fifth of a second.
    models: ManuallyDrop<Models>,
}

impl Loader {
    pub(crate) fn new(arguments: &DeviceArguments) -> anyhow::Result<Self> {
        let options = LoadOptions { device: device(&arguments.arithmetic)? };
        Ok(Self { models: ManuallyDrop::new(Models::new(options, arguments.memory_budget)) })
    }

    /// The model that the user calls `name`.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<Arc<Model>> {
        let place = find(name)?;
        let model = self.models.get(&place.to_string(), |options| place.open(options));
        model.map_err(|error| match error {
            Error::Budget { bytes, budget, .. } => over_budget(name, bytes, budget),
            other => other.into(),
        })
    }
}

fn over_budget(name: &str, bytes: usize, budget: usize) -> anyhow::Error {
    let (size, budget) = (bytes::shown(bytes as u64), bytes::shown(budget as u64));
    hinted(
        format!("model `{name}` takes {size}, more than the memory budget of {budget}"),
        "give more with --memory-budget, or leave it out",
    )
}

impl Place {
    /// The configuration and the weights, without a tokenizer.
    pub(crate) fn checkpoint(&self) -> kokeshi::Result<Checkpoint> {
        Ok(match self {
            Self::Bundled => Checkpoint::from_bytes(
                kokeshi_starter::CONFIG,
                Some(kokeshi_starter::SENTENCE_TRANSFORMERS_CONFIG),
                kokeshi_starter::WEIGHTS,
            )?,
            Self::Folder(folder) => Checkpoint::open(folder)?,
        })
    }

    /// Loads the model.
    pub(crate) fn open(&self, options: &LoadOptions) -> kokeshi::Result<Model> {
        match self {
            Self::Bundled => Model::starter(options),
            Self::Folder(folder) => Model::open(folder, options),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("in this program"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// The catalogue's entry of a model: by its name, or by a folder of that name, as a clone of its
/// repository has it.
pub(crate) fn known(name: &str) -> anyhow::Result<Option<&'static Known>> {
    Ok(match ModelRef::parse(name)? {
        ModelRef::Starter => KNOWN.iter().find(|known| known.repo.is_none()),
        ModelRef::Repo { repo, .. } => kokeshi_hub::known(&repo),
        ModelRef::Folder(folder) => {
            let name = folder.file_name().and_then(OsStr::to_str);
            name.and_then(kokeshi_hub::known).filter(|known| known.repo.is_some())
        }
    })
}

/// `~/models/x` as a folder of the user's home: shells leave it as it is in `--model=~/models/x`.
fn expanded(folder: PathBuf) -> PathBuf {
    match (folder.strip_prefix("~"), env::home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder,
    }
}

/// The device that the options ask for.
pub(crate) fn device(arguments: &ArithmeticArguments) -> anyhow::Result<Device> {
    let threads = arguments.threads.map(usize::from);
    let precision = arguments.precision.map(|precision| match precision {
        args::Precision::F32 => Precision::F32,
        args::Precision::Bf16 => Precision::Bf16,
        args::Precision::Int8 => Precision::Int8,
    });
    match (arguments.device, threads, arguments.simd_level, precision) {
        (DeviceKind::Cpu, threads, level, precision) => {
            Ok(Device::Cpu { threads, level, precision })
        }
        (DeviceKind::Reference, None, None, None | Some(Precision::F32)) => Ok(Device::Reference),
        (DeviceKind::Reference, ..) => Err(usage(
            "--threads, --simd-level and --precision do not apply to `--device reference`, which \
             runs plain loops on one thread",
        )),
    }
}
