//! Models by the names that users give them, and devices by the options of the command line.

use crate::args::{ArithmeticArguments, DeviceArguments, DeviceKind, MachineArguments};
use crate::bytes;
use crate::card::{self, Card};
use crate::config;
use crate::env;
use crate::failure::{hinted, usage};
use crate::printer::Printer;
use kokeshi::{Device, Error, Level, LoadOptions, Model, Models, Precision};
use kokeshi_analysis::Compute;
use kokeshi_collections::ModelLocation;
use kokeshi_hub::{Check, KNOWN_MODELS, KnownModel, ModelRef};
use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Instant;

/// Locates a model, without the network. Files of a download that changed since they were compared with
/// their checksums are compared again.
pub(crate) fn locate(name: &str) -> anyhow::Result<ModelLocation> {
    let location = located(name)?;
    check(name, &location, Check::Changed)?;
    Ok(location)
}

/// Compares files of a downloaded model with their checksums, and returns how many were read.
pub(crate) fn check(name: &str, location: &ModelLocation, which: Check) -> anyhow::Result<usize> {
    match (ModelRef::parse(name)?, location) {
        (ModelRef::Repo { repo, .. }, ModelLocation::Folder(snapshot)) => {
            let checked = kokeshi_hub::check_files(&env::hub()?, &repo, snapshot, which);
            checked.map_err(|error| match error {
                kokeshi_hub::Error::Damaged { .. } => {
                    let hint = format!("`kokeshi models pull {name}` downloads what is damaged");
                    hinted(error.to_string(), hint)
                }
                other => other.into(),
            })
        }
        _ => Ok(0),
    }
}

fn located(name: &str) -> anyhow::Result<ModelLocation> {
    match ModelRef::parse(name)? {
        ModelRef::Starter => Ok(ModelLocation::Bundled),
        ModelRef::Folder(folder) => Ok(ModelLocation::Folder(expand_home(folder))),
        ModelRef::Repo { repo, revision } => {
            let cached = kokeshi_hub::locate(&env::hub()?, &repo, &revision)?;
            cached.map(ModelLocation::Folder).ok_or_else(|| {
                let message = format!("model `{name}` is not on this machine");
                hinted(message, format!("download it with `kokeshi models pull {name}`"))
            })
        }
    }
}

/// The name of a model in a form that works from any folder: the absolute path of a folder.
pub(crate) fn absolute_name(name: &str) -> String {
    match ModelRef::parse(name) {
        Ok(ModelRef::Folder(folder)) => {
            let folder = expand_home(folder);
            folder.canonicalize().unwrap_or(folder).display().to_string()
        }
        _ => name.to_owned(),
    }
}

/// The models of a command, each loaded on first use.
pub(crate) struct Loader {
    /// Never dropped: the system reclaims the memory at once, whereas freeing the many small
    /// allocations of v3's tokenizer takes a fifth of a second.
    models: ManuallyDrop<Models>,
    /// Which files of a download are compared with their checksums first.
    check: Check,
}

impl Loader {
    pub(crate) fn new(arguments: &DeviceArguments) -> anyhow::Result<Self> {
        let options = LoadOptions { device: device(&arguments.arithmetic)? };
        let models = ManuallyDrop::new(Models::new(options, arguments.memory_budget));
        Ok(Self { models, check: which_files(arguments) })
    }

    /// The model called `name`.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<Arc<Model>> {
        load(name, &self.models, self.check)
    }
}

fn which_files(arguments: &DeviceArguments) -> Check {
    if arguments.check_model { Check::All } else { Check::Changed }
}

/// The model called `name` on the device of `arguments`, freed when it is no longer in use: for a
/// command that loads one after the other.
pub(crate) fn load_alone(name: &str, arguments: &DeviceArguments) -> anyhow::Result<Arc<Model>> {
    let options = LoadOptions { device: device(&arguments.arithmetic)? };
    load(name, &Models::new(options, arguments.memory_budget), which_files(arguments))
}

fn load(name: &str, models: &Models, which: Check) -> anyhow::Result<Arc<Model>> {
    let location = located(name)?;
    check(name, &location, which)?;
    let start = Instant::now();
    let model = models.get(&location.to_string(), |options| location.open(options));
    let model = model.map_err(|error| match error {
        Error::Budget { bytes, budget, .. } => over_budget(name, bytes, budget),
        other => other.into(),
    })?;
    Printer::detect().detail(&format!(
        "model {name} ({location}) on {}, loaded in {:.2} s",
        model.device(),
        start.elapsed().as_secs_f64()
    ));
    Ok(model)
}

