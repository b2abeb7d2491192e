//! From what the user calls a model to the model.

use crate::args::{DeviceArguments, DeviceKind, ModelArguments};
use crate::env;
use crate::failure::{hinted, usage};
use kokeshi::{Device, LoadOptions, Model};
use kokeshi_hub::ModelRef;
use std::path::PathBuf;

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

/// Loads the model that `--model` and its device options choose.
pub(crate) fn load(arguments: &ModelArguments) -> anyhow::Result<Model> {
    load_named(&arguments.model, &arguments.device)
}

/// Loads `name` for a device.
pub(crate) fn load_named(name: &str, device: &DeviceArguments) -> anyhow::Result<Model> {
    let options = LoadOptions { device: self::device(device)? };
    Ok(match find(name)? {
        Place::Bundled => Model::starter(&options)?,
        Place::Folder(folder) => Model::open(&folder, &options)?,
    })
}

/// `~/models/x` as a folder of the user's home: shells leave it as it is in `--model=~/models/x`.
fn expanded(folder: PathBuf) -> PathBuf {
    match (folder.strip_prefix("~"), env::home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder,
    }
}

fn device(arguments: &DeviceArguments) -> anyhow::Result<Device> {
    let threads = arguments.threads.map(usize::from);
    match (arguments.device, threads, arguments.simd_level) {
        (DeviceKind::Cpu, threads, level) => Ok(Device::Cpu { threads, level }),
        (DeviceKind::Reference, None, None) => Ok(Device::Reference),
        (DeviceKind::Reference, ..) => Err(usage(
            "--threads and --simd-level do not apply to `--device reference`, which runs plain \
             loops on one thread",
        )),
    }
}
