//! Linear layers: `y = activation(x Wᵀ + bias + LoRA)`.
//!
//! The blocking is that of Goto and van de Geijn (2008): a block of packed rows of `x` stays in the
//! level-2 cache, the panels of W stream through it, and a register tile multiplies. With vectors of
//! AVX2, the depth is cut so that the part of a panel stays in the level-1 cache. Bias, low-rank
//! update and activation are applied to the tile before it leaves the registers.

pub(crate) mod element;
mod pack;
mod quads;
pub(crate) mod strips;
pub(crate) mod tile;

pub use pack::{Layer, LoraBank, ReadRow, Storage, Weights};

use crate::grid::{Rect, grid};
use crate::isa::{BLOCK, Isa, Kernel, MATRIX, MAX_LANES};
use crate::math::{gelu, relu};
use crate::memory::Scratch;
use crate::rows::{dot, store};
use crate::threads::Threads;
use element::{Element, Float, Pairs, RowScale, Scales, Widened, pack_row};
use pack::Panels;
use quads::Quads;
use strips::{MR, Strips};
use tile::{NV, Sums, multiply, nr};

/// The activation after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Exact (erf) GELU.
    Gelu,
    /// `gelu(gate) · value`: the layer yields half as many outputs as W has rows (Shazeer 2020).
    GeGlu,
    /// `max(gate, 0) · value`
    ReGlu,
}

impl Activation {
    /// Whether it multiplies one half of a layer's rows by the other.
    pub fn is_gated(self) -> bool {
        match self {
            Self::Gelu => false,
            Self::GeGlu | Self::ReGlu => true,
        }
    }
}

/// Bytes of packed rows that should stay in the level-2 cache: half of the 512 KiB of Zen 1 to 3.
const ROW_BLOCK_BYTES: usize = 256 * 1024;
/// The same with matrix hardware, which comes with 2 MiB of that cache. The weights are read once
/// per block, and tiles consume them faster than the next cache delivers.
const MATRIX_ROW_BLOCK_BYTES: usize = 1024 * 1024;
/// Maximum number of rows in such a block.
const MAX_ROW_BLOCK: usize = 768;
/// Bytes of a strip and a panel that should stay in the level-1 cache of a CPU without AVX-512, at
/// least 32 KiB: less than all of it, because the next strip and the outputs pass through too.
const DEPTH_BLOCK_BYTES: usize = 24 * 1024;

/// Steps of the depth that are multiplied at once, out of `steps`.
///
/// Wider vectors came with caches of 48 KiB and 2 MiB, whose bandwidth hides the longer way.
fn depth_block<E: Element>(lanes: usize, steps: usize) -> usize {
    let step_bytes = NV * lanes * size_of::<E::Column>() + MR * size_of::<E::Row>();
    let most = if lanes < MAX_LANES { DEPTH_BLOCK_BYTES / step_bytes } else { steps };
    let blocks = steps.div_ceil(most.max(BLOCK));
    steps.div_ceil(blocks.max(1)).next_multiple_of(BLOCK)
}

/// Buffers of a call to [`linear`], reused between calls.
#[derive(Debug, Default)]
pub struct Workspace {
    rows: Scratch,
    scales: Vec<RowScale>,
    down: Vec<f32>,
}

/// Computes `out = activation(x Wᵀ + bias + scale · (x Aᵀ) Bᵀ)`, where A and B are those of each
/// row's adapter, and bias and activation those of the packed layer.
///
/// `x` is `[rows, inputs]`, `out` is `[rows, outputs]`; `adapters` has one entry per row: an index
/// into the weights' bank, or `None` for the base weights alone.
///
/// # Panics
///
/// If the shapes do not agree.
pub fn linear(
    threads: &Threads,
    x: &[f32],
    weights: &Weights,
    adapters: &[Option<usize>],
    workspace: &mut Workspace,
    out: &mut [f32],
) {
    assert_eq!(x.len(), adapters.len() * weights.inputs);
    assert_eq!(out.len(), adapters.len() * weights.outputs());
    let Workspace { rows, scales, down } = workspace;
    down.resize(adapters.len() * weights.rank(), 0.0);
    scales.resize(adapters.len(), RowScale::NONE);
    let call = Call { threads, x, weights, adapters };
    match &weights.panels {
        Panels::F32(panels) => call.run::<Float>(panels, rows, scales, down, out),
        Panels::Bf16(panels) => call.run::<Widened>(panels, rows, scales, down, out),
        Panels::Bf16Dot(panels) => call.run::<Pairs>(panels, rows, scales, down, out),
        Panels::Int8(panels) => call.run::<Quads>(panels, rows, scales, down, out),
    }
}

