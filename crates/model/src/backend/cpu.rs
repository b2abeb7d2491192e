//! The CPU: packed weights, SIMD kernels, one pool of threads.

use super::buffers::{Buffer, Buffers};
use super::{Backend, BatchLayout};
use crate::alibi::alibi_slopes;
use crate::config::{EncoderConfig, Position};
use crate::error::{Error, Result};
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_kernels::attention::{self, Heads, attention};
use kokeshi_kernels::gemm::{Layer, Storage, Weights, Workspace, linear};
use kokeshi_kernels::layer_norm::{self, Norm};
use kokeshi_kernels::pooling::sum_spans;
use kokeshi_kernels::rope::RopeTable;
use kokeshi_kernels::threads::Threads;
use kokeshi_kernels::turns::{Priority, Turn};
use kokeshi_kernels::{Level, Precision};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The CPU backend. Several forward passes may run at once; they share the threads.
#[derive(Debug)]
pub(crate) struct Cpu {
    level: Level,
    precision: Precision,
    threads: Threads,
    positions: Positions,
    buffers: Buffers,
    workspaces: Mutex<Vec<Workspace>>,
}

/// The tables of positions that attention reads, computed once.
#[derive(Debug)]
enum Positions {
    Rope(RopeTable),
    Alibi(Vec<f32>),
}

impl Positions {
    fn new(config: &EncoderConfig) -> Self {
        match config.position {
            Position::Rope { theta } => {
                Self::Rope(RopeTable::new(config.max_tokens, config.head_dim(), theta))
            }
            Position::Alibi => Self::Alibi(alibi_slopes(config.heads)),
        }
    }

    fn borrow(&self) -> attention::Position<'_> {
        match self {
            Self::Rope(table) => attention::Position::Rope(table),
            Self::Alibi(slopes) => attention::Position::Alibi(slopes),
        }
    }
}

impl Cpu {
    pub(crate) fn new(
        config: &EncoderConfig,
        level: Level,
        precision: Precision,
        threads: usize,
    ) -> Result<Self> {
        if !Precision::ON_CPU.contains(&precision) {
            return Err(Error::Precision {
                precision,
                device: "the CPU",
                supported: "f32, bf16 and int8",
            });
        }
        let pool = Threads::shared(threads);
        let threads = pool.map_err(|source| Error::Threads { count: threads, source })?;
        Ok(Self {
            level,
            precision,
            threads,
            positions: Positions::new(config),
            buffers: Buffers::default(),
            workspaces: Mutex::default(),
        })
    }

    /// Runs `work` on bands of rows of `x`, spread over the threads.
    fn rows(&self, x: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        /// Maximum number of rows per task, and minimum number of values: enough to outweigh the
        /// cost of scheduling it.
        const BAND: usize = 16;
        const VALUES: usize = 8192;
        let share = (x.len() / width).div_ceil(self.threads.count());
        let rows = BAND.min(share).max(VALUES.div_ceil(width));
        let bands = x.chunks_mut(rows * width).enumerate().collect();
        self.threads.run(bands, |(i, band): (usize, &mut [f32]), _| work(i * rows, band));
    }
}

impl Backend for Cpu {
    type Linear = Weights;
    type Norm = Norm;
    type Table = Table;
    type States = Buffer;
    type Pass<'a> = BatchLayout<'a>;

    fn describe(&self) -> String {
        let (level, threads) = (self.level.name(), self.threads.count());
        let noun = if threads == 1 { "thread" } else { "threads" };
        format!("cpu ({level}, {}, {threads} {noun})", self.precision)
    }

    fn turn(&self, priority: Priority) -> Option<Turn> {
        Some(self.threads.turn(priority))
    }

    fn within<R: Send>(&self, pass: impl FnOnce() -> R + Send) -> R {
        self.threads.within(pass)
    }

