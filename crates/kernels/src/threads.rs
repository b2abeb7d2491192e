//! The thread pool of the kernels.

use crate::memory::Scratch;
use crate::turns::{self, Priority, Turn, Turns};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

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
    /// Locked by the pass that runs inside the crew.
    inside: [Mutex<()>; Priority::ALL.len()],
    turns: Arc<Turns>,
}

/// Pools that are in use, by process and number of workers: a child of a fork has its parent's
/// memory, but not its threads.
static SHARED: Mutex<BTreeMap<(u32, usize), Weak<Pool>>> = Mutex::new(BTreeMap::new());

impl Threads {
    /// Starts `count` workers of each priority.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let count = count.max(1);
        let [urgent, normal, bulk] = Priority::ALL.map(|priority| crew(count, priority));
        let crews = [urgent?, normal?, bulk?];
        let pool = Pool { crews, inside: Default::default(), turns: Arc::new(Turns::new()) };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The workers that all callers with this `count` in the process share, so that several models
    /// do not run more threads than there are cores. They start with the first caller, and end with
    /// the last.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub fn shared(count: usize) -> std::io::Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (std::process::id(), count);
        if let Some(pool) = shared.get(&key).and_then(Weak::upgrade) {
            return Ok(Self { pool });
        }
        let threads = Self::new(count)?;
        shared.insert(key, Arc::downgrade(&threads.pool));
        Ok(threads)
    }

    /// The number of CPUs that this process may use: those of its affinity mask, but no more than
    /// the quota of its control groups (cgroups v1 and v2), rounded down, and at least one.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Number of workers that work at the same time.
    pub fn count(&self) -> usize {
        self.pool.crews[0].current_num_threads()
    }

    /// Waits for the right to run passes with `priority` on the calling thread. It lasts until the
    /// turn is dropped.
    pub fn turn(&self, priority: Priority) -> Turn {
        Arc::clone(&self.pool.turns).take(priority)
    }

    /// Runs `pass` on a worker, so that no thread has to be woken for each [`run`](Self::run) in
    /// it: a pass has hundreds. Only one pass of each priority runs like this at a time, because a
    /// worker that waits for its part of a pass would start another one. All others, and passes
    /// within passes, stay on the calling thread.
    pub fn within<R: Send>(&self, pass: impl FnOnce() -> R + Send) -> R {
        let priority = turns::current() as usize;
        let inside = match self.pool.inside[priority].try_lock() {
            Ok(inside) => inside,
            // It guards nothing that a panic could have corrupted.
            Err(TryLockError::Poisoned(inside)) => inside.into_inner(),
            Err(TryLockError::WouldBlock) => return pass(),
        };
        let result = self.pool.crews[priority].install(pass);
        drop(inside);
        result
    }

    /// Runs `work` on every task, spread over the workers, and returns when all are done. Each
    /// worker passes its scratch buffers. Tasks have the priority of the calling thread's [`Turn`];
    /// without one, they are bulk.
    pub fn run<T: Send>(&self, tasks: Vec<T>, work: impl Fn(T, &mut [Scratch; 4]) + Sync) {
        let priority = turns::current();
        let Pool { crews, turns, .. } = &*self.pool;
        crews[priority as usize].install(|| {
            tasks.into_par_iter().with_max_len(1).for_each(|task| {
                turns.wait_for_higher(priority);
                SCRATCH.with_borrow_mut(|scratch| work(task, scratch));
            });
        });
    }
}

fn crew(count: usize, priority: Priority) -> std::io::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(move |i| format!("kokeshi-{priority:?}-{i}").to_lowercase())
        .start_handler(move |_| turns::belong_to(priority))
        .build()
        .map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

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

    /// Runs bulk tasks until `stop` and counts them in `count`.
    fn run_bulk_tasks(threads: &Threads, count: &AtomicUsize, stop: &AtomicBool) {
        let _turn = threads.turn(Priority::Bulk);
        while !stop.load(Ordering::Relaxed) {
            threads.run((0..64).collect::<Vec<usize>>(), |_, _| {
                std::thread::sleep(Duration::from_millis(1));
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(60), "the condition is still not met");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn bulk_work_waits_between_tasks_while_urgent_work_is_in_flight() {
        let threads = Threads::new(2).expect("threads start");
        let (count, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| run_bulk_tasks(&threads, &count, &stop));
            wait_for(|| count.load(Ordering::Relaxed) > 0);
            let turn = threads.turn(Priority::Urgent);
            let before = count.load(Ordering::Relaxed);
            let sum = AtomicUsize::new(0);
            threads.run((0..100).collect(), |i: usize, _| {
                std::thread::sleep(Duration::from_millis(1));
                sum.fetch_add(i, Ordering::Relaxed);
            });
            let during = count.load(Ordering::Relaxed) - before;
            assert!(during <= 2 * threads.count(), "{during} tasks did not wait");
            assert_eq!(sum.into_inner(), 99 * 100 / 2);
            drop(turn);
            let before = count.load(Ordering::Relaxed);
            wait_for(|| count.load(Ordering::Relaxed) > before + 2 * threads.count());
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn urgent_work_without_end_leaves_bulk_work_its_share() {
        let threads = Threads::new(2).expect("threads start");
        let (count, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| run_bulk_tasks(&threads, &count, &stop));
            wait_for(|| count.load(Ordering::Relaxed) > 0);
            let (start, mut urgent) = (Instant::now(), Duration::ZERO);
            while start.elapsed() < Duration::from_secs(1) {
                let turn = threads.turn(Priority::Urgent);
                let began = Instant::now();
                threads.run(vec![(); 20], |(), _| std::thread::sleep(Duration::from_millis(2)));
                urgent += began.elapsed();
                drop(turn);
            }
            stop.store(true, Ordering::Relaxed);
            // Half, plus an allowance of 100 ms and one batch of 20 ms.
            let share = urgent.as_secs_f64() / start.elapsed().as_secs_f64();
            assert!((0.3..0.7).contains(&share), "{share}");
        });
    }

    #[test]
    fn equal_counts_share_one_pool_while_it_is_in_use() {
        let pool = |count| Threads::shared(count).expect("threads start").pool;
        let (first, second, other) = (pool(3), pool(3), pool(4));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        let ended = Arc::downgrade(&first);
        drop((first, second));
        assert!(ended.upgrade().is_none());
        assert_eq!(pool(3).crews[0].current_num_threads(), 3);
    }
}
