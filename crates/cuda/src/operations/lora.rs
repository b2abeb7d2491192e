//! The low-rank tail after each row of states: x · A of the row's own task in that task's slots,
//! and zeros in the slots of all others.

use super::PackedBatch;
use super::linear::{Linear, Lora};
use crate::constants::{GROUP, THREADS, WARP};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::states::States;

/// A tail that an operation computes along with its result, as arguments of its kernel.
pub(super) struct Tail {
    pub(super) a: Address,
    pub(super) adapters: Address,
    pub(super) rank: i32,
    /// Elements of the tail.
    pub(super) len: i32,
}

impl Tail {
    const NONE: Self = Self { a: Address::NULL, adapters: Address::NULL, rank: 0, len: 0 };

    /// The tail of `next`, the layer that reads `x`; none if the layer has no updates, or a rank
    /// for which kernels do not compute a tail along with their result.
    pub(super) fn new(gpu: &Gpu, x: &States, next: Option<(&Linear, &PackedBatch)>) -> Self {
        let lora = next.and_then(|(linear, batch)| Some((linear, linear.lora.as_ref()?, batch)));
        let Some((linear, lora, batch)) = lora.filter(|(_, lora, _)| lora.rank <= GROUP) else {
            return Self::NONE;
        };
        check(x, linear, lora, batch);
        Self {
            a: gpu.address(&lora.a),
            adapters: batch.adapters(gpu),
            rank: lora.rank as i32,
            len: lora.tail as i32,
        }
    }

    pub(super) fn is_some(&self) -> bool {
        self.a != Address::NULL
    }
}

/// Fails unless `x` has room for the layer's tail, and the layer has the tasks of the batch.
fn check(x: &States, linear: &Linear, lora: &Lora, batch: &PackedBatch) {
    let fits = x.width == linear.inputs && x.width + lora.tail <= x.ld && x.rows == batch.rows();
    assert!(fits, "no room for the tail of {linear:?} in the rows of {x:?}");
    assert!(
        batch.tasks <= lora.tasks,
        "a batch of {} tasks, a layer of {}",
        batch.tasks,
        lora.tasks
    );
}

arguments! {
    LoraDownArguments {
        x: Address,
        adapters: Address,
        a: Address,
        rows: i32,
        rank: i32,
        width: i32,
        tail: i32,
        ld: i32,
    }
}

impl Gpu {
    /// Writes the tail of `linear` after each row of `x`.
    pub(super) fn lora_down(&self, x: &States, batch: &PackedBatch, linear: &Linear) -> Result<()> {
        let Some(lora) = &linear.lora else { return Ok(()) };
        check(x, linear, lora, batch);
        let arguments = LoraDownArguments {
            x: self.address(x.memory()),
            adapters: batch.adapters(self),
            a: self.address(&lora.a),
            rows: x.rows as i32,
            rank: lora.rank as i32,
            width: x.width as i32,
            tail: lora.tail as i32,
            ld: x.ld as i32,
        };
        let launch = Launch::new("lora_down", x.rows.div_ceil(THREADS / WARP), THREADS);
        // SAFETY: `check` has checked the rows, and that A has the tasks of the batch.
        unsafe { self.launch(launch, &arguments) }
    }
}
