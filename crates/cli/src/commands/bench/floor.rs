//! The floor: the lower bound of the time of a batch on this machine.

use kokeshi::{Checkpoint, Precision};
use kokeshi_model::Batch;
use serde::Serialize;
use std::fmt;

/// The peak rates of this machine, measured before and after the batches.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Peaks {
    /// Multiplications and additions per second, in the precision of the products.
    pub(super) flops_per_second: f64,
    /// Bytes per second from memory.
    pub(super) bytes_per_second: f64,
}

impl Peaks {
    /// The better of two measurements. Other programs can only make them worse: with both cores of
    /// a machine busy, the measured arithmetic peak was at times half of the real one.
    pub(super) fn highest(self, other: Self) -> Self {
        Self {
            flops_per_second: self.flops_per_second.max(other.flops_per_second),
            bytes_per_second: self.bytes_per_second.max(other.bytes_per_second),
        }
    }
}

impl fmt::Display for Peaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flops, bytes) = (self.flops_per_second / 1e9, self.bytes_per_second / 1e9);
        write!(f, "{flops:.1} GFLOP/s, {bytes:.1} GB/s from memory")
    }
}

/// The minimal work of a forward pass: the products of its linear layers and of attention, and each
/// weight of the linear layers read once. Adapters, norms, activations and the rows of the
/// embedding table are not counted: they are less than a hundredth at the released shapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    layers: usize,
    hidden: usize,
    /// Weights of the linear layers of one layer.
    layer_weights: usize,
    bytes_per_weight: usize,
}

/// What determines a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Bound {
    Arithmetic,
    Memory,
}

impl Cost {
    /// In f32 the products of a BF16 checkpoint read two bytes per weight and widen them exactly.
    pub(super) fn new(checkpoint: &Checkpoint, precision: Precision) -> Self {
        let config = checkpoint.config();
        let (hidden, ffn_hidden) = (config.hidden, config.ffn_hidden);
        let up = if config.activation.is_gated() { 2 * ffn_hidden } else { ffn_hidden };
        let bytes_per_weight = match precision {
            Precision::Int8 => 1,
            Precision::Bf16 | Precision::F16 => 2,
            Precision::F32 if checkpoint.is_bf16() => 2,
            Precision::F32 => 4,
        };
        Self {
            layers: config.layers,
            hidden,
            layer_weights: (3 * hidden + hidden + up + ffn_hidden) * hidden,
            bytes_per_weight,
        }
    }

    /// Bytes of the linear layers.
    pub(super) fn weight_bytes(&self) -> usize {
        self.layers * self.layer_weights * self.bytes_per_weight
    }

    /// Multiplications and additions of the linear layers per token.
    pub(super) fn flops_per_token(&self) -> f64 {
        2.0 * (self.layers * self.layer_weights) as f64
    }

    /// Multiplications and additions: `2 · weights` per token, and `4 · length² · hidden` per
    /// sequence for scores and their products with the values.
    pub(super) fn flops(&self, batch: &Batch) -> f64 {
        let squares = batch.sequences().map(|sequence| (sequence.len() as f64).powi(2));
        let attention = 4.0 * self.hidden as f64 * squares.sum::<f64>();
        self.flops_per_token() * batch.tokens() as f64 + self.layers as f64 * attention
    }

    /// Minimal time of `batch` in seconds, and what determines it.
    pub(super) fn floor(&self, batch: &Batch, peaks: Peaks) -> (f64, Bound) {
        let arithmetic = self.flops(batch) / peaks.flops_per_second;
        let memory = self.weight_bytes() as f64 / peaks.bytes_per_second;
        if arithmetic > memory { (arithmetic, Bound::Arithmetic) } else { (memory, Bound::Memory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_collections::ModelLocation;
    use kokeshi_testkit::fixture;

    fn cost(checkpoint: &str, precision: Precision) -> Cost {
        let location = ModelLocation::Folder(fixture(checkpoint));
        Cost::new(&location.checkpoint().expect("a checkpoint"), precision)
    }

    fn batch(lengths: &[usize]) -> Batch {
        let mut batch = Batch::new();
        lengths.iter().for_each(|&length| batch.push(&vec![0; length], None));
        batch
    }

    #[test]
    fn flops_are_those_of_the_linear_layers_and_of_attention() {
        // 3 layers, hidden 64, feed-forward 128.
        let linear = 2 * 3 * (64 * 192 + 64 * 64 + 2 * 64 * 128);
        let cost = cost("v3-tiny/original", Precision::F32);
        let expected = 7 * linear + 3 * 4 * 64 * (3 * 3 + 4 * 4);
        assert_eq!(cost.flops(&batch(&[3, 4])), expected as f64);
    }

    #[test]
    fn gated_layers_have_two_rows_per_output() {
        // 2 layers, hidden 24, feed-forward 40, stored as F16.
        let weights = 2 * (24 * 72 + 24 * 24 + 3 * 24 * 40);
        let [f32, bf16] = [Precision::F32, Precision::Bf16]
            .map(|precision| cost("v2-tiny/std_zh_f16", precision).weight_bytes());
        assert_eq!((f32, bf16), (4 * weights, 2 * weights));
        let stored = cost("v2-tiny/code_reglu_bf16", Precision::F32);
        assert_eq!(stored.weight_bytes(), 2 * 2 * (40 * 160 + 3 * 40 * 56));
    }

    #[test]
    fn the_slower_of_arithmetic_and_memory_is_the_floor() {
        let (cost, batch) = (cost("v3-tiny/original", Precision::F32), batch(&[16]));
        let (flops, bytes) = (cost.flops(&batch), cost.weight_bytes() as f64);
        let floor = |flops_per_second, bytes_per_second| {
            cost.floor(&batch, Peaks { flops_per_second, bytes_per_second })
        };
        assert_eq!(floor(flops / 2.0, bytes), (2.0, Bound::Arithmetic));
        assert_eq!(floor(flops, bytes / 3.0), (3.0, Bound::Memory));
    }
}
