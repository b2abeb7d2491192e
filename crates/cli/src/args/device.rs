//! Arguments that select a model, the device that runs it, and how it computes.

use super::one_of;
use crate::bytes;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use kokeshi::{Level, Precision};

/// The model and its device.
#[derive(Args, Debug)]
pub(crate) struct ModelArguments {
    /// Known name (see `kokeshi models list`), hub id `owner/name[@revision]`, or folder of the
    /// model
    #[arg(long, value_name = "MODEL", default_value = "starter")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// The device of models and the memory that they may use.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DeviceArguments {
    #[command(flatten)]
    pub(crate) arithmetic: ArithmeticArguments,
    /// Memory limit for all loaded models, such as `4GB` or `1.5GiB`; the least recently used are
    /// unloaded to make room [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse, env = "KOKESHI_MEMORY_BUDGET")]
    pub(crate) memory_budget: Option<usize>,
    /// Compare all files of downloaded models with their checksums before they are loaded, not only
    /// those that changed since the last time
    #[arg(long)]
    pub(crate) check_model: bool,
}

/// The device and its arithmetic.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ArithmeticArguments {
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    /// Precision of products [default: `bf16` if the model is stored in bf16 and the processor can
    /// multiply it, otherwise `f32`; on a card `bf16`, or `f16` on older ones]
    #[arg(
        long,
        value_name = "PRECISION",
        value_parser = precisions(),
        env = "KOKESHI_PRECISION"
    )]
    pub(crate) precision: Option<Precision>,
}

/// The device, in all precisions.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct MachineArguments {
    /// Device: `cpu`, an NVIDIA card (`cuda`, or `cuda:1` for the second), `auto` (a card if there
    /// is one), or `reference` (plain loops that define the correct result)
    #[arg(
        long,
        value_name = "DEVICE",
        value_parser = DeviceKind::parse,
        default_value = "auto",
        env = "KOKESHI_DEVICE"
    )]
    pub(crate) device: DeviceKind,
    /// Number of worker threads; vectors do not depend on it [default: one per core]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..),
        env = "KOKESHI_THREADS"
    )]
    pub(crate) threads: Option<u16>,
    /// Instruction set [default: the fastest that this processor supports]
    #[arg(long, value_name = "LEVEL", value_parser = level, env = "KOKESHI_SIMD_LEVEL")]
    pub(crate) simd_level: Option<Level>,
}

/// Parses a precision, and describes each in the help.
pub(super) fn precisions() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: Precision| {
        PossibleValue::new(precision.name()).help(match precision {
            Precision::F32 => "As exact as the published implementation in f32",
            Precision::Bf16 => {
                "Factors rounded to bf16: vectors move by less than 0.0002 in cosine"
            }
            Precision::F16 => "States and weights in f16, on a card only",
            Precision::Int8 => {
                "Linear layers in eight bits, on the processor only: half the memory of bf16, and \
                 vectors move by less than 0.005 in cosine"
            }
        })
    };
    PossibleValuesParser::new(Precision::ALL.map(value)).try_map(|name| name.parse::<Precision>())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Auto,
    Cpu,
    Cuda(usize),
    Reference,
}

impl DeviceKind {
    /// Parses the value of --device.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "reference" => Ok(Self::Reference),
            _ => {
                let ordinal = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                let expected = "expected `auto`, `cpu`, `cuda`, `cuda:N` (the number of a card, \
                                from 0) or `reference`";
                ordinal.map(Self::Cuda).ok_or_else(|| expected.to_owned())
            }
        }
    }
}

/// Parses a level that this processor can run.
fn level(name: &str) -> Result<Level, String> {
    one_of(Level::ALL.into_iter().filter(|level| level.is_available()), Level::name, name)
}