/// The arguments of [`linear`] that do not depend on the storage.
struct Call<'a> {
    threads: &'a Threads,
    x: &'a [f32],
    weights: &'a Weights,
    adapters: &'a [Option<usize>],
}

impl Call<'_> {
    fn run<E: Element>(
        &self,
        panels: &[E::Column],
        rows: &mut Scratch,
        scales: &mut [RowScale],
        down: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { threads, weights, adapters, .. } = *self;
        let (steps, lanes) = (E::steps(weights.inputs), weights.level.lanes());
        let has_matrix = weights.level.has_matrix();
        let strips = Strips::new::<E>(lanes, has_matrix, adapters.len());
        let rows = rows.take(strips.padded() * steps);
        self.prepare_rows::<E>(strips, steps, rows, scales, down);
        let depth_block = depth_block::<E>(lanes, steps);
        let product = Product::<E> {
            weights,
            panels,
            strips,
            steps,
            depth_block,
            rows,
            scales,
            down,
            adapters,
        };

        let block_bytes = if has_matrix { MATRIX_ROW_BLOCK_BYTES } else { ROW_BLOCK_BYTES };
        let row_bytes = size_of::<E::Row>() * steps;
        let row_ends = strips.bands((block_bytes / row_bytes.max(1)).min(MAX_ROW_BLOCK));
        let panels = weights.columns.panels();
        let bands = self.tasks().div_ceil(row_ends.len().max(1)).clamp(1, panels.max(1));
        let end = |band| band * panels / bands * weights.columns.panel_outputs();
        let col_ends: Vec<_> = (1..=bands).map(|band| end(band).min(weights.outputs())).collect();
        let rects = grid(out, weights.outputs(), &row_ends, &col_ends);
        threads.run(rects, |rect, [scratch, ..]| {
            let len = rect.rows().len().next_multiple_of(MATRIX) * NV * lanes;
            let partial = if depth_block < steps { scratch.take(len) } else { &mut [] };
            weights.level.run(Block { product: &product, rect, partial });
        });
    }

    /// Number of tasks of the product: sixteen per thread even out the end, where one thread waits for
    /// another, but each is long enough to outweigh the cost of scheduling it.
    fn tasks(&self) -> usize {
        /// Multiplications of a task: some ten microseconds.
        const PRODUCTS: usize = 1 << 20;
        let products = self.x.len() * self.weights.outputs();
        let most = (products / PRODUCTS).max(1).next_multiple_of(self.threads.count());
        (16 * self.threads.count()).min(most)
    }

    /// Packs the rows of `x` and computes the first half of each row's low-rank update.
    fn prepare_rows<E: Element>(
        &self,
        strips: Strips,
        steps: usize,
        rows: &mut [E::Row],
        scales: &mut [RowScale],
        down: &mut [f32],
    ) {
        /// Maximum number of rows per task, and minimum number of values: enough to outweigh the
        /// cost of scheduling it.
        const ROWS: usize = 32;
        const VALUES: usize = 8192;
        let Self { x, weights, adapters, .. } = *self;
        let (inputs, rank) = (weights.inputs, weights.rank());
        let (mut rows, mut scales, mut down) = (rows, scales, down);
        let share = adapters.len().div_ceil(self.threads.count());
        let mut start = 0;
        let task = |end| {
            let rows_of_task = start..end;
            start = end;
            let (count, padded) = (rows_of_task.len(), strips.at(end - 1).end - rows_of_task.start);
            Prepare::<E> {
                weights,
                strips,
                steps,
                first: rows_of_task.start,
                x: &x[rows_of_task.start * inputs..end * inputs],
                strip_steps: rows.split_off_mut(..padded * steps).unwrap_or_default(),
                scales: scales.split_off_mut(..count).unwrap_or_default(),
                adapters: &adapters[rows_of_task],
                down: down.split_off_mut(..count * rank).unwrap_or_default(),
            }
        };
        let count = share.min(ROWS).max(VALUES.div_ceil(inputs));
        let tasks: Vec<_> = strips.bands(count).into_iter().map(task).collect();
        self.threads.run(tasks, |task, _| weights.level.run(task));
    }
}

