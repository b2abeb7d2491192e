//! LayerNorm, with the residual sum before it and the low-rank tail after it.

use super::PackedBatch;
use super::linear::Linear;
use super::lora::Tail;
use crate::constants::{NARROW_ROW, THREADS, WARP, WIDE_ROW};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::memory::Memory;
use crate::states::States;

/// A layer normalization: gain and bias in f32.
#[derive(Debug)]
pub struct Norm {
    /// `[width]`
    pub gain: Memory,
    /// `[width]`
    pub bias: Memory,
    /// Added to the variance.
    pub eps: f32,
    /// Elements of a row.
    pub width: usize,
}

arguments! {
    AddNormArguments {
        x: Address,
        residual: Address,
        gain: Address,
        bias: Address,
        eps: f32,
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
    /// `x = LayerNorm(x + residual)` over part `part` of each row, where parts are as wide as the
    /// norm; and the tail of `next`, the layer that reads the result.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn add_norm(
        &self,
        x: &mut States,
        part: usize,
        residual: Option<&States>,
        norm: &Norm,
        next: Option<(&Linear, &PackedBatch)>,
    ) -> Result<()> {
        let width = norm.width;
        assert!((part + 1) * width <= x.width && width <= WIDE_ROW, "part {part} of {x:?}");
        assert!(norm.gain.len().min(norm.bias.len()) >= 4 * width, "gain and bias of {width}");
        if let Some(residual) = residual {
            assert_eq!(residual.shape(), x.shape(), "the residual's shape");
        }
        let tail = Tail::new(self, x, next);
        let arguments = AddNormArguments {
            x: self.address(x.memory()).offset(part * width * self.dtype.len_bytes()),
            residual: residual.map_or(Address::NULL, |residual| self.address(residual.memory())),
            gain: self.address(&norm.gain),
            bias: self.address(&norm.bias),
            eps: norm.eps,
            rows: x.rows as i32,
            width: width as i32,
            ld: x.ld as i32,
            a: tail.a,
            adapters: tail.adapters,
            rank: tail.rank,
            tail: tail.len,
        };
        let kernel = if width <= NARROW_ROW { "add_norm_4" } else { "add_norm_8" };
        let launch = Launch::new(kernel, x.rows.div_ceil(THREADS / WARP), THREADS);
        // SAFETY: the part is inside each row, residual, gain and bias have the shapes checked
        // above, and `Tail::new` has checked the tail's.
        unsafe { self.launch(launch, &arguments) }?;
        x.has_tail.set(tail.is_some());
        Ok(())
    }
}
