//! Weights packed in the order in which the tile reads them.

use super::Activation;
use super::element::{ColumnScale, Element, Float, Pairs, Scales, Widened};
use super::quads::{Quads, ROW_ZERO};
use super::tile::NV;
use crate::isa::{BLOCK, Isa, Kernel, Level};
use crate::memory::Aligned;
use crate::threads::Threads;
use bytemuck::Zeroable;

/// How weights are stored in memory and multiplied. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Four bytes per weight.
    F32,
    /// Two bytes per weight; exact only for values that came from bf16.
    Bf16,
    /// Two bytes per weight, and inputs are rounded to bf16 too. Fast where the level has the
    /// instruction ([`Level::has_bf16_dot`]).
    Bf16Dot,
    /// One byte per weight, with a scale for each output; inputs are rounded to one byte too, with
    /// a scale for each row. Products and sums are exact integers.
    Int8,
}

/// The low-rank updates of all tasks on one linear layer.
#[derive(Clone, Debug)]
pub struct LoraBank {
    /// Inner dimension of the update.
    pub rank: usize,
    /// A of every task, `[tasks, rank, inputs]`.
    pub down: Vec<f32>,
    /// B of every task, transposed and multiplied by the adapter's scale, `[tasks, rank, outputs]`.
    pub up: Vec<f32>,
}

impl LoraBank {
    /// Bytes of memory that it occupies.
    pub fn len_bytes(&self) -> usize {
        size_of_val(&self.down[..]) + size_of_val(&self.up[..])
    }
}

/// A linear layer, packed for one [`Level`].
#[derive(Debug)]
pub struct Weights {
    pub(super) level: Level,
    pub(super) inputs: usize,
    pub(super) columns: Columns,
    pub(super) panels: Panels,
    /// Scales of packed columns of integers, `[panels * nr]`, or empty.
    scales: Aligned<f32>,
    /// Offsets of the sums of packed columns of integers, `[panels * nr]`, or empty: minus the sum of
    /// a column, which is added once per unit of a row's zero; times [`ROW_ZERO`] where all rows have
    /// this zero.
    offsets: Aligned<u32>,
    /// `[panels * nr]`, zero where there is no row of W.
    pub(super) bias: Aligned<f32>,
    /// `up` has rows of `panels * nr`, zero where there is no row of W.
    pub(super) lora: Option<LoraBank>,
    pub(super) activation: Option<Activation>,
}

/// `[panels, steps, nr]`: columns of Wᵀ side by side, zero where there is none.
#[derive(Debug)]
pub(super) enum Panels {
    F32(Aligned<f32>),
    Bf16(Aligned<u16>),
    Bf16Dot(Aligned<u32>),
    Int8(Aligned<u32>),
}

/// Where the rows of W come from, and what packs them.
#[derive(Clone, Copy)]
struct Source<'a> {
    threads: &'a Threads,
    level: Level,
    inputs: usize,
    read_row: ReadRow<'a>,
    /// [`Layer::scales`]
    scales: &'a [f32],
}

/// Which row of W is in which packed column.
///
/// A gated layer's W has the rows of the gate, then those of the values. A panel then has a
/// vector of gate columns and a vector of the value columns that they multiply, so that both halves
/// of an output meet in one register tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    rows: usize,
    lanes: usize,
    gated: bool,
}

impl Columns {
    /// Outputs that a panel yields.
    pub(super) fn panel_outputs(self) -> usize {
        if self.gated { self.lanes } else { NV * self.lanes }
    }

    /// Number of outputs.
    pub(super) fn outputs(self) -> usize {
        if self.gated { self.rows / 2 } else { self.rows }
    }

    /// Number of panels.
    pub(super) fn panels(self) -> usize {
        self.outputs().div_ceil(self.panel_outputs())
    }

    /// Number of packed columns.
    fn width(self) -> usize {
        self.panels() * NV * self.lanes
    }