/// Packs a few strips of rows and computes `down[row] = A x[row]` for the adapter of each row.
struct Prepare<'a, E: Element> {
    weights: &'a Weights,
    strips: Strips,
    steps: usize,
    /// The first row.
    first: usize,
    x: &'a [f32],
    strip_steps: &'a mut [E::Row],
    scales: &'a mut [RowScale],
    adapters: &'a [Option<usize>],
    down: &'a mut [f32],
}

impl<E: Element> Kernel for Prepare<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { strips, steps, first, .. } = self;
        let depth = self.weights.inputs;
        for (row, (x, scale)) in (first..).zip(self.x.chunks_exact(depth).zip(self.scales)) {
            *scale = E::scale(v, x);
            let (at, stride) = strips.location(row, steps);
            pack_row::<I, E>(v, x, *scale, &mut self.strip_steps[at - first * steps..], stride);
        }
        let Some(bank) = &self.weights.lora else { return };
        let rows = self.x.chunks_exact(depth).zip(self.down.chunks_exact_mut(bank.rank));
        for ((x, down), adapter) in rows.zip(self.adapters) {
            let Some(adapter) = adapter else { continue };
            let a = &bank.down[adapter * bank.rank * depth..][..bank.rank * depth];
            for (down, a) in down.iter_mut().zip(a.chunks_exact(depth)) {
                *down = dot(v, x, a);
            }
        }
    }
}

/// The inputs of every block of the output.
struct Product<'a, E: Element> {
    weights: &'a Weights,
    panels: &'a [E::Column],
    strips: Strips,
    /// Steps of the depth.
    steps: usize,
    /// Steps that are multiplied at once.
    depth_block: usize,
    /// Packed rows of x, strip by strip.
    rows: &'a [E::Row],
    /// `[rows]`
    scales: &'a [RowScale],
    /// `[rows, rank]`
    down: &'a [f32],
    adapters: &'a [Option<usize>],
}

/// One rectangle of the output. Rows start at a strip, columns at a panel.
struct Block<'a, E: Element> {
    product: &'a Product<'a, E>,
    rect: Rect<'a>,
    /// Sums of a panel over the first blocks of the depth, `[rows, nr]`; empty if there is one
    /// block.
    partial: &'a mut [u32],
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { product, mut rect, partial } = self;
        let (steps, rows, nr) = (product.steps, rect.rows(), nr::<I>());
        let outputs = product.weights.columns.panel_outputs();
        let mut sums = Sums::new();
        for (first, depth) in rect.cols().step_by(outputs).flat_map(|first| {
            let blocks = (0..steps).step_by(product.depth_block);
            blocks.map(move |start| (first, start..(start + product.depth_block).min(steps)))
        }) {
            let col = first / outputs * nr;
            let (panel, rest) =
                product.panels[col * steps + depth.start * nr..].split_at(depth.len() * nr);
            let bias = &product.weights.bias[col..];
            let bias = [v.load(bias), v.load(&bias[I::LANES..])];
            let scales = product.weights.scales(v, col);
            // Meanwhile the next columns are prefetched from memory, a part of them with each strip.
            let ahead = &rest[..panel.len().min(rest.len())];
            let strips = product.strips.within(rows.clone());
            let mut ahead = ahead.chunks(panel.len().div_ceil(strips.clone().count()));
            for strip in strips {
                let height = strip.len();
                let packed = &product.rows[strip.start * steps + depth.start * height..];
                let mut epilogue = Epilogue {
                    partial: partial.get_mut((strip.start - rows.start) * nr..).unwrap_or_default(),
                    is_first: depth.start == 0,
                    is_last: depth.end == steps,
                    bias,
                    scales,
                    product,
                    rect: &mut rect,
                    start: strip.start,
                    col,
                    first,
                };
                let packed = &packed[..depth.len() * height];
                let ahead = ahead.next().unwrap_or_default();
                multiply::<I, E>(v, height, packed, panel, ahead, &mut sums, &mut epilogue);
            }
        }
    }
}

