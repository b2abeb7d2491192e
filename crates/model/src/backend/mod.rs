//! The operations of a device: a few coarse ones, each of which fuses what it can.

mod buffers;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

pub(crate) use cpu::Cpu;
#[cfg(feature = "cuda")]
pub(crate) use cuda::Cuda;
#[cfg(feature = "cuda")]
pub use cuda::{card_dtype, default_card_precision};
pub(crate) use reference::Reference;

use crate::batch::Batch;
use crate::config::EncoderConfig;
use crate::error::Result;
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_kernels::layer_norm::Norm;
use kokeshi_kernels::turns::{Priority, Turn};
use std::fmt::Debug;
use std::ops::Range;

/// The operations of the forward pass. States are `[tokens, width]` on the device.
///
/// A device may run operations in the background. If one fails, the pass keeps the error, later
/// operations do nothing, and [`Backend::pool`] and [`Backend::download`], which wait for the
/// device, return it.
pub(crate) trait Backend: Debug + Send + Sync {
    /// A linear layer in the device's form.
    type Linear: Debug + Send + Sync;
    /// A layer normalization in the device's form.
    type Norm: Debug + Send + Sync;
    /// The embedding table in the device's form.
    type Table: Debug + Send + Sync;
    /// Token states, `[tokens, width]`.
    type States;
    /// One forward pass.
    type Pass<'a>
    where
        Self: 'a;

    /// A description of the device and its precision, for people.
    fn describe(&self) -> String;
    /// Waits for the right to run passes with `priority`; `None` if the device has no priorities.
    fn turn(&self, _priority: Priority) -> Option<Turn> {
        None
    }
    /// Runs a whole pass on the thread that suits the device best.
    fn within<R: Send>(&self, pass: impl FnOnce() -> R + Send) -> R {
        pass()
    }
    /// Copies a linear layer from the checkpoint to the device.
    fn linear(&self, weights: LinearWeights) -> Result<Self::Linear>;
    /// Copies a layer normalization to the device.
    fn norm(&self, norm: Norm) -> Result<Self::Norm>;
    /// Copies the embedding table to the device, or leaves it where it is.
    fn table(&self, table: Table) -> Result<Self::Table>;
    /// Bytes of memory that a linear layer occupies.
    fn len_bytes(&self, linear: &Self::Linear) -> usize;
    /// Bytes of memory that the table occupies.
    fn table_len_bytes(&self, table: &Self::Table) -> usize;
    /// Refuses a table that can no longer be read.
    fn check_table(&self, _table: &Self::Table) -> Result<()> {
        Ok(())
    }

    /// Reserves the memory of a pass: [`Error::DeviceMemory`](crate::Error::DeviceMemory) if it
    /// does not fit.
    fn pass<'a>(&'a self, batch: BatchLayout<'a>) -> Result<Self::Pass<'a>>;
    /// Gathers the rows of the batch's ids, `[tokens, hidden]`.
    fn embed(&self, pass: &Self::Pass<'_>, table: &Self::Table) -> Self::States;
    /// `activation(x Wᵀ + bias + LoRA of each token's task)`. Here and below, `next` is the layer
    /// that reads the result: a device can compute the first half of that layer's low-rank update
    /// along with the result.
    fn project(
        &self,
        pass: &Self::Pass<'_>,
        x: &Self::States,
        linear: &Self::Linear,
        next: Option<&Self::Linear>,
    ) -> Self::States;
    /// Normalizes q and k of `[tokens, 3 * hidden]`, all heads of a token together.
    fn norm_qk(&self, pass: &Self::Pass<'_>, qkv: &mut Self::States, norms: &[Self::Norm; 2]);
    /// Attention inside each sequence: `[tokens, 3 * hidden]` → `[tokens, hidden]`.
    fn attend(&self, pass: &Self::Pass<'_>, qkv: &Self::States) -> Self::States;
    /// `x ← LayerNorm(x + residual)`, or of x alone.
    fn add_norm(
        &self,
        pass: &Self::Pass<'_>,
        x: &mut Self::States,
        residual: Option<&Self::States>,
        norm: &Self::Norm,
        next: Option<&Self::Linear>,
    );
    /// Sums of the first `width` elements of states over token ranges, `[spans, width]`: nothing
    /// else is copied back from the device.
    fn pool(
        &self,
        pass: &Self::Pass<'_>,
        x: &Self::States,
        spans: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>>;
    /// All states, `[tokens, width]`.
    fn download(&self, pass: &Self::Pass<'_>, x: &Self::States) -> Result<Vec<f32>>;
}

/// The layout of a batch, token by token.
#[derive(Debug)]
pub(crate) struct BatchLayout<'a> {
    pub(crate) config: &'a EncoderConfig,
    /// Token ids of all sequences.
    pub(crate) ids: &'a [u32],
    /// Token range of each sequence.
    pub(crate) sequences: Vec<Range<usize>>,
    /// The adapter of each token.
    pub(crate) adapters: Vec<Option<usize>>,
}

impl<'a> BatchLayout<'a> {
    pub(crate) fn new(config: &'a EncoderConfig, batch: &'a Batch) -> Self {
        let sequences: Vec<_> = batch.sequences().collect();
        let adapters = sequences.iter().zip(batch.adapters());
        let adapters =
            adapters.flat_map(|(sequence, &adapter)| sequence.clone().map(move |_| adapter));
        Self { config, ids: batch.ids(), adapters: adapters.collect(), sequences }
    }
}