    /// The row of W in packed column `col`.
    fn row(self, col: usize) -> Option<usize> {
        if !self.gated {
            return (col < self.rows).then_some(col);
        }
        let (half, nr) = (self.rows / 2, NV * self.lanes);
        let output = col / nr * self.lanes + col % self.lanes;
        let value = if col % nr < self.lanes { 0 } else { half };
        (output < half).then_some(value + output)
    }

    /// Packs W, `[panels, steps, nr]`, one panel per task. `scales` has one element per packed
    /// column.
    fn pack<E: Element>(self, from: Source<'_>, scales: &mut [ColumnScale]) -> Aligned<E::Column> {
        let (nr, steps) = (NV * self.lanes, E::steps(from.inputs));
        let mut panels = Aligned::zeroed(self.width() * steps);
        let tasks = panels.chunks_mut(nr * steps).zip(scales.chunks_mut(nr));
        from.threads.run(tasks.enumerate().collect(), |(i, (panel, scales)), [scratch, ..]| {
            let row = scratch.take(from.inputs);
            let columns = self;
            from.level.run(PackPanel::<E> { columns, from, first: i * nr, row, scales, panel });
        });
        panels
    }

    /// Copies `from`, one value per row of W, to `to` in the order of packed columns.
    fn spread(self, from: &[f32], to: &mut [f32]) {
        for (col, to) in to.iter_mut().enumerate() {
            *to = self.row(col).map_or(0.0, |row| from[row]);
        }
    }

    /// The updates, with the outputs of B in the order of packed columns.
    fn spread_lora(self, bank: LoraBank, inputs: usize) -> LoraBank {
        assert_eq!(bank.down.len() % (bank.rank * inputs), 0);
        assert_eq!(bank.down.len() / inputs, bank.up.len() / self.rows);
        let mut up = vec![0.0; bank.up.len() / self.rows * self.width()];
        for (to, from) in up.chunks_mut(self.width()).zip(bank.up.chunks(self.rows)) {
            self.spread(from, to);
        }
        LoraBank { up, ..bank }
    }
}

/// Packs the columns of one panel.
struct PackPanel<'a, E: Element> {
    columns: Columns,
    from: Source<'a>,
    /// The panel's first column.
    first: usize,
    /// Room for a row of W.
    row: &'a mut [f32],
    scales: &'a mut [ColumnScale],
    panel: &'a mut [E::Column],
}

impl<E: Element> Kernel for PackPanel<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let Self { columns, from, first, row, scales, panel } = self;
        let steps = E::steps(from.inputs);
        let mut packed = vec![E::Column::zeroed(); scales.len() * steps];
        for (col, (to, scale)) in (first..).zip(packed.chunks_exact_mut(steps).zip(scales)) {
            if let Some(of_w) = columns.row(col) {
                (from.read_row)(of_w, row);
                *scale = E::pack_column(v, row, from.scales.get(of_w).copied(), to);
            }
        }
        interleave::<E>(&packed, steps, columns.lanes, panel);
    }
}

/// Packs the columns of a panel, `[nr, steps]`, to `[steps, nr]`: one block of the depth at a time,
/// so that strided writes stay in the level-1 cache.
#[inline(always)]
fn interleave<E: Element>(
    columns: &[E::Column],
    steps: usize,
    lanes: usize,
    panel: &mut [E::Column],
) {
    let nr = NV * lanes;
    for (i, block) in panel.chunks_exact_mut(BLOCK * nr).enumerate() {
        for (col, column) in columns.chunks_exact(steps).enumerate() {
            let slot = E::slot(col, lanes);
            let from = &column[i * BLOCK..][..BLOCK];
            for (to, step) in block[slot..].iter_mut().step_by(nr).zip(from) {
                *to = *step;
            }
        }
    }
}

/// A linear layer before it is packed.
#[derive(Debug)]
pub struct Layer {
    /// Rows of W. A gated layer has two per output: all gates, then all values.
    pub rows: usize,
    /// Columns of W.
    pub inputs: usize,
    /// Scales of rows that are read as integers from -128 to 127, `[rows]`; empty if rows are read
    /// as they are. For [`Storage::Int8`], whose integers are then the same.
    pub scales: Vec<f32>,
    /// `[rows]`, or empty.
    pub bias: Vec<f32>,
    /// Low-rank updates, with as many outputs as W has rows.
    pub lora: Option<LoraBank>,
    /// The activation after the product.
    pub activation: Option<Activation>,
}

