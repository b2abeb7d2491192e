//! What a device must be able to do: a few coarse operations, each of which fuses where it can.

mod buffers;
mod cpu;
mod reference;

pub(crate) use cpu::Cpu;
pub(crate) use reference::Reference;

use crate::batch::Batch;
use crate::config::EncoderConfig;
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_kernels::layer_norm::Norm;
use kokeshi_kernels::turns::{Priority, Turn};
use std::fmt::Debug;
use std::ops::Range;

/// The operations of the forward pass. States are `[tokens, width]` on the device.
pub(crate) trait Backend: Debug + Send + Sync {
    /// A linear layer in the form in which the device reads it.
    type Linear: Debug + Send + Sync;
    /// Token states.
    type States;

    /// Waits until the calling thread may run passes with `priority`, where the device has turns.
    fn turn(&self, _priority: Priority) -> Option<Turn> {
        None
    }
    /// Takes a linear layer from the checkpoint to the device.
    fn linear(&self, weights: LinearWeights) -> Self::Linear;
    /// Bytes of memory that a linear layer takes.
    fn len_bytes(&self, linear: &Self::Linear) -> usize;
    /// Gathers the rows of `ids`, `[tokens, hidden]`.
    fn embed(&self, table: &Table, ids: &[u32], shape: &Shape<'_>) -> Self::States;
    /// `activation(x Wᵀ + bias + LoRA of each token's task)`
    fn project(&self, x: &Self::States, linear: &Self::Linear, shape: &Shape<'_>) -> Self::States;
    /// Normalises q and k of `[tokens, 3 * hidden]`, all heads of a token together.
    fn norm_qk(&self, qkv: &mut Self::States, norms: &[Norm; 2]);
    /// Attention inside each sequence: `[tokens, 3 * hidden]` → `[tokens, hidden]`.
    fn attend(&self, qkv: &Self::States, shape: &Shape<'_>) -> Self::States;
    /// `x ← LayerNorm(x)`
    fn norm(&self, x: &mut Self::States, norm: &Norm);
    /// `x ← LayerNorm(x + residual)`
    fn add_norm(&self, x: &mut Self::States, residual: &Self::States, norm: &Norm);
    /// Sums over token ranges, `[spans, hidden]`.
    fn pool(&self, x: &Self::States, hidden: usize, spans: &[Range<usize>]) -> Vec<f32>;
    /// All states.
    fn download(&self, x: &Self::States) -> Vec<f32>;
}

/// How a batch lies in memory.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) config: &'a EncoderConfig,
    /// Token range of each sequence.
    pub(crate) sequences: Vec<Range<usize>>,
    /// The adapter of each token.
    pub(crate) adapters: Vec<Option<usize>>,
}

impl<'a> Shape<'a> {
    pub(crate) fn new(config: &'a EncoderConfig, batch: &Batch) -> Self {
        let sequences: Vec<_> = batch.sequences().collect();
        let adapters = sequences.iter().zip(batch.adapters());
        let adapters =
            adapters.flat_map(|(sequence, &adapter)| sequence.clone().map(move |_| adapter));
        Self { config, adapters: adapters.collect(), sequences }
    }
}
