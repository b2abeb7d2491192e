//! Activations after a linear layer.

use super::PackedBatch;
use super::linear::Linear;
use super::lora::Tail;
use crate::constants::{ACTIVATED_ROWS, ACTIVATED_THREADS, OCTET, THREADS};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::states::States;

/// An activation that multiplies one half of a row by the other, gates first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `gelu(gate) · value`
    GeGlu,
    /// `max(gate, 0) · value`
    ReGlu,
}

arguments! {
    ActivateArguments {
        x: Address,
        y: Address,
        rows: i32,
        width: i32,
        ld_x: i32,
        ld_y: i32,
    }
}

arguments! {
    GeluRowsArguments {
        x: Address,
        rows: i32,
        width: i32,
        ld: i32,
        a: Address,
        adapters: Address,
        rank: i32,
        tail: i32,
    }
}

impl Gpu {
    /// GELU (exact, by the error function) in place, and the tail of `next`, the layer that reads
    /// the result.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn gelu(&self, x: &mut States, next: Option<(&Linear, &PackedBatch)>) -> Result<()> {
        let tail = Tail::new(self, x, next);
        x.has_tail.set(tail.is_some());
        if !tail.is_some() {
            return self.activate("gelu", x, x);
        }
        let arguments = GeluRowsArguments {
            x: self.address(x.memory()),
            rows: x.rows as i32,
            width: x.width as i32,
            ld: x.ld as i32,
            a: tail.a,
            adapters: tail.adapters,
            rank: tail.rank,
            tail: tail.len,
        };
        let launch = Launch::new("gelu_rows", x.rows.div_ceil(ACTIVATED_ROWS), ACTIVATED_THREADS);
        // SAFETY: the rows are those of `x`, and `Tail::new` has checked the tail's shape.
        unsafe { self.launch(launch, &arguments) }
    }

    /// A gated activation: `x` is twice as wide as `out`, gates first.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn gate(&self, gate: Gate, x: &States, out: &mut States) -> Result<()> {
        assert_eq!((x.rows, x.width), (out.rows, 2 * out.width), "gates and values");
        let kernel = match gate {
            Gate::GeGlu => "geglu",
            Gate::ReGlu => "reglu",
        };
        self.activate(kernel, x, out)
    }

    /// Starts a kernel that writes a row of `out` for each of `x`, which is at least as wide.
    fn activate(&self, kernel: &str, x: &States, out: &States) -> Result<()> {
        let arguments = ActivateArguments {
            x: self.address(x.memory()),
            y: self.address(out.memory()),
            rows: x.rows as i32,
            width: out.width as i32,
            ld_x: x.ld as i32,
            ld_y: out.ld as i32,
        };
        let octets = x.rows * out.width / OCTET;
        // SAFETY: the callers have checked the rows of both, and that `x` is as wide as the kernel
        // reads.
        unsafe { self.launch(Launch::new(kernel, octets.div_ceil(THREADS), THREADS), &arguments) }
    }
}