    fn linear(&self, weights: LinearWeights) -> Result<Weights> {
        let LinearWeights { matrix, bias, lora, activation } = weights;
        let storage = match self.precision {
            Precision::Int8 => Storage::Int8,
            Precision::Bf16 => Storage::Bf16Dot,
            Precision::F32 if matrix.is_bf16() => Storage::Bf16,
            Precision::F32 | Precision::F16 => Storage::F32,
        };
        // The integers of a quantized checkpoint are used as they are, not rounded again.
        let scales = (storage == Storage::Int8).then(|| matrix.row_scales()).flatten();
        let keep_integers = scales.is_some();
        let scales = scales.unwrap_or_default();
        let (rows, inputs) = (matrix.rows, matrix.inputs);
        let layer = Layer { rows, inputs, scales, bias, lora, activation };
        let read_row = |row, to: &mut [f32]| match keep_integers {
            true => matrix.read_integers(row, to),
            false => matrix.read_row(row, to),
        };
        let packed = Weights::pack(&self.threads, self.level, storage, layer, &read_row);
        matrix.release();
        Ok(packed)
    }

    fn norm(&self, norm: Norm) -> Result<Norm> {
        Ok(norm)
    }

    fn table(&self, table: Table) -> Result<Table> {
        Ok(table)
    }

    fn len_bytes(&self, weights: &Weights) -> usize {
        weights.len_bytes()
    }

    fn table_len_bytes(&self, table: &Table) -> usize {
        table.len_bytes()
    }

    fn check_table(&self, table: &Table) -> Result<()> {
        table.check()
    }

    fn pass<'a>(&'a self, batch: BatchLayout<'a>) -> Result<BatchLayout<'a>> {
        Ok(batch)
    }

    fn embed(&self, batch: &BatchLayout<'_>, table: &Table) -> Buffer {
        let hidden = table.hidden();
        let mut x = self.buffers.take(batch.ids.len() * hidden);
        self.rows(&mut x, hidden, |first, band| {
            let tokens = batch.ids[first..].iter().zip(&batch.adapters[first..]);
            for (row, (&id, &adapter)) in band.chunks_exact_mut(hidden).zip(tokens) {
                table.gather(id as usize, adapter, row);
            }
        });
        x
    }

    fn project(
        &self,
        batch: &BatchLayout<'_>,
        x: &Buffer,
        weights: &Weights,
        _next: Option<&Weights>,
    ) -> Buffer {
        let lock = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = lock().pop().unwrap_or_default();
        let mut out = self.buffers.take(batch.adapters.len() * weights.outputs());
        linear(&self.threads, x, weights, &batch.adapters, &mut workspace, &mut out);
        lock().push(workspace);
        out
    }

    fn norm_qk(&self, _pass: &BatchLayout<'_>, qkv: &mut Buffer, norms: &[Norm; 2]) {
        let hidden = norms[0].gain.len();
        self.rows(qkv, 3 * hidden, |_, band| {
            for token in band.chunks_exact_mut(3 * hidden) {
                for (row, norm) in token.chunks_exact_mut(hidden).zip(norms) {
                    layer_norm::add_norm(self.level, row, None, norm);
                }
            }
        });
    }

    fn attend(&self, batch: &BatchLayout<'_>, qkv: &Buffer) -> Buffer {
        let config = batch.config;
        let heads = Heads {
            sequences: &batch.sequences,
            heads: config.heads,
            head_dim: config.head_dim(),
            position: self.positions.borrow(),
        };
        let mut out = self.buffers.take(batch.adapters.len() * config.hidden);
        attention(&self.threads, self.level, self.precision, qkv, &heads, &mut out);
        out
    }

    fn add_norm(
        &self,
        _pass: &BatchLayout<'_>,
        x: &mut Buffer,
        residual: Option<&Buffer>,
        norm: &Norm,
        _next: Option<&Weights>,
    ) {
        let hidden = norm.gain.len();
        self.rows(x, hidden, |first, band| {
            let residual = residual.map(|residual| &residual[first * hidden..][..band.len()]);
            layer_norm::add_norm(self.level, band, residual, norm);
        });
    }

    fn pool(
        &self,
        batch: &BatchLayout<'_>,
        x: &Buffer,
        spans: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>> {
        let mut sums = vec![0.0; spans.len() * width];
        sum_spans(&self.threads, x, [batch.config.hidden, width], spans, &mut sums);
        Ok(sums)
    }

    fn download(&self, _pass: &BatchLayout<'_>, x: &Buffer) -> Result<Vec<f32>> {
        Ok(x.to_vec())
    }
}
