//! Linear layers: `y = activation(x Wᵀ + bias + LoRA)`.
//!
//! The blocking is that of Goto and van de Geijn (2008) without its split of the depth: a block of
//! packed rows of `x` stays in the level-2 cache, the panels of W stream through it, and a register
//! tile multiplies. Bias, low-rank update and activation are applied to the tile before it leaves
//! the registers.

pub(crate) mod element;
mod pack;
pub(crate) mod tile;

pub use pack::{Layer, LoraBank, ReadRow, Storage, Weights};

use crate::grid::{Rect, even_ends, grid};
use crate::isa::{BLOCK, Isa, Kernel};
use crate::math::{gelu, relu};
use crate::memory::Scratch;
use crate::rows::{dot, store};
use crate::threads::Threads;
use element::{Element, Float, Pairs, Quads, Widened, pack_row};
use pack::Panels;
use tile::{NV, Sums, multiply, nr, strip_rows};

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

/// Buffers of a call to [`linear`], reused between calls.
#[derive(Debug, Default)]
pub struct Workspace {
    rows: Scratch,
    scales: Vec<f32>,
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
    scales.resize(adapters.len(), 1.0);
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
        scales: &mut [f32],
        down: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { threads, weights, adapters, .. } = *self;
        let (steps, has_matrix) = (E::steps(weights.inputs), weights.level.has_matrix());
        let strip = strip_rows::<E>(weights.level.lanes(), has_matrix, adapters.len());
        let rows = rows.take(adapters.len().next_multiple_of(strip) * steps);
        self.prepare_rows::<E>(strip, steps, rows, scales, down);
        let product = Product::<E> { weights, panels, strip, steps, rows, scales, down, adapters };

        let block_bytes = if has_matrix { MATRIX_ROW_BLOCK_BYTES } else { ROW_BLOCK_BYTES };
        let strip_bytes = size_of::<E::Row>() * steps * strip;
        let block = (block_bytes / strip_bytes.max(1)).clamp(1, 64) * strip;
        let row_ends = even_ends(adapters.len(), block);
        let panels = weights.columns.panels();
        // Eight tasks per thread even out the end, where one thread would wait for another.
        let bands = (8 * threads.count()).div_ceil(row_ends.len().max(1)).clamp(1, panels.max(1));
        let band = panels.div_ceil(bands.max(1)) * weights.columns.panel_outputs();
        let col_ends = even_ends(weights.outputs(), band);
        let rects = grid(out, weights.outputs(), &row_ends, &col_ends);
        threads.run(rects, |rect, _| weights.level.run(Block { product: &product, rect }));
    }

    /// Packs the rows of `x` and computes the first half of each row's low-rank update.
    fn prepare_rows<E: Element>(
        &self,
        strip: usize,
        steps: usize,
        rows: &mut [E::Row],
        scales: &mut [f32],
        down: &mut [f32],
    ) {
        /// Rows per task: enough to outweigh the cost of scheduling it.
        const ROWS: usize = 32;
        let weights = self.weights;
        let share = self.adapters.len().div_ceil(self.threads.count());
        let count = share.clamp(1, ROWS).next_multiple_of(strip);
        let mut down = down.chunks_mut((count * weights.rank()).max(1));
        let tasks: Vec<_> = self
            .x
            .chunks(count * weights.inputs)
            .zip(rows.chunks_mut(count * steps))
            .zip(scales.chunks_mut(count).zip(self.adapters.chunks(count)))
            .map(|((x, strips), (scales, adapters))| {
                let down = down.next().unwrap_or_default();
                Prepare::<E> { weights, strip, steps, x, strips, scales, adapters, down }
            })
            .collect();
        self.threads.run(tasks, |task, _| weights.level.run(task));
    }
}

/// Packs a few strips of rows and computes `down[row] = A x[row]` for the adapter of each row.
struct Prepare<'a, E: Element> {
    weights: &'a Weights,
    strip: usize,
    steps: usize,
    x: &'a [f32],
    strips: &'a mut [E::Row],
    scales: &'a mut [f32],
    adapters: &'a [Option<usize>],
    down: &'a mut [f32],
}

