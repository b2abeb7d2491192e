//! The CPU: packed weights, SIMD kernels, one pool of threads.

use super::buffers::{Buffer, Buffers};
use super::{Backend, Shape};
use crate::config::EncoderConfig;
use crate::error::{Error, Result};
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_kernels::Level;
use kokeshi_kernels::attention::{Heads, attention};
use kokeshi_kernels::gemm::{Activation, Storage, Weights, Workspace, linear};
use kokeshi_kernels::layer_norm::{self, Norm};
use kokeshi_kernels::pooling::sum_spans;
use kokeshi_kernels::rope::RopeTable;
use kokeshi_kernels::threads::Threads;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The CPU backend. Several forward passes may run at once; they share the threads.
#[derive(Debug)]
pub(crate) struct Cpu {
    level: Level,
    threads: Threads,
    rope: RopeTable,
    buffers: Buffers,
    workspaces: Mutex<Vec<Workspace>>,
}

impl Cpu {
    pub(crate) fn new(config: &EncoderConfig, level: Level, threads: usize) -> Result<Self> {
        let pool = Threads::new(threads);
        let threads = pool.map_err(|source| Error::Threads { count: threads, source })?;
        let rope = RopeTable::new(config.max_tokens, config.head_dim(), config.rope_theta);
        Ok(Self { level, threads, rope, buffers: Buffers::default(), workspaces: Mutex::default() })
    }

    /// Runs `work` on bands of rows of `x`, spread over the threads.
    fn rows(&self, x: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        const BAND: usize = 16;
        let bands = x.chunks_mut(BAND * width).enumerate().collect();
        self.threads.run(bands, |(i, band): (usize, &mut [f32]), _| work(i * BAND, band));
    }
}

impl Backend for Cpu {
    type Linear = Weights;
    type States = Buffer;

    fn linear(&self, weights: LinearWeights) -> Weights {
        let LinearWeights { matrix, bias, lora } = weights;
        let storage = if matrix.is_bf16() { Storage::Bf16 } else { Storage::F32 };
        let shape = [matrix.outputs, matrix.inputs];
        let mut read_row = |row, to: &mut [f32]| matrix.read_row(row, to);
        let packed = Weights::pack(self.level, storage, shape, &mut read_row, &bias, lora);
        matrix.release();
        packed
    }

    fn embed(&self, table: &Table, ids: &[u32], shape: &Shape<'_>) -> Buffer {
        let hidden = table.hidden();
        let mut x = self.buffers.take(ids.len() * hidden);
        self.rows(&mut x, hidden, |first, band| {
            let tokens = ids[first..].iter().zip(&shape.adapters[first..]);
            for (row, (&id, &adapter)) in band.chunks_exact_mut(hidden).zip(tokens) {
                table.gather(id as usize, adapter, row);
            }
        });
        x
    }

    fn project(
        &self,
        x: &Buffer,
        weights: &Weights,
        shape: &Shape<'_>,
        activation: Option<Activation>,
    ) -> Buffer {
        let lock = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = lock().pop().unwrap_or_default();
        let mut out = self.buffers.take(shape.adapters.len() * weights.outputs());
        linear(&self.threads, x, weights, &shape.adapters, activation, &mut workspace, &mut out);
        lock().push(workspace);
        out
    }

    fn attend(&self, qkv: &Buffer, shape: &Shape<'_>) -> Buffer {
        let config = shape.config;
        let heads = Heads {
            sequences: &shape.sequences,
            heads: config.heads,
            head_dim: config.head_dim(),
            rope: &self.rope,
        };
        let mut out = self.buffers.take(shape.adapters.len() * config.hidden);
        attention(&self.threads, self.level, qkv, &heads, &mut out);
        out
    }

    fn norm(&self, x: &mut Buffer, norm: &Norm) {
        self.rows(x, norm.gain.len(), |_, band| layer_norm::add_norm(self.level, band, None, norm));
    }

    fn add_norm(&self, x: &mut Buffer, residual: &Buffer, norm: &Norm) {
        let hidden = norm.gain.len();
        self.rows(x, hidden, |first, band| {
            let residual = &residual[first * hidden..][..band.len()];
            layer_norm::add_norm(self.level, band, Some(residual), norm);
        });
    }

    fn pool(&self, x: &Buffer, hidden: usize, spans: &[Range<usize>]) -> Vec<f32> {
        let mut sums = vec![0.0; spans.len() * hidden];
        sum_spans(&self.threads, x, hidden, spans, &mut sums);
        sums
    }

    fn download(&self, x: &Buffer) -> Vec<f32> {
        x.to_vec()
    }
}
