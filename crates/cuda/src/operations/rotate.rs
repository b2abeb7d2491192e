//! Rotary positions of q and k, for the attention kernels that do not rotate themselves.

use super::PackedBatch;
use super::attention::{Attention, Position};
use crate::constants::{OCTET, THREADS};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::states::States;

arguments! {
    RotateArguments {
        qkv: Address,
        positions: Address,
        cos: Address,
        sin: Address,
        rows: i32,
        heads: i32,
        half: i32,
        ld: i32,
    }
}

impl Gpu {
    /// Rotates q and k in place, in the sequences whose attention kernel does not.
    ///
    /// # Panics
    ///
    /// If a sequence is longer than the tables. The caller has checked the shape of `qkv`.
    pub(super) fn rotate(
        &self,
        qkv: &States,
        batch: &PackedBatch,
        attention: &Attention,
    ) -> Result<()> {
        let Position::Rope { cos, sin, positions } = &attention.position else { return Ok(()) };
        let half = attention.head_dim / 2;
        assert!(batch.longest <= *positions, "a sequence of {} tokens is too long", batch.longest);
        assert!(
            cos.len().min(sin.len()) >= 4 * positions * half,
            "tables of {positions} positions"
        );
        if batch.tiles().all(|(kernel, _)| kernel.rotates()) {
            return Ok(());
        }
        let arguments = RotateArguments {
            qkv: self.address(qkv.memory()),
            positions: batch.positions(self),
            cos: self.address(cos),
            sin: self.address(sin),
            rows: qkv.rows as i32,
            heads: attention.heads as i32,
            half: half as i32,
            ld: qkv.ld as i32,
        };
        let octets = qkv.rows * 2 * attention.heads * half / OCTET;
        // SAFETY: `qkv` has q and k of all heads, and the tables have every position of the batch.
        unsafe { self.launch(Launch::new("rotate", octets.div_ceil(THREADS), THREADS), &arguments) }
    }
}
