//! Weights and activations in the order in which the tile reads them.

use super::tile::{Element, MR, NV};
use crate::isa::Level;
use crate::memory::Aligned;

/// How weights are kept in memory. Arithmetic is in `f32` either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Four bytes a weight.
    F32,
    /// Two bytes a weight; exact only for values that came from bf16.
    Bf16,
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

/// A linear layer, packed for one [`Level`].
#[derive(Debug)]
pub struct Weights {
    pub(super) level: Level,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) panels: Panels,
    /// `[panels * nr]`, zero past `outputs`.
    pub(super) bias: Aligned<f32>,
    /// `up` has rows of `panels * nr`, zero past `outputs`.
    pub(super) lora: Option<LoraBank>,
}

/// `[panels, inputs, nr]`: columns of Wᵀ side by side, zero past `outputs`.
#[derive(Debug)]
pub(super) enum Panels {
    F32(Aligned<f32>),
    Bf16(Aligned<u16>),
}

/// Width of a packed panel at `level`.
fn panel_width(level: Level) -> usize {
    NV * level.lanes()
}

impl Weights {
    /// Packs a weight of `[outputs, inputs]`, read row by row: `read_row` writes row `i` (all
    /// inputs of output `i`) into the slice that it is given. `bias` is `[outputs]` or empty.
    ///
    /// # Panics
    ///
    /// If the shapes of `bias` or `lora` do not agree with `inputs` and `outputs`.
    pub fn pack(
        level: Level,
        storage: Storage,
        [outputs, inputs]: [usize; 2],
        read_row: &mut dyn FnMut(usize, &mut [f32]),
        bias: &[f32],
        lora: Option<LoraBank>,
    ) -> Self {
        assert!(bias.is_empty() || bias.len() == outputs);
        let nr = panel_width(level);
        let width = outputs.next_multiple_of(nr);
        let panels = match storage {
            Storage::F32 => Panels::F32(pack_panels(nr, outputs, inputs, read_row, |x| x)),
            Storage::Bf16 => {
                let narrow = |x: f32| (x.to_bits() >> 16) as u16;
                Panels::Bf16(pack_panels(nr, outputs, inputs, read_row, narrow))
            }
        };
        let mut padded = Aligned::zeroed(width);
        padded[..bias.len()].copy_from_slice(bias);
        let lora = lora.map(|bank| {
            assert_eq!(bank.down.len() % (bank.rank * inputs), 0);
            assert_eq!(bank.down.len() / inputs, bank.up.len() / outputs);
            let mut up = vec![0.0; bank.up.len() / outputs * width];
            for (to, from) in up.chunks_mut(width).zip(bank.up.chunks(outputs)) {
                to[..outputs].copy_from_slice(from);
            }
            LoraBank { up, ..bank }
        });
        Self { level, inputs, outputs, panels, bias: padded, lora }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rank of the low-rank updates; 0 if there are none.
    pub fn rank(&self) -> usize {
        self.lora.as_ref().map_or(0, |bank| bank.rank)
    }
}

fn pack_panels<W: Element>(
    nr: usize,
    outputs: usize,
    inputs: usize,
    read_row: &mut dyn FnMut(usize, &mut [f32]),
    narrow: impl Fn(f32) -> W,
) -> Aligned<W> {
    let mut panels = Aligned::zeroed(outputs.next_multiple_of(nr) * inputs);
    let mut row = vec![0.0; inputs];
    for output in 0..outputs {
        read_row(output, &mut row);
        let panel = &mut panels[output / nr * nr * inputs..][..nr * inputs];
        for (to, &x) in panel[output % nr..].iter_mut().step_by(nr).zip(&row) {
            *to = narrow(x);
        }
    }
    panels
}

/// Packs rows of `x` (`[rows, depth]`) into tiles `[rows / MR, depth, MR]`; rows past the end are
/// zero. `tiles` holds a whole number of tiles.
pub(crate) fn pack_rows(x: &[f32], depth: usize, tiles: &mut [f32]) {
    for (rows, tile) in x.chunks(MR * depth).zip(tiles.chunks_exact_mut(MR * depth)) {
        if rows.len() < tile.len() {
            tile.fill(0.0);
        }
        for (m, row) in rows.chunks_exact(depth).enumerate() {
            for (to, &x) in tile[m..].iter_mut().step_by(MR).zip(row) {
                *to = x;
            }
        }
    }
}
