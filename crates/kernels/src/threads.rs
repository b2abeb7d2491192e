//! The pool that kernels run on.

use crate::memory::Scratch;
use crate::turns::{self, Priority, Turn, Turns};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

thread_local! {
    /// Buffers of this worker, kept between calls.
    static SCRATCH: RefCell<[Scratch; 4]> = RefCell::new(std::array::from_fn(|_| Scratch::new()));
}

/// Worker threads. Clones share them.
#[derive(Clone, Debug)]
pub struct Threads {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// The workers of each priority. One crew works at a time: see [`crate::turns`].
    crews: [rayon::ThreadPool; Priority::ALL.len()],
    turns: Arc<Turns>,
}

/// Pools that are in use, by number of workers.
static SHARED: Mutex<BTreeMap<usize, Weak<Pool>>> = Mutex::new(BTreeMap::new());

impl Threads {
    /// Starts `count` workers of each priority.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let count = count.max(1);
        let [urgent, normal, bulk] = Priority::ALL.map(|priority| crew(count, priority));
        let pool = Pool { crews: [urgent?, normal?, bulk?], turns: Arc::new(Turns::new()) };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The workers that all callers with this `count` in the process share, so that several models
    /// do not run more threads than there are cores. They are started for the first one, and end
    /// with the last.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn shared(count: usize) -> std::io::Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = shared.get(&count).and_then(Weak::upgrade) {
            return Ok(Self { pool });
        }
        let threads = Self::new(count)?;
        shared.insert(count, Arc::downgrade(&threads.pool));
        Ok(threads)
    }

    /// The number of CPUs that this process may use (affinity mask and cgroup quota).
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Number of workers that work at the same time.
    pub fn count(&self) -> usize {
        self.pool.crews[0].current_num_threads()
    }

    /// Waits until the calling thread may run passes with `priority`, and lets it until the turn is
    /// dropped.
    pub fn turn(&self, priority: Priority) -> Turn {
        Arc::clone(&self.pool.turns).take(priority)
    }

    /// Runs `work` on every task, spread over the workers, and returns when all are done. Each
    /// worker lends its scratch buffers. Tasks have the priority of the calling thread's [`Turn`];
    /// without one, they are bulk.
    pub fn run<T: Send>(&self, tasks: Vec<T>, work: impl Fn(T, &mut [Scratch; 4]) + Sync) {
        let priority = turns::current();
        let Pool { crews, turns } = &*self.pool;
        crews[priority as usize].install(|| {
            tasks.into_par_iter().with_max_len(1).for_each(|task| {
                turns.let_others_first(priority);
                SCRATCH.with_borrow_mut(|scratch| work(task, scratch));
            });
        });
    }
}

fn crew(count: usize, priority: Priority) -> std::io::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(move |i| format!("kokeshi-{priority:?}-{i}").to_lowercase())
        .build()
        .map_err(std::io::Error::other)
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