/// Writes the row of W with a given index to a slice.
pub type ReadRow<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

impl Weights {
    /// Packs a layer on all `threads`. The rows of W are read in no particular order.
    ///
    /// # Panics
    ///
    /// If the layer's shapes do not agree, or it has no inputs.
    pub fn pack(
        threads: &Threads,
        level: Level,
        storage: Storage,
        layer: Layer,
        read_row: ReadRow<'_>,
    ) -> Self {
        let Layer { rows, inputs, scales, bias, lora, activation } = layer;
        assert!(inputs > 0 && (bias.is_empty() || bias.len() == rows));
        assert!(scales.is_empty() || scales.len() == rows && storage == Storage::Int8);
        let gated = activation.is_some_and(Activation::is_gated);
        assert!(!gated || rows.is_multiple_of(2), "a gated layer has two rows per output");
        let columns = Columns { rows, lanes: level.lanes(), gated };
        let mut scaled = vec![ColumnScale::default(); columns.width()];
        let from = Source { threads, level, inputs, read_row, scales: &scales };
        let panels = match storage {
            Storage::F32 => Panels::F32(columns.pack::<Float>(from, &mut scaled)),
            Storage::Bf16 => Panels::Bf16(columns.pack::<Widened>(from, &mut scaled)),
            Storage::Bf16Dot => Panels::Bf16Dot(columns.pack::<Pairs>(from, &mut scaled)),
            Storage::Int8 => Panels::Int8(columns.pack::<Quads>(from, &mut scaled)),
        };
        let quantized = if storage == Storage::Int8 { columns.width() } else { 0 };
        let (mut scales, mut offsets) = (Aligned::zeroed(quantized), Aligned::zeroed(quantized));
        for ((scale, offset), from) in scales.iter_mut().zip(&mut offsets[..]).zip(scaled) {
            let zero = if level.prefers_u7() { 1 } else { ROW_ZERO };
            (*scale, *offset) = (from.scale, zero.wrapping_mul(from.sum.wrapping_neg()));
        }
        let mut spread_bias = Aligned::zeroed(columns.width());
        if !bias.is_empty() {
            columns.spread(&bias, &mut spread_bias);
        }
        let lora = lora.map(|bank| columns.spread_lora(bank, inputs));
        Self {
            level,
            inputs,
            columns,
            panels,
            scales,
            offsets,
            bias: spread_bias,
            lora,
            activation,
        }
    }

    /// Bytes of memory that it occupies.
    pub fn len_bytes(&self) -> usize {
        let panels = match &self.panels {
            Panels::F32(panels) => size_of_val(&panels[..]),
            Panels::Bf16(panels) => size_of_val(&panels[..]),
            Panels::Bf16Dot(panels) | Panels::Int8(panels) => size_of_val(&panels[..]),
        };
        let lora = self.lora.as_ref().map_or(0, LoraBank::len_bytes);
        let columns = size_of_val(&self.bias[..]) + size_of_val(&self.scales[..]);
        panels + columns + size_of_val(&self.offsets[..]) + lora
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.columns.outputs()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The scales and offsets of the vectors of columns from `col` on.
    #[inline(always)]
    pub(super) fn scales<I: Isa>(&self, v: I, col: usize) -> [Scales<I>; NV] {
        if self.scales.is_empty() {
            return [Scales::none(v); NV];
        }
        [col, col + I::LANES].map(|col| Scales {
            scales: v.load(&self.scales[col..]),
            offsets: v.load_words(&self.offsets[col..]),
        })
    }

    /// Rank of the low-rank updates; 0 if there are none.
    pub fn rank(&self) -> usize {
        self.lora.as_ref().map_or(0, |bank| bank.rank)
    }
}
