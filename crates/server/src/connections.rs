//! The open connections: how many there may be, and which one is closed to make room for another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Slots for connections. If keys are configured, whoever has none cannot keep others out: a
/// connection that has shown no key gives its slot to the next one, the oldest first.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    /// Whether connections without a key are closed to make room.
    makes_room: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// Number of the next connection.
    next: u64,
    /// Connections that have shown no key, the oldest first.
    keyless: BTreeMap<u64, Arc<Notify>>,
}

/// The slot of an open connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    connections: Arc<Connections>,
    number: u64,
    closed: Arc<Notify>,
}

impl Connections {
    pub(crate) fn new(limit: usize, makes_room: bool) -> Arc<Self> {
        Arc::new(Self { limit, makes_room, state: Mutex::default() })
    }

    /// A slot; `None` if all are taken and none is given away. One that is given away is counted
    /// until its connection has noticed.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.lock();
        if state.open >= self.limit {
            let oldest = if self.makes_room { state.keyless.pop_first() } else { None };
            oldest?.1.notify_one();
        }
        state.open += 1;
        let (number, closed) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        state.keyless.insert(number, Arc::clone(&closed));
        drop(state);
        Some(Slot { connections: Arc::clone(self), number, closed })
    }

    /// Every change leaves the state consistent, so it is usable after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Keeps the slot until the connection ends: it has shown a key.
    pub(crate) fn keep(&self) {
        self.connections.lock().keyless.remove(&self.number);
    }

    /// Waits until the slot is given to another connection.
    pub(crate) async fn given_away(&self) {
        self.closed.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.open -= 1;
        state.keyless.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_given_away(slot: &Slot) -> bool {
        let mut future = pin!(slot.given_away());
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_connection_without_a_key_makes_room_for_the_next_and_one_with_a_key_does_not() {
        let connections = Connections::new(2, true);
        let [first, second] = [(); 2].map(|()| connections.take().expect("a slot"));
        first.keep();
        let third = connections.take().expect("the slot of the second");
        assert!(!is_given_away(&first) && is_given_away(&second) && !is_given_away(&third));
        third.keep();
        assert!(connections.take().is_none());
        drop((first, second));
        assert!(connections.take().is_some());
        assert!(connections.lock().keyless.is_empty());
    }

    #[test]
    fn without_keys_nobody_makes_room_and_every_limit_is_possible() {
        let connections = Connections::new(1, false);
        let _slot = connections.take().expect("a slot");
        assert!(connections.take().is_none());
        assert!(Connections::new(usize::MAX, false).take().is_some());
        assert!(Connections::new(0, true).take().is_none());
    }
}
