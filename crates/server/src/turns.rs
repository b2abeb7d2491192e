//! Turns for work that is not a forward pass: tokenizing, decoding token ids, parsing large bodies,
//! training, writing large answers. Short and long work have slots of their own, so that a short
//! request waits for short ones alone. Within each, clients take turns by the time that their work
//! took, as in the engine's queue (start-time fair queueing, Goyal, Vin and Cheng 1996). Long work
//! gives its slot away between two steps if others wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes of one step of long work: the engine's blocks of text.
const STEP_BYTES: usize = 32 << 10;
/// Bytes that are tokenized in a microsecond. Time is counted as the bytes that it would do, so
/// that a step of a training, which has no bytes, counts like its time's worth of tokenizing.
const BYTES_PER_MICROSECOND: usize = 4;

/// Maximum number of works that have begun and not ended. Each holds a thread, also while others
/// have a turn, and what it has done so far.
const MAX_BEGUN: usize = 64;

/// Slots for work, which clients share evenly.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    slots: usize,
    /// Works that have begun and not ended.
    begun: usize,
    waiting: Vec<Waiting>,
    /// Bytes that were worked on for each client, on the scale of `now`.
    served: HashMap<Arc<str>, usize>,
    /// The `served` of the client that last had a turn, before it. A client that arrives starts
    /// here: idle time earns no credit.
    now: usize,
    arrivals: u64,
}

/// Work that waits for a slot.
struct Waiting {
    client: Arc<str>,
    /// Order among the work of one client: smaller work first, and of equal size that which has
    /// begun.
    order: (u32, bool, u64),
    /// Bytes of the whole work.
    size: usize,
    granted: oneshot::Sender<Turn>,
}

/// The right to work, until it is dropped.
pub(crate) struct Turn {
    /// `None` once the slot was given away.
    turns: Option<Turns>,
    client: Arc<str>,
    /// Bytes of the whole work.
    size: usize,
    /// Since when the time of the slot has not been counted, and how many bytes of it are free: work
    /// of less than a step counts by its size alone.
    since: Instant,
    free: usize,
}

