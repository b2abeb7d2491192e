//! The embedding table: rows are gathered from the checkpoint as tokens need them. It is never
//! copied, and no task's update is ever applied to more than the rows in use.

use crate::error::Result;
use crate::matrix::StoredMatrix;
use crate::tensor::Tensor;

/// The token embeddings, with the summand of every token.
#[derive(Debug)]
pub(crate) struct Table {
    word: StoredMatrix, // [vocab, hidden]
    adapters: Vec<Option<TableAdapter>>,
    hidden: usize,
    /// The summand of every token, without a task and with each; empty if there is none.
    shift: Vec<Vec<f32>>,
}

/// One task's low-rank update of an embedding. Element `(row, r)` of A is at
/// `start + row * row_stride + r * rank_stride`.
#[derive(Debug)]
pub(crate) struct TableAdapter {
    pub(crate) a: Tensor,
    pub(crate) start: usize,
    pub(crate) row_stride: usize,
    pub(crate) rank_stride: usize,
    pub(crate) b: Vec<f32>, // [rank, hidden], scaled
}

impl Table {
    /// `shift` is the summand of every token without a task, then with each task.
    pub(crate) fn new(
        word: StoredMatrix,
        adapters: Vec<Option<TableAdapter>>,
        shift: &[Vec<f32>],
    ) -> Self {
        Self { hidden: word.columns(), word, adapters, shift: shift.to_vec() }
    }

    /// A row without a task, then with each task.
    pub(crate) fn rows(&self, row: usize) -> Vec<Vec<f32>> {
        let tasks = std::iter::once(None).chain((0..self.adapters.len()).map(Some));
        let row = |task| {
            let mut to = vec![0.0; self.hidden];
            self.gather(row, task, &mut to);
            to
        };
        tasks.map(row).collect()
    }

    /// Bytes of its tensors in their files.
    pub(crate) fn len_bytes(&self) -> usize {
        let adapters = self.adapters.iter().flatten().map(|adapter| adapter.a.range.len());
        self.word.len_bytes() + adapters.max().unwrap_or(0)
    }

    /// Refuses a table whose files were cut off.
    pub(crate) fn check(&self) -> Result<()> {
        self.word.check()?;
        self.adapters.iter().flatten().try_for_each(|adapter| adapter.a.check())
    }

    /// Width of a row.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Writes `W[row] + scale · A[row] B + shift` of a task to `to`, `[hidden]`.
    pub(crate) fn gather(&self, row: usize, task: Option<usize>, to: &mut [f32]) {
        self.word.read_row(row, to);
        if let Some(adapter) = task.and_then(|task| self.adapters.get(task)?.as_ref()) {
            let mut a = vec![0.0; adapter.b.len() / self.hidden];
            adapter.a.read(adapter.start + row * adapter.row_stride, adapter.rank_stride, &mut a);
            for (a, b) in a.iter().zip(adapter.b.chunks_exact(self.hidden)) {
                to.iter_mut().zip(b).for_each(|(to, b)| *to += a * b);
            }
        }
        let base = self.shift.first();
        if let Some(shift) = task.and_then(|task| self.shift.get(task + 1)).or(base) {
            to.iter_mut().zip(shift).for_each(|(to, shift)| *to += shift);
        }
    }
}

/// The parts that are copied to a card.
#[cfg(feature = "cuda")]
impl Table {
    /// Number of rows.
    pub(crate) fn vocab(&self) -> usize {
        self.word.rows()
    }

    /// The summand of every token, without a task and with each; empty if there is none.
    pub(crate) fn shift(&self) -> &[Vec<f32>] {
        &self.shift
    }

    /// Writes `W[row]` alone to `to`, `[hidden]`.
    pub(crate) fn gather_word(&self, row: usize, to: &mut [f32]) {
        self.word.read_row(row, to);
    }

    /// The low-rank updates of all tasks, padded with zeros to the largest rank: the rank, A
    /// `[tasks, vocab, rank]`, B `[tasks, rank, hidden]`.
    pub(crate) fn low_rank(&self) -> (usize, Vec<f32>, Vec<f32>) {
        let ranks = self.adapters.iter().flatten().map(|adapter| adapter.b.len() / self.hidden);
        let rank = ranks.max().unwrap_or(0);
        let (rows, tasks) = (self.vocab(), if rank > 0 { self.adapters.len() } else { 0 });
        let mut a = vec![0.0; tasks * rows * rank];
        let mut b = vec![0.0; tasks * rank * self.hidden];
        let parts = a.chunks_exact_mut((rows * rank).max(1));
        let parts = parts.zip(b.chunks_exact_mut((rank * self.hidden).max(1)));
        for (adapter, (a, b)) in self.adapters.iter().zip(parts) {
            let Some(adapter) = adapter else { continue };
            let own_rank = adapter.b.len() / self.hidden;
            for (row, to) in a.chunks_exact_mut(rank).enumerate() {
                let start = adapter.start + row * adapter.row_stride;
                adapter.a.read(start, adapter.rank_stride, &mut to[..own_rank]);
            }
            b[..adapter.b.len()].copy_from_slice(&adapter.b);
        }
        (rank, a, b)
    }

    /// Returns the pages of its files to the system once its elements have been copied.
    pub(crate) fn release(&self) {
        self.word.release();
        self.adapters.iter().flatten().for_each(|adapter| adapter.a.release());
    }
}
