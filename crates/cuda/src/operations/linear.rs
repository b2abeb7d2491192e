//! Linear layers: one product by cuBLASLt over the states and their low-rank tails.

use super::PackedBatch;
use crate::blas::{Algorithms, Layouts, Product, ProductShape};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::memory::Memory;
use crate::states::States;
use std::fmt;

/// A linear layer on the card: `y = x Wᵀ + bias`, with the low-rank update of each row's own task.
pub struct Linear {
    weights: Memory, // [outputs, inputs + tail]
    bias: Option<Memory>,
    pub(super) lora: Option<Lora>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    product: Product,
    algorithms: Algorithms,
}

/// The first half of the low-rank updates: A of all tasks. The second half, B, is in the last
/// columns of W.
pub(super) struct Lora {
    pub(super) a: Memory, // [tasks, rank, inputs]
    pub(super) tasks: usize,
    pub(super) rank: usize,
    /// Elements of the tail.
    pub(super) tail: usize,
}

/// A layer in host memory, from which it is uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Rows of W.
    pub outputs: usize,
    /// Columns of W.
    pub inputs: usize,
    /// `[outputs]`, or empty.
    pub bias: &'a [f32],
    /// A of all tasks, `[tasks, rank, inputs]`; empty if there are no updates.
    pub down: &'a [f32],
    /// B of all tasks, `[tasks, rank, outputs]`.
    pub up: &'a [f32],
    /// Rank of the updates.
    pub rank: usize,
}

impl Layer<'_> {
    /// Slots of a tail: one for each task and rank.
    fn slots(&self) -> usize {
        self.up.len() / self.outputs.max(1)
    }

    /// Columns that W has for the updates of all tasks: a multiple of what the tensor cores read at
    /// once.
    pub fn tail(&self) -> usize {
        self.slots().next_multiple_of(32)
    }
}

impl Linear {
    /// Rows of W.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes on the card.
    pub fn len_bytes(&self) -> usize {
        let optional = [self.bias.as_ref(), self.lora.as_ref().map(|lora| &lora.a)];
        self.weights.len() + optional.into_iter().flatten().map(Memory::len).sum::<usize>()
    }

    /// Elements that the layer reads after each row of its input.
    fn tail(&self) -> usize {
        self.lora.as_ref().map_or(0, |lora| lora.tail)
    }

    fn shape(&self) -> ProductShape {
        let inputs = self.inputs + self.tail();
        ProductShape { outputs: self.outputs, inputs, has_bias: self.bias.is_some() }
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linear({} × {} + {})", self.outputs, self.inputs, self.tail())
    }
}

impl Gpu {
    /// Uploads a layer; `read` writes row `i` of W, `[inputs]`.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn linear(
        &self,
        layer: &Layer<'_>,
        read: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<Linear> {
        let Layer { outputs, inputs, bias, down, up, rank } = *layer;
        let (slots, tail) = (layer.slots(), layer.tail());
        assert_eq!(down.len() * outputs, up.len() * inputs, "A and B of the updates");
        assert!(
            slots == 0 || rank > 0 && slots.is_multiple_of(rank),
            "{slots} slots of rank {rank}"
        );
        assert!(bias.is_empty() || bias.len() == outputs, "a bias for each output");
        let mut with_updates = |row: usize, to: &mut [f32]| {
            let (weights, tail) = to.split_at_mut(inputs);
            read(row, weights);
            tail.fill(0.0);
            for (slot, tail) in tail.iter_mut().enumerate().take(slots) {
                *tail = up[slot * outputs + row];
            }
        };
        let weights = self.upload_rows(outputs, [inputs + tail; 2], &mut with_updates)?;
        let (bias, a) = (self.upload_row(bias)?, self.upload_row(down)?);
        let product = Product::new(bias.as_ref().map(|bias| self.address(bias)))?;
        let shape = ProductShape { outputs, inputs: inputs + tail, has_bias: bias.is_some() };
        let algorithms = self.blas.algorithms(self, shape)?;
        let lora = a.map(|a| Lora { a, tasks: slots / rank, rank, tail });
        Ok(Linear { weights, bias, lora, outputs, inputs, product, algorithms })
    }

    /// One row in the card's dtype; `None` if it is empty.
    fn upload_row(&self, values: &[f32]) -> Result<Option<Memory>> {
        let mut copy = |_: usize, row: &mut [f32]| row.copy_from_slice(values);
        (!values.is_empty()).then(|| self.upload_rows(1, [values.len(); 2], &mut copy)).transpose()
    }

    /// `out = x Wᵀ + bias` with each row's own low-rank update. Computes the tail first, unless the
    /// operation that wrote `x` has done so.
    ///
    /// # Errors
    ///
    /// If the library or the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn project(
        &self,
        x: &States,
        batch: &PackedBatch,
        linear: &Linear,
        out: &mut States,
    ) -> Result<()> {
        if linear.lora.is_some() && !x.has_tail.get() {
            self.lora_down(x, batch, linear)?;
        }
        self.multiply(x, linear, out)
    }

    /// `out = x Wᵀ + bias`, over the states and their tails.
    ///
    /// # Errors
    ///
    /// If the library or the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn multiply(&self, x: &States, linear: &Linear, out: &mut States) -> Result<()> {
        let shape = linear.shape();
        assert!(x.width == linear.inputs && x.ld >= shape.inputs, "{x:?} for {linear:?}");
        assert_eq!((out.rows, out.width), (x.rows, linear.outputs), "the product's shape");
        out.has_tail.set(false);
        let layouts = Layouts::new(self.dtype, shape, x.rows as u64, [x.ld, out.ld])?;
        let matrices = [&linear.weights, x.memory(), out.memory()].map(|m| self.address(m));
        let algorithm = linear.algorithms.for_rows(x.rows);
        // SAFETY: `W` has the shape that it was uploaded with, and the states those checked above.
        unsafe { self.blas.run(&self.stream, &linear.product, &layouts, matrices, algorithm) }
    }
}
