//! The encoder's operations on NVIDIA cards.
//!
//! [`cards`] tells what is there, [`Gpu::open`] takes one, and its methods run one operation each on
//! [`States`], in order, without waiting. Driver and cuBLASLt are looked for at run time, so that one
//! program serves machines with and without a card; the kernels (`kernels/`) are compiled ahead and are
//! part of the program. Nothing here knows models or files.

#![expect(unsafe_code, reason = "the driver is a foreign library; see each SAFETY")]

mod blas;
mod card;
mod error;
mod gpu;
mod launch;
mod memory;
mod peak;
mod states;

pub use blas::{Layer, Linear};
pub use card::{Card, best_number, card, cards, first_card};
pub use error::{Error, Result};
pub use gpu::{Code, Gpu};
pub use launch::{Activation, Attention, Embedding, Norm, Position, Tiles};
pub use memory::Memory;
pub use peak::{Peak, peak};
pub use states::{Arena, States};

/// How states and weights lie on the card. Sums are f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// For checking: no tensor cores.
    F32,
    /// Capability 7.0 and later.
    F16,
    /// Capability 8.0 and later.
    Bf16,
}

impl Number {
    /// Bytes of a number.
    pub fn len_bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// As in the kernels' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}
