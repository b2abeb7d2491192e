//! The machine that is timed, with its defaults resolved.

use super::floor::Peaks;
use super::report::DeviceInfo;
use crate::card::Card;
use crate::failure::usage;
use anyhow::Context;
use kokeshi::{Checkpoint, Device, Level, Precision};
use kokeshi_kernels::peak;
use kokeshi_kernels::threads::Threads;

/// A processor or a card.
#[derive(Clone, Debug)]
pub(super) enum Machine {
    Cpu { threads: usize, level: Level, precision: Precision },
    Cuda { card: Card, precision: Precision },
}

impl Machine {
    pub(super) fn new(device: Device, checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        match device {
            Device::Cpu { threads, level, precision } => {
                let level = level.unwrap_or_else(Level::best);
                let default = || kokeshi_model::default_precision(checkpoint, level);
                let threads = threads.unwrap_or_else(Threads::available);
                Ok(Self::Cpu { threads, level, precision: precision.unwrap_or_else(default) })
            }
            Device::Cuda { ordinal, precision } => {
                let card = Card::open(ordinal)?;
                let precision = precision.map_or_else(|| card.default_precision(), Ok)?;
                Ok(Self::Cuda { card, precision })
            }
            Device::Reference => Err(usage(
                "cannot time `--device reference`: it defines the correct results and is very slow",
            )),
        }
    }

    pub(super) fn device(&self) -> Device {
        match *self {
            Self::Cpu { threads, level, precision } => Device::Cpu {
                threads: Some(threads),
                level: Some(level),
                precision: Some(precision),
            },
            Self::Cuda { ref card, precision } => {
                Device::Cuda { ordinal: card.ordinal(), precision: Some(precision) }
            }
        }
    }

    pub(super) fn is_card(&self) -> bool {
        matches!(self, Self::Cuda { .. })
    }

    /// The precision for bounds and sizes of weights: both 16-bit types count as bf16.
    pub(super) fn precision(&self) -> Precision {
        match *self {
            Self::Cuda { precision: Precision::F16, .. } => Precision::Bf16,
            Self::Cpu { precision, .. } | Self::Cuda { precision, .. } => precision,
        }
    }

    /// Measures the peak rates.
    pub(super) fn peaks(&self) -> anyhow::Result<Peaks> {
        Ok(match *self {
            Self::Cpu { threads, level, precision } => {
                let threads = Threads::new(threads)
                    .with_context(|| format!("cannot start {threads} threads"))?;
                Peaks {
                    flops_per_second: peak::operations(&threads, level, precision),
                    bytes_per_second: peak::bandwidth(&threads, level),
                }
            }
            Self::Cuda { ref card, precision } => {
                let (flops_per_second, bytes_per_second) = card.peaks(precision)?;
                Peaks { flops_per_second, bytes_per_second }
            }
        })
    }

    pub(super) fn info(&self) -> DeviceInfo {
        match self {
            Self::Cpu { threads, level, precision } => DeviceInfo {
                kind: "cpu",
                precision: precision.name(),
                simd_level: Some(level.name()),
                threads: Some(*threads),
                card: None,
            },
            Self::Cuda { card, precision } => DeviceInfo {
                kind: "cuda",
                precision: precision.name(),
                simd_level: None,
                threads: None,
                card: Some(card.name().to_owned()),
            },
        }
    }
}