fn over_budget(name: &str, bytes: usize, budget: usize) -> anyhow::Error {
    let (size, budget) = (bytes::format(bytes as u64), bytes::format(budget as u64));
    hinted(
        format!("model `{name}` needs {size}; the memory budget is {budget}"),
        "raise --memory-budget, or leave it out",
    )
}

/// The catalogue's entry for a model, by its name or by the name of a folder, such as a clone of
/// its repository.
pub(crate) fn known(name: &str) -> anyhow::Result<Option<&'static KnownModel>> {
    Ok(match ModelRef::parse(name)? {
        ModelRef::Starter => KNOWN_MODELS.iter().find(|known| known.repo.is_none()),
        ModelRef::Repo { repo, .. } => kokeshi_hub::known(&repo),
        ModelRef::Folder(folder) => {
            let name = folder.file_name().and_then(OsStr::to_str);
            name.and_then(kokeshi_hub::known).filter(|known| known.repo.is_some())
        }
    })
}

/// `~/models/x` with the user's home folder: shells do not expand it in `--model=~/models/x`.
fn expand_home(folder: PathBuf) -> PathBuf {
    match (folder.strip_prefix("~"), env::home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder,
    }
}

/// The device that the options select. `auto` is the first card that can be used, unless an option
/// applies to the processor only.
pub(crate) fn device(arguments: &ArithmeticArguments) -> anyhow::Result<Device> {
    let ArithmeticArguments { machine, precision } = *arguments;
    let MachineArguments { device, threads, simd_level } = machine;
    let has_cpu_options = threads.is_some() || simd_level.is_some();
    match device {
        DeviceKind::Auto if has_cpu_options || precision == Some(Precision::Int8) => cpu(arguments),
        DeviceKind::Auto => match card::first() {
            Some(ordinal) => on_card(ordinal, precision),
            None => cpu(arguments),
        },
        DeviceKind::Cpu => cpu(arguments),
        DeviceKind::Cuda(_) if has_cpu_options => Err(usage(
            "--threads and --simd-level apply to the processor only, not to `--device cuda`",
        )),
        DeviceKind::Cuda(ordinal) => {
            let card = Card::open(ordinal)?;
            on_card(card.ordinal(), precision)
        }
        DeviceKind::Reference => match (has_cpu_options, precision) {
            (false, None | Some(Precision::F32)) => Ok(Device::Reference),
            _ => Err(usage(
                "--threads, --simd-level and --precision do not apply to `--device reference`, \
                 which runs plain loops on one thread",
            )),
        },
    }
}

fn cpu(arguments: &ArithmeticArguments) -> anyhow::Result<Device> {
    let ArithmeticArguments { machine, precision } = *arguments;
    let MachineArguments { threads, simd_level: level, .. } = machine;
    if precision == Some(Precision::F16) {
        return Err(usage(
            "--precision f16 needs an NVIDIA card; the processor supports f32, bf16 and int8",
        ));
    }
    if precision == Some(Precision::Bf16) && !level.unwrap_or_else(Level::best).has_bf16_dot() {
        warn_of_bf16();
    }
    let threads = threads.or(config::current().threads());
    Ok(Device::Cpu { threads: threads.map(usize::from), level, precision })
}

/// Warns, once, of a precision that costs both time and exactness. The figure is that of
/// `kokeshi bench --quick --threads 1` with and without it, on a processor with AVX2.
fn warn_of_bf16() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        Printer::detect().warning(
            "this processor cannot multiply bf16: on such a one, `kokeshi bench` took 1.2 to 2 times \
             as long with `--precision bf16` as with `f32`",
        );
    });
}

fn on_card(ordinal: usize, precision: Option<Precision>) -> anyhow::Result<Device> {
    if precision == Some(Precision::Int8) {
        return Err(usage(
            "--precision int8 needs the processor; a card supports f32, f16 and bf16",
        ));
    }
    Ok(Device::Cuda { ordinal, precision })
}

/// The device of `--device auto` on this machine, and the reason if it is not a card.
pub(crate) fn describe_auto_device() -> String {
    card::describe_first().unwrap_or_else(|reason| format!("cpu ({reason})"))
}

/// Threads and instruction set of the command line, for arithmetic on vectors.
pub(crate) fn compute(arguments: &DeviceArguments) -> anyhow::Result<Compute> {
    compute_on(arguments.arithmetic.machine)
}

/// As [`compute`].
pub(crate) fn compute_on(machine: MachineArguments) -> anyhow::Result<Compute> {
    let MachineArguments { threads, simd_level, .. } = machine;
    let threads = threads.or(config::current().threads());
    Ok(Compute::new(threads.map(usize::from), simd_level)?)
}
