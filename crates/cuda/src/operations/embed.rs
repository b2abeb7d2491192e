//! Embeddings: rows of the table, with the low-rank update of each token's task.

use super::PackedBatch;
use crate::constants::THREADS;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::{Address, Launch, arguments};
use crate::memory::Memory;
use crate::states::States;

/// An embedding table with the low-rank update of each task.
#[derive(Debug)]
pub struct Embedding {
    /// `[vocab, hidden]`, in the card's dtype.
    pub word: Memory,
    /// `[tasks, vocab, rank]` in f32; empty if no task has an update.
    pub a: Memory,
    /// `[tasks, rank, hidden]` in f32, scaled.
    pub b: Memory,
    /// The summand of every token in f32, `[shifts, hidden]`: without a task first, then with each.
    pub shift: Memory,
    /// Number of rows.
    pub vocab: usize,
    /// Rank of the updates; 0 if there are none.
    pub rank: usize,
    /// Rows of `shift`: 0, 1, or one more than there are tasks.
    pub shifts: usize,
    /// Width of a row.
    pub hidden: usize,
}

impl Embedding {
    /// Whether it has every row and update that the batch reads.
    fn covers(&self, gpu: &Gpu, batch: &PackedBatch) -> bool {
        let Self { vocab, rank, shifts, hidden, .. } = *self;
        let words = vocab * hidden * gpu.dtype.len_bytes();
        batch.vocab <= vocab
            && (shifts <= 1 || batch.tasks < shifts)
            && self.word.len() >= words
            && self.a.len() >= 4 * batch.tasks * vocab * rank
            && self.b.len() >= 4 * batch.tasks * rank * hidden
            && self.shift.len() >= 4 * shifts * hidden
    }
}

arguments! {
    EmbedArguments {
        ids: Address,
        adapters: Address,
        word: Address,
        a: Address,
        b: Address,
        shift: Address,
        vocab: i32,
        rank: i32,
        shifts: i32,
        hidden: i32,
        ld: i32,
        x: Address,
    }
}

impl Gpu {
    /// Writes the embeddings of a batch to `out`, `[tokens, hidden]`.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or an id or a task is not in the table.
    pub fn embed(&self, batch: &PackedBatch, table: &Embedding, out: &mut States) -> Result<()> {
        assert_eq!((out.rows, out.width), (batch.rows(), table.hidden), "the embeddings' shape");
        assert!(table.covers(self, batch), "ids and tasks of {batch:?} are outside the table");
        let [a, b, shift] = [&table.a, &table.b, &table.shift].map(|memory| self.address(memory));
        let arguments = EmbedArguments {
            ids: batch.ids(self),
            adapters: batch.adapters(self),
            word: self.address(&table.word),
            a,
            b,
            shift,
            vocab: table.vocab as i32,
            rank: table.rank as i32,
            shifts: table.shifts as i32,
            hidden: table.hidden as i32,
            ld: out.ld as i32,
            x: self.address(out.memory()),
        };
        // SAFETY: `covers` has checked what is read; `out` has `rows` rows of `ld ≥ hidden`
        // elements.
        unsafe { self.launch(Launch::new("embed", out.rows, THREADS), &arguments) }
    }
}
