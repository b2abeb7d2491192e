//! Turns of forward passes with different priorities on the same cores.
//!
//! Each priority has a crew of workers, one per core. While a pass of a higher priority is in
//! flight, the workers of lower ones pause between two tasks, so that one crew works at a time and
//! an urgent pass waits for a task, not for a pass. The time that a priority takes from lower ones
//! that wait is accounted for and repaid before its next pass: no priority starves.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How urgent a forward pass is. Passes without a priority are the least urgent ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// Before the rest.
    Normal,
    /// When nothing else is in flight.
    #[default]
    Bulk,
}

impl Priority {
    /// All priorities, the most urgent one first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];
}

const PRIORITIES: usize = Priority::ALL.len();

/// The time that a priority may take from lower ones before it has to repay any, so that a burst of
/// a few queries does not wait.
const ALLOWANCE: Duration = Duration::from_millis(100);

thread_local! {
    /// Priority of the pass that this thread runs; of a worker, that of its crew.
    static PRIORITY: Cell<Priority> = const { Cell::new(Priority::Bulk) };
}

/// Priority of the pass that the calling thread runs.
pub(crate) fn current() -> Priority {
    PRIORITY.get()
}

/// Makes the calling thread a worker of the crew of `priority`.
pub(crate) fn belong_to(priority: Priority) {
    PRIORITY.set(priority);
}

/// The passes in flight on one set of cores.
#[derive(Debug)]
pub(crate) struct Turns {
    ledger: Mutex<Ledger>,
    changed: Condvar,
    /// The highest priority in flight, `PRIORITIES` if there is none: workers read it before each
    /// task, without the lock.
    highest: AtomicUsize,
}

