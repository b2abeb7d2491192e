//! The pool that kernels run on.

use crate::memory::Scratch;
use rayon::prelude::*;
use std::cell::RefCell;

thread_local! {
    /// Buffers of this worker, kept between calls.
    static SCRATCH: RefCell<[Scratch; 4]> = RefCell::new(std::array::from_fn(|_| Scratch::new()));
}

/// Worker threads of one backend.
#[derive(Debug)]
pub struct Threads {
    pool: rayon::ThreadPool,
}

impl Threads {
    /// Starts `count` workers.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count.max(1))
            .thread_name(|i| format!("kokeshi-{i}"))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { pool })
    }

    /// The number of CPUs that this process may use (affinity mask and cgroup quota).
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on every task, spread over the workers, and returns when all are done. Each
    /// worker lends its scratch buffers.
    pub fn run<T: Send>(&self, tasks: Vec<T>, work: impl Fn(T, &mut [Scratch; 4]) + Sync) {
        self.pool.install(|| {
            tasks.into_par_iter().with_max_len(1).for_each(|task| {
                SCRATCH.with_borrow_mut(|scratch| work(task, scratch));
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count).expect("threads start");
            assert_eq!(threads.count(), count);
            let sum = AtomicUsize::new(0);
            threads.run((0..1000).collect(), |i: usize, scratch| {
                scratch[0].take::<f32>(i).fill(1.0);
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 999 * 1000 / 2);
        }
    }
}
