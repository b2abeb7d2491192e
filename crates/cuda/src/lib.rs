//! The encoder's operations on NVIDIA cards.
//!
//! [`cards`] lists the cards, [`Gpu::open`] opens one, and its methods run one operation each on
//! [`States`], in order, without waiting. Driver and cuBLASLt are loaded at run time, so that one
//! program serves machines with and without a card; the kernels (`kernels/`) are compiled ahead and
//! are part of the program. Nothing here knows models or files.

#![expect(unsafe_code, reason = "the driver is a foreign library; see each SAFETY")]

mod blas;
mod card;
mod constants;
mod error;
mod gpu;
mod launch;
mod memory;
mod operations;
mod peak;
mod states;

pub use card::{Card, best_dtype, card, cards, first_card};
pub use error::{Error, Result};
pub use gpu::{Code, Gpu};
pub use kokeshi_kernels::DType;
pub use memory::Memory;
pub use operations::{Attention, Embedding, Gate, Layer, Linear, Norm, PackedBatch, Position};
pub use peak::{Peak, peak};
pub use states::{Arena, States};