impl Turns {
    pub(crate) fn new(slots: usize) -> Self {
        let (served, waiting) = (HashMap::new(), Vec::new());
        let state = State { free: slots, slots, begun: 0, waiting, served, now: 0, arrivals: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a turn of `client`, for work on `size` bytes.
    pub(crate) async fn turn(&self, client: &Arc<str>, size: usize) -> Option<Turn> {
        self.wait(client, size, false).await.ok()
    }

    /// Joins those who wait.
    fn wait(&self, client: &Arc<str>, size: usize, has_begun: bool) -> oneshot::Receiver<Turn> {
        let (granted, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.arrivals += 1;
        // Sizes are compared by their order of magnitude, so that little work has begun at a time.
        let magnitude = size.max(STEP_BYTES).ilog2() / 2;
        let order = (magnitude, !has_begun, state.arrivals);
        let now = state.now;
        let served = state.served.entry(Arc::clone(client)).or_insert(now);
        *served = (*served).max(now);
        let client = Arc::clone(client);
        state.waiting.push(Waiting { client, order, size, granted });
        self.grant(&mut state);
        receiver
    }

    /// Gives free slots to those whose turn it is.
    fn grant(&self, state: &mut State) {
        while state.free > 0 {
            let Some(next) = state.next() else { return };
            let Waiting { client, size, granted, order: (_, is_new, _) } = next;
            // A client that has gone needs no turn.
            if granted.is_closed() {
                continue;
            }
            let served = state.served.entry(Arc::clone(&client)).or_default();
            let before = *served;
            *served = served.saturating_add(size.clamp(1, STEP_BYTES));
            state.now = state.now.max(before);
            state.free -= 1;
            state.begun += usize::from(is_new);
            let since = Instant::now();
            let turn = Turn { turns: Some(self.clone()), client, size, since, free: STEP_BYTES };
            if let Err(mut turn) = granted.send(turn) {
                // Dropping it would lock the state again.
                turn.turns = None;
                state.free += 1;
                state.begun -= usize::from(is_new);
            }
        }
    }

    /// Gives a slot back; `has_ended` unless the work waits for its next turn.
    fn release(&self, client: &Arc<str>, bytes: usize, has_ended: bool) {
        let mut state = self.lock();
        state.count(client, bytes);
        state.free += 1;
        state.begun -= usize::from(has_ended);
        self.grant(&mut state);
        if state.waiting.is_empty() && state.free == state.slots {
            state.served.clear();
        }
    }

    /// Every change leaves the state consistent, so it is usable after another thread has panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts the bytes, or the time, that a client's work took beyond what was counted before.
    fn count(&mut self, client: &Arc<str>, bytes: usize) {
        if let Some(served) = self.served.get_mut(client) {
            *served = served.saturating_add(bytes);
        }
    }

    /// Removes and returns the work whose turn it is: of the client that was served the least.
    fn next(&mut self) -> Option<Waiting> {
        let key = |waiting: &Waiting| {
            let served = self.served.get(&waiting.client).copied().unwrap_or(0);
            (served, waiting.order)
        };
        let is_full = self.begun >= MAX_BEGUN.max(self.slots);
        let all = self.waiting.iter().enumerate();
        let next = all
            .filter(|(_, waiting)| !(is_full && waiting.order.1))
            .min_by_key(|(_, waiting)| key(waiting))
            .map(|(index, _)| index)?;
        Some(self.waiting.swap_remove(next))
    }
}

impl Turn {
    /// Between two steps: lets others have a turn if it is theirs. Blocks the thread meanwhile.
    pub(crate) fn pause(&mut self) {
        let Some(turns) = self.turns.clone() else { return };
        let bytes = self.uncounted();
        let mut state = turns.lock();
        if state.waiting.is_empty() {
            return state.count(&self.client, bytes);
        }
        drop(state);
        let next = turns.wait(&self.client, self.size, true);
        self.turns = None;
        turns.release(&self.client, bytes, false);
        if let Ok(turn) = next.blocking_recv() {
            *self = turn;
        }
    }

    /// The time since it was last counted, in bytes, without the free ones.
    fn uncounted(&mut self) -> usize {
        let now = Instant::now();
        let took = bytes_of(now.saturating_duration_since(self.since));
        let bytes = took.saturating_sub(self.free);
        (self.since, self.free) = (now, 0);
        bytes
    }
}

/// The bytes that are tokenized in `time`.
fn bytes_of(time: Duration) -> usize {
    usize::try_from(time.as_micros()).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_MICROSECOND)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            let bytes = self.uncounted();
            turns.release(&self.client, bytes, true);
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("free", &self.free).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(client: &str) -> Arc<str> {
        client.into()
    }

    /// The order in which work of `(client, size)` runs that waits for one slot.
    fn order(work: &[(&str, usize)]) -> Vec<usize> {
        let turns = Turns::new(1);
        let busy = turns.wait(&name("busy"), 1, false).blocking_recv().expect("a turn");
        let mut waiting: Vec<_> = work
            .iter()
            .map(|(client, size)| Some(turns.wait(&name(client), *size, false)))
            .collect();
        drop(busy);
        let mut order = Vec::new();
        while order.len() < work.len() {
            for (index, receiver) in waiting.iter_mut().enumerate() {
                let Some(turn) = receiver.as_mut().and_then(|one| one.try_recv().ok()) else {
                    continue;
                };
                *receiver = None;
                order.push(index);
                drop(turn);
            }
        }
        order
    }

    #[test]
    fn clients_take_turns_and_smaller_work_of_a_client_is_first() {
        let (small, large) = (1, 8 << 20);
        let work = [("a", large), ("a", large), ("a", small), ("b", large), ("b", small)];
        assert_eq!(order(&work), [2, 4, 0, 3, 1]);
    }

    #[test]
    fn clients_take_turns_by_the_time_that_their_work_took() {
        let turns = Turns::new(1);
        let busy = turns.wait(&name("busy"), 1, false).blocking_recv().expect("a turn");
        let slow = turns.wait(&name("slow"), 1, false);
        let others: Vec<_> =
            (0..3).map(|_| turns.wait(&name("quick"), STEP_BYTES, false)).collect();
        let again = turns.wait(&name("slow"), 1, false);
        drop(busy);
        let slow = slow.blocking_recv().expect("the first turn");
        std::thread::sleep(Duration::from_millis(100));
        drop(slow);
        for mut other in others {
            drop(other.try_recv().expect("before the second turn of the slow one"));
        }
        drop(again.blocking_recv().expect("the last turn"));
    }

    #[test]
    fn a_bounded_number_of_works_has_begun() {
        let turns = Turns::new(1);
        let new = |number: usize| turns.wait(&name(&number.to_string()), 1 << 20, false);
        let begun: Vec<_> = (0..MAX_BEGUN)
            .map(|number| {
                // As in a pause, before it waits for its next turn.
                let mut turn = new(number).blocking_recv().expect("a turn");
                turn.turns = None;
                turns.release(&turn.client, 0, false);
                turn.client.clone()
            })
            .collect();
        let mut another = new(MAX_BEGUN);
        assert!(another.try_recv().is_err(), "a slot is free, but too many have begun");
        let mut another = Some(another);
        for client in begun {
            let next = turns.wait(&client, 1 << 20, true);
            drop(next.blocking_recv().expect("a turn of work that has begun"));
            if let Some(another) = another.take() {
                drop(another.blocking_recv().expect("a turn, as one has ended"));
            }
        }
        let state = turns.lock();
        assert_eq!((state.begun, state.free), (0, 1));
    }

    #[test]
    fn a_slot_is_free_again_when_its_turn_ends_or_its_client_has_gone() {
        let turns = Turns::new(2);
        let granted = ["a", "b"].map(|client| turns.wait(&name(client), 1, false));
        let gone = turns.wait(&name("c"), 1, false);
        assert_eq!(turns.lock().free, 0);
        drop(gone);
        drop(granted);
        let state = turns.lock();
        assert_eq!((state.free, state.waiting.len()), (2, 0));
    }

    #[test]
    fn long_work_lets_others_have_a_turn_and_goes_on() {
        let turns = Turns::new(1);
        let mut long = turns.wait(&name("a"), 1 << 20, false).blocking_recv().expect("a turn");
        let other = turns.wait(&name("b"), 1 << 20, false);
        let worker = std::thread::spawn(move || {
            long.pause();
            long
        });
        let other = other.blocking_recv().expect("a turn");
        std::thread::sleep(Duration::from_millis(20));
        assert!(!worker.is_finished(), "there is one slot");
        drop(other);
        drop(worker.join().expect("the long work goes on"));
        assert_eq!(turns.lock().free, 1);
        assert!(turns.lock().served.is_empty());
    }
}