/// Adds up the blocks of the depth; then adds bias and low-rank update, applies the activation, and
/// writes the tile to the output.
struct Epilogue<'a, 'b, I: Isa, E: Element> {
    /// Sums of the strip over the previous blocks of the depth.
    partial: &'a mut [u32],
    is_first: bool,
    is_last: bool,
    bias: [I::F32; NV],
    scales: [Scales<I>; NV],
    product: &'a Product<'a, E>,
    rect: &'a mut Rect<'b>,
    /// The tile's first row.
    start: usize,
    /// The tile's first packed column.
    col: usize,
    /// The tile's first output.
    first: usize,
}

impl<I: Isa, E: Element> tile::Epilogue<I, E> for Epilogue<'_, '_, I, E> {
    #[inline(always)]
    fn row(&mut self, v: I, m: usize, mut sums: [E::Sum<I>; NV]) {
        if !(self.is_first && self.is_last) {
            let partial = &mut self.partial[m * nr::<I>()..][..nr::<I>()];
            for n in 0..NV {
                let partial = &mut partial[n * I::LANES..][..I::LANES];
                if !self.is_first {
                    sums[n] = E::add(v, E::load_sum(v, partial), sums[n]);
                }
                if !self.is_last {
                    E::store_sum(v, sums[n], partial);
                }
            }
        }
        let row = self.start + m;
        if self.is_last && row < self.rect.rows().end {
            let values = self.values(v, row, sums);
            let from = self.first - self.rect.cols().start;
            let to = &mut self.rect.row_mut(row)[from..];
            activate(v, self.product.weights.activation, values, to);
        }
    }
}

impl<I: Isa, E: Element> Epilogue<'_, '_, I, E> {
    /// The sums of a row with bias and low-rank update.
    #[inline(always)]
    fn values(&self, v: I, row: usize, sums: [E::Sum<I>; NV]) -> [I::F32; NV] {
        let Product { weights, scales, adapters, down, .. } = self.product;
        let mut values = self.bias;
        for n in 0..NV {
            values[n] = v.add(E::value(v, sums[n], scales[row], self.scales[n]), values[n]);
        }
        if let (Some(bank), Some(adapter)) = (&weights.lora, adapters[row]) {
            let width = weights.bias.len();
            let down = &down[row * bank.rank..][..bank.rank];
            let up = &bank.up[adapter * bank.rank * width..][..bank.rank * width];
            for (&down, up) in down.iter().zip(up.chunks_exact(width)) {
                for n in 0..NV {
                    let up = v.load(&up[self.col + n * I::LANES..]);
                    values[n] = v.mul_add(v.splat(down), up, values[n]);
                }
            }
        }
        values
    }
}

/// Writes the activated tile row to the front of `to`, cut to its length.
#[inline(always)]
fn activate<I: Isa>(v: I, activation: Option<Activation>, [a, b]: [I::F32; NV], to: &mut [f32]) {
    match activation {
        None => store(v, [a, b], to),
        Some(Activation::Gelu) => store(v, [gelu(v, a), gelu(v, b)], to),
        Some(Activation::GeGlu) => store(v, [v.mul(gelu(v, a), b)], to),
        Some(Activation::ReGlu) => store(v, [v.mul(relu(v, a), b)], to),
    }
}

#[cfg(test)]
mod tests;