/// The right of a thread to run passes with a priority. It ends when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    priority: Priority,
    /// Priority of the thread outside this turn.
    outer: Priority,
    /// The priority belongs to the thread, so this must not move to another.
    thread: PhantomData<*const ()>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(Instant::now())),
            changed: Condvar::new(),
            highest: AtomicUsize::new(PRIORITIES),
        }
    }

    /// Waits until the calling thread may run passes with `priority`. Within another turn it gets
    /// at least the priority of that one, or it would wait for itself.
    pub(crate) fn take(self: Arc<Self>, priority: Priority) -> Turn {
        let priority = priority.min(current());
        let mut ledger = self.lock();
        loop {
            ledger.account(Instant::now());
            let delay = ledger.delay(priority);
            if delay.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(ledger, delay);
            ledger = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        ledger.in_flight[priority as usize] += 1;
        self.publish(&ledger);
        drop(ledger);
        Turn { turns: self, priority, outer: PRIORITY.replace(priority), thread: PhantomData }
    }

    /// Waits while a pass of a higher priority than `priority` is in flight.
    #[inline]
    pub(crate) fn wait_for_higher(&self, priority: Priority) {
        // Relaxed: a worker that sees the change late runs one more task.
        if self.highest.load(Ordering::Relaxed) < priority as usize {
            let higher_run = |ledger: &mut Ledger| ledger.highest() < priority as usize;
            drop(self.changed.wait_while(self.lock(), higher_run));
        }
    }

    fn end(&self, priority: Priority) {
        let mut ledger = self.lock();
        ledger.account(Instant::now());
        ledger.in_flight[priority as usize] -= 1;
        self.publish(&ledger);
    }

    fn publish(&self, ledger: &Ledger) {
        self.highest.store(ledger.highest(), Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// The ledger is consistent between any two of its changes, so a panic elsewhere does not
    /// corrupt it.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        PRIORITY.set(self.outer);
        self.turns.end(self.priority);
    }
}

/// The passes in flight, and the time that each priority owes to lower ones.
#[derive(Debug)]
struct Ledger {
    in_flight: [usize; PRIORITIES],
    owed: [Duration; PRIORITIES],
    /// The end of the time that is accounted for.
    accounted: Instant,
}

impl Ledger {
    fn new(now: Instant) -> Self {
        Self { in_flight: [0; PRIORITIES], owed: [Duration::ZERO; PRIORITIES], accounted: now }
    }

    /// The priority whose crew works; `PRIORITIES` if none does.
    fn highest(&self) -> usize {
        self.in_flight.iter().position(|&passes| passes > 0).unwrap_or(PRIORITIES)
    }

    fn others_wait_for(&self, priority: usize) -> bool {
        self.in_flight[priority + 1..].iter().any(|&passes| passes > 0)
    }

    /// Accounts for the time since the last call: the crew that worked owes it to those that
    /// waited, and repays it while no crew waits for it.
    fn account(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.accounted);
        self.accounted = now;
        let working = self.highest();
        for priority in 0..PRIORITIES.min(working + 1) {
            let owed = &self.owed[priority];
            self.owed[priority] = if priority == working && self.others_wait_for(priority) {
                owed.saturating_add(passed)
            } else {
                owed.saturating_sub(passed)
            };
        }
    }

    /// How long a new pass of `priority` has to leave the cores to lower ones in flight.
    fn delay(&self, priority: Priority) -> Duration {
        let priority = priority as usize;
        if !self.others_wait_for(priority) {
            return Duration::ZERO;
        }
        self.owed[priority].saturating_sub(ALLOWANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URGENT: usize = Priority::Urgent as usize;
    const NORMAL: usize = Priority::Normal as usize;
    const BULK: usize = Priority::Bulk as usize;

    /// A ledger after `steps` of (priority or none, milliseconds) while a bulk pass is in flight.
    fn ledger(steps: &[(Option<usize>, u64)]) -> Ledger {
        let mut now = Instant::now();
        let mut ledger = Ledger::new(now);
        ledger.in_flight[BULK] = 1;
        for &(priority, ms) in steps {
            priority.inspect(|&priority| ledger.in_flight[priority] += 1);
            now += Duration::from_millis(ms);
            ledger.account(now);
            priority.inspect(|&priority| ledger.in_flight[priority] -= 1);
        }
        ledger
    }

    fn delays(steps: &[(Option<usize>, u64)]) -> [u128; 3] {
        let ledger = ledger(steps);
        Priority::ALL.map(|priority| ledger.delay(priority).as_millis())
    }

    #[test]
    fn time_taken_beyond_the_allowance_is_repaid() {
        assert_eq!(delays(&[(Some(URGENT), 90)]), [0, 0, 0]);
        assert_eq!(delays(&[(Some(URGENT), 250)]), [150, 0, 0]);
        assert_eq!(delays(&[(Some(URGENT), 250), (None, 100)]), [50, 0, 0]);
        assert_eq!(delays(&[(Some(URGENT), 250), (None, 900), (Some(URGENT), 120)]), [20, 0, 0]);
    }

    #[test]
    fn time_of_a_higher_priority_repays_nothing() {
        let steps = [(Some(NORMAL), 300), (Some(URGENT), 300)];
        assert_eq!(delays(&steps), [200, 200, 0]);
        assert_eq!(delays(&[(Some(URGENT), 300), (Some(NORMAL), 300)]), [0, 200, 0]);
    }

    #[test]
    fn nothing_is_owed_while_no_crew_waits() {
        let mut ledger = ledger(&[(Some(URGENT), 500)]);
        ledger.in_flight = [1, 0, 0];
        assert_eq!(ledger.delay(Priority::Urgent), Duration::ZERO);
        ledger.account(ledger.accounted + Duration::from_millis(500));
        assert_eq!(ledger.owed[URGENT], Duration::ZERO);
    }

    #[test]
    fn a_thread_has_its_priority_for_as_long_as_its_turn() {
        let turns = Arc::new(Turns::new());
        assert_eq!(current(), Priority::Bulk);
        let outer = Arc::clone(&turns).take(Priority::Normal);
        let inner = Arc::clone(&turns).take(Priority::Urgent);
        assert_eq!((current(), turns.lock().in_flight), (Priority::Urgent, [1, 1, 0]));
        drop(Arc::clone(&turns).take(Priority::Bulk));
        assert_eq!((current(), turns.lock().in_flight), (Priority::Urgent, [1, 1, 0]));
        drop(inner);
        assert_eq!((current(), turns.lock().in_flight), (Priority::Normal, [0, 1, 0]));
        drop(outer);
        assert_eq!((current(), turns.lock().in_flight), (Priority::Bulk, [0, 0, 0]));
    }
}
