//! The threads and instruction set of analyses.

use crate::error::Result;
use kokeshi_kernels::Level;
use kokeshi_kernels::threads::Threads;
use std::ops::Range;

/// A pool of threads and an instruction set. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Compute {
    threads: Threads,
    pub(crate) level: Level,
}

impl Compute {
    /// `threads` workers, one per core if `None`; instructions of `level`, the fastest if `None`.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn new(threads: Option<usize>, level: Option<Level>) -> Result<Self> {
        let threads = Threads::shared(threads.unwrap_or_else(Threads::available))?;
        Ok(Self { threads, level: level.unwrap_or_else(Level::best) })
    }

    /// Divides `rows` rows into blocks of `block` and runs `work` on each, on all workers. Returns
    /// the results in order.
    pub(crate) fn blocks<T: Send>(
        &self,
        rows: usize,
        block: usize,
        work: impl Fn(Range<usize>) -> T + Sync,
    ) -> Vec<T> {
        let starts = (0..rows).step_by(block);
        let ranges = starts.map(|start| start..rows.min(start + block)).collect();
        self.each(ranges, work)
    }

    /// Runs `work` on each of `tasks`, on all workers. Returns the results in order.
    pub(crate) fn each<A: Send, T: Send>(
        &self,
        tasks: Vec<A>,
        work: impl Fn(A) -> T + Sync,
    ) -> Vec<T> {
        let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
        let slots = tasks.into_iter().zip(&mut results).collect();
        self.threads.run(slots, |(task, slot): (A, &mut Option<T>), _| *slot = Some(work(task)));
        results.into_iter().flatten().collect()
    }
}
