//! Linear layers: `y = activation(x Wᵀ + bias + LoRA)`.
//!
//! The blocking is that of Goto and van de Geijn (2008) without its split of the depth: a block of
//! packed rows of `x` stays in the level-2 cache, the panels of W pass through it, and a register
//! tile multiplies. Bias, low-rank update and activation are applied to the tile before
//! it leaves the registers.

mod pack;
pub(crate) mod tile;

use pack::pack_rows;
pub use pack::{Layer, LoraBank, Storage, Weights};

use crate::grid::{Rect, even_ends, grid};
use crate::isa::{Isa, Kernel};
use crate::math::{gelu, relu};
use crate::threads::Threads;
use pack::Panels;
use tile::{Element, MR, NV, Row, nr, tile};

/// What follows a linear layer.
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
    /// Whether it multiplies one half of a layer's rows with the other.
    pub fn is_gated(self) -> bool {
        match self {
            Self::Gelu => false,
            Self::GeGlu | Self::ReGlu => true,
        }
    }
}

/// Bytes of packed rows that should stay in the level-2 cache: half of the 512 KiB of Zen 1 to 3.
const ROW_BLOCK_BYTES: usize = 256 * 1024;

/// Buffers of a call to [`linear`], reused between calls.
#[derive(Debug, Default)]
pub struct Workspace {
    rows: Vec<f32>,
    pairs: Vec<u32>,
    down: Vec<f32>,
}

/// Computes `out = activation(x Wᵀ + bias + scale · (x Aᵀ) Bᵀ)`, where A and B are those of each
/// row's adapter, and bias and activation those of the packed layer.
///
/// `x` is `[rows, inputs]`, `out` is `[rows, outputs]`; `adapters` has one entry a row: an index
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
    let Workspace { rows, pairs, down } = workspace;
    down.resize(adapters.len() * weights.rank(), 0.0);
    let call = Call { threads, x, weights, adapters };
    match &weights.panels {
        Panels::F32(panels) => call.run(panels, rows, down, out),
        Panels::Bf16(panels) => call.run(panels, rows, down, out),
        Panels::Bf16Dot(panels) => call.run(panels, pairs, down, out),
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
    fn run<W: Element>(
        &self,
        panels: &[W],
        rows: &mut Vec<W::Row>,
        down: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { threads, weights, adapters, .. } = *self;
        let steps = W::steps(weights.inputs);
        rows.resize(adapters.len().next_multiple_of(MR) * steps, W::Row::default());
        self.prepare_rows(steps, rows, down);
        let product = Product { weights, panels, steps, rows, down, adapters };

        let block = (ROW_BLOCK_BYTES / (size_of::<W::Row>() * steps.max(1)) / MR).clamp(1, 64) * MR;
        let row_ends = even_ends(adapters.len(), block);
        let panels = weights.columns.panels();
        // Four tasks a thread even out the end, where one thread would wait for another.
        let bands = (4 * threads.count()).div_ceil(row_ends.len().max(1)).clamp(1, panels.max(1));
        let band = panels.div_ceil(bands.max(1)) * weights.columns.panel_outputs();
        let col_ends = even_ends(weights.outputs(), band);
        let rects = grid(out, weights.outputs(), &row_ends, &col_ends);
        threads.run(rects, |rect, _| weights.level.run(Block { product: &product, rect }));
    }

    /// Packs the rows of `x` and computes their projections on A of their adapter.
    fn prepare_rows<R: Row>(&self, steps: usize, rows: &mut [R], down: &mut [f32]) {
        const TILES: usize = 4;
        let weights = self.weights;
        let mut down = down.chunks_mut((TILES * MR * weights.rank()).max(1));
        let tasks: Vec<_> = self
            .x
            .chunks(TILES * MR * weights.inputs)
            .zip(rows.chunks_mut(TILES * MR * steps))
            .zip(self.adapters.chunks(TILES * MR))
            .map(|((x, tiles), adapters)| Prepare {
                weights,
                steps,
                x,
                tiles,
                adapters,
                down: down.next().unwrap_or_default(),
            })
            .collect();
        self.threads.run(tasks, |task, _| weights.level.run(task));
    }
}

