//! The network: from checkpoint files to token states, on interchangeable backends.
//!
//! [`Checkpoint::open`] reads headers and maps the weights, [`load`] finds the parts of the network
//! among the tensors and hands them to a backend, and [`Forward`] runs a [`Batch`].

mod adapter;
mod alibi;
mod backend;
mod batch;
mod checkpoint;
mod config;
mod encoder;
mod error;
mod files;
mod lora;
mod mapped;
mod matrix;
mod named;
mod names;
mod quantize;
mod synthesize;
mod table;
mod tensor;
mod weights;

#[cfg(feature = "cuda")]
pub use backend::{card_dtype, default_card_precision};
pub use batch::Batch;
pub use checkpoint::{Checkpoint, TensorInfo};
pub use config::{EncoderConfig, Position, TaskConfig, released_tasks};
pub use encoder::Forward;
pub use error::{Error, Result};
#[cfg(feature = "cuda")]
pub use kokeshi_cuda::{Card, Error as CardError, card, cards, first_card};
pub use kokeshi_kernels::gemm::Activation;
pub use kokeshi_kernels::turns::{Priority, Turn};
pub use kokeshi_kernels::{Level, Precision, cosine};
pub use names::Layout;
pub use quantize::{TableBits, quantize};
pub use synthesize::{SyntheticShape, synthesize};

use kokeshi_kernels::threads::Threads;

/// The device of an encoder, and its precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu {
        /// Number of worker threads; `None` is one for each CPU that the process may use.
        threads: Option<usize>,
        /// Instruction set; `None` is the best that the CPU has.
        level: Option<Level>,
        /// How products are computed; `None` is what [`default_precision`] returns.
        precision: Option<Precision>,
    },
    /// An NVIDIA card: it needs the feature `cuda`.
    Cuda {
        /// Its index on this machine, from 0.
        ordinal: usize,
        /// How products are computed, and the type of states and weights; `None` is
        /// [`Precision::Bf16`] where the card multiplies it, else [`Precision::F16`].
        precision: Option<Precision>,
    },
    /// Plain loops in f64: the definition of the correct result, and very slow.
    Reference,
}

impl Device {
    /// The CPU with [`Precision::F32`], whatever the checkpoint's dtype.
    pub const EXACT: Self =
        Self::Cpu { threads: None, level: None, precision: Some(Precision::F32) };
}

impl Default for Device {
    fn default() -> Self {
        Self::Cpu { threads: None, level: None, precision: None }
    }
}

/// The precision on the CPU if none is requested: bf16 if it is fast at `level` and the weights have
/// no more digits than bf16 (they are bf16, or quantized), else f32.
pub fn default_precision(checkpoint: &Checkpoint, level: Level) -> Precision {
    let few_digits = checkpoint.is_bf16() || checkpoint.is_quantized();
    if few_digits && level.has_bf16_dot() { Precision::Bf16 } else { Precision::F32 }
}

/// Loads the weights of `checkpoint` on `device`.
///
/// # Errors
///
/// If a tensor is missing, has the wrong shape or is not used by the network, or the device cannot
/// be used.
pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Forward>> {
    let weights = weights::read_weights(checkpoint)?;
    let config = checkpoint.config();
    Ok(match *device {
        Device::Cpu { threads, level, precision } => {
            let threads = threads.unwrap_or_else(Threads::available);
            let level = level.unwrap_or_else(Level::best);
            if !level.is_available() {
                return Err(Error::Level { level: level.name(), best: Level::best().name() });
            }
            let precision = precision.unwrap_or_else(|| default_precision(checkpoint, level));
            let cpu = backend::Cpu::new(config, level, precision, threads)?;
            Box::new(encoder::Encoder::new(config, cpu, weights)?)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda { .. } => return Err(Error::NoCuda),
        #[cfg(feature = "cuda")]
        Device::Cuda { ordinal, precision } => {
            let precision = precision.map_or_else(|| default_card_precision(ordinal), Ok)?;
            let cuda = backend::Cuda::new(config, ordinal, precision)?;
            Box::new(encoder::Encoder::new(config, cuda, weights)?)
        }
        Device::Reference => Box::new(encoder::Encoder::new(config, backend::Reference, weights)?),
    })
}