impl<E: Element> Kernel for Prepare<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { strip, steps, .. } = self;
        let depth = self.weights.inputs;
        for (i, (row, scale)) in self.x.chunks_exact(depth).zip(self.scales).enumerate() {
            *scale = E::scale(v, row);
            let first = i / strip * strip * steps + i % strip * BLOCK;
            pack_row::<I, E>(v, row, *scale, &mut self.strips[first..], strip * BLOCK);
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
    /// Rows of a strip.
    strip: usize,
    /// Steps of the depth.
    steps: usize,
    /// Packed rows of x, strip by strip.
    rows: &'a [E::Row],
    /// `[rows]`
    scales: &'a [f32],
    /// `[rows, rank]`
    down: &'a [f32],
    adapters: &'a [Option<usize>],
}

/// One rectangle of the output. Rows start at a strip, columns at a panel.
struct Block<'a, E: Element> {
    product: &'a Product<'a, E>,
    rect: Rect<'a>,
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { product, mut rect } = self;
        let (strip, steps, cols) = (product.strip, product.steps, rect.cols());
        let outputs = product.weights.columns.panel_outputs();
        let mut sums = Sums::new();
        for first in cols.clone().step_by(outputs) {
            let col = first / outputs * nr::<I>();
            let (panel, rest) = product.panels[col * steps..].split_at(nr::<I>() * steps);
            // Meanwhile the next panel is prefetched from memory, a part of it with each strip.
            let ahead = &rest[..panel.len().min(rest.len())];
            let mut ahead = ahead.chunks(panel.len().div_ceil(rect.rows().len().div_ceil(strip)));
            for start in rect.rows().step_by(strip) {
                let rows = &product.rows[start * steps..][..strip * steps];
                let mut epilogue = Epilogue { product, rect: &mut rect, start, col, first };
                let ahead = ahead.next().unwrap_or_default();
                multiply::<I, E>(v, rows, panel, ahead, &mut sums, &mut epilogue);
            }
        }
    }
}

/// Adds bias and low-rank update to a tile, applies the activation, and writes it to the output.
struct Epilogue<'a, 'b, E: Element> {
    product: &'a Product<'a, E>,
    rect: &'a mut Rect<'b>,
    /// The tile's first row.
    start: usize,
    /// The tile's first packed column.
    col: usize,
    /// The tile's first output.
    first: usize,
}

impl<I: Isa, E: Element> tile::Epilogue<I, E> for Epilogue<'_, '_, E> {
    #[inline(always)]
    fn row(&mut self, v: I, m: usize, sums: [E::Sum<I>; NV]) {
        let row = self.start + m;
        if row < self.rect.rows().end {
            let values = self.product.values(v, row, self.col, sums);
            let from = self.first - self.rect.cols().start;
            let to = &mut self.rect.row_mut(row)[from..];
            activate(v, self.product.weights.activation, values, to);
        }
    }
}

impl<E: Element> Product<'_, E> {
    /// The sums of a row and the panel whose first packed column is `col`, with bias and low-rank
    /// update.
    #[inline(always)]
    fn values<I: Isa>(&self, v: I, row: usize, col: usize, sums: [E::Sum<I>; NV]) -> [I::F32; NV] {
        let (weights, row_scale) = (self.weights, self.scales[row]);
        let mut values = [v.splat(0.0); NV];
        for n in 0..NV {
            let scales = weights.scales(row_scale, col + n * I::LANES);
            let value = E::value(v, sums[n], scales);
            values[n] = v.add(value, v.load(&weights.bias[col + n * I::LANES..]));
        }
        if let (Some(bank), Some(adapter)) = (&weights.lora, self.adapters[row]) {
            let width = weights.bias.len();
            let down = &self.down[row * bank.rank..][..bank.rank];
            let up = &bank.up[adapter * bank.rank * width..][..bank.rank * width];
            for (&down, up) in down.iter().zip(up.chunks_exact(width)) {
                for n in 0..NV {
                    let up = v.load(&up[col + n * I::LANES..]);
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