/// Packs a few tiles of rows and computes `down[row] = A x[row]` for the adapter of each row.
struct Prepare<'a, R> {
    weights: &'a Weights,
    steps: usize,
    x: &'a [f32],
    tiles: &'a mut [R],
    adapters: &'a [Option<usize>],
    down: &'a mut [f32],
}

impl<R: Row> Kernel for Prepare<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let depth = self.weights.inputs;
        pack_rows(self.x, depth, self.steps, self.tiles);
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

#[inline(always)]
fn dot<I: Isa>(v: I, a: &[f32], b: &[f32]) -> f32 {
    let whole = a.len() - a.len() % I::LANES;
    let mut sums = v.splat(0.0);
    for (a, b) in a[..whole].chunks_exact(I::LANES).zip(b[..whole].chunks_exact(I::LANES)) {
        sums = v.mul_add(v.load(a), v.load(b), sums);
    }
    let tail: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    v.sum(sums) + tail
}

/// All that a block of the output is computed from.
struct Product<'a, W: Element> {
    weights: &'a Weights,
    panels: &'a [W],
    /// Steps of the tile over the whole depth.
    steps: usize,
    /// Packed rows of x, `[rows / MR, steps, MR]`.
    rows: &'a [W::Row],
    /// `[rows, rank]`
    down: &'a [f32],
    adapters: &'a [Option<usize>],
}

/// One rectangle of the output. Rows start at a multiple of `MR`, columns at a panel.
struct Block<'a, W: Element> {
    product: &'a Product<'a, W>,
    rect: Rect<'a>,
}

impl<W: Element> Kernel for Block<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { product, mut rect } = self;
        let (steps, cols) = (product.steps, rect.cols());
        let outputs = product.weights.columns.panel_outputs();
        for first in cols.clone().step_by(outputs) {
            let col = first / outputs * nr::<I>();
            let panel = &product.panels[col * steps..][..nr::<I>() * steps];
            for row in rect.rows().step_by(MR) {
                let sums = tile(v, &product.rows[row * steps..][..MR * steps], panel);
                let end = rect.rows().end.min(row + MR);
                for (row, sums) in (row..end).zip(sums) {
                    let sums = add_bias_and_lora(v, product, row, col, sums);
                    let to = &mut rect.row_mut(row)[first - cols.start..];
                    activate(v, product.weights.activation, sums, to);
                }
            }
        }
    }
}

/// Adds bias and low-rank update to a tile row whose first packed column is `col`.
#[inline(always)]
fn add_bias_and_lora<I: Isa, W: Element>(
    v: I,
    product: &Product<'_, W>,
    row: usize,
    col: usize,
    mut sums: [I::F32; NV],
) -> [I::F32; NV] {
    for (n, sum) in sums.iter_mut().enumerate() {
        *sum = v.add(*sum, v.load(&product.weights.bias[col + n * I::LANES..]));
    }
    if let (Some(bank), Some(adapter)) = (&product.weights.lora, product.adapters[row]) {
        let width = product.weights.bias.len();
        let down = &product.down[row * bank.rank..][..bank.rank];
        let up = &bank.up[adapter * bank.rank * width..][..bank.rank * width];
        for (&down, up) in down.iter().zip(up.chunks_exact(width)) {
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = v.mul_add(v.splat(down), v.load(&up[col + n * I::LANES..]), *sum);
            }
        }
    }
    sums
}

/// Writes the activated tile row to the front of `to`, as far as `to` reaches.
#[inline(always)]
fn activate<I: Isa>(v: I, activation: Option<Activation>, [a, b]: [I::F32; NV], to: &mut [f32]) {
    match activation {
        None => store(v, [a, b], to),
        Some(Activation::Gelu) => store(v, [gelu(v, a), gelu(v, b)], to),
        Some(Activation::GeGlu) => store(v, [v.mul(gelu(v, a), b)], to),
        Some(Activation::ReGlu) => store(v, [v.mul(relu(v, a), b)], to),
    }
}

#[inline(always)]
fn store<I: Isa, const N: usize>(v: I, row: [I::F32; N], to: &mut [f32]) {
    if to.len() >= N * I::LANES {
        for (n, x) in row.into_iter().enumerate() {
            v.store(x, &mut to[n * I::LANES..]);
        }
    } else {
        for (x, to) in row.into_iter().zip(to.chunks_mut(I::LANES)) {
            v.store_partial(x, to);
        }
    }
}

#[cfg(test)]
mod tests;
