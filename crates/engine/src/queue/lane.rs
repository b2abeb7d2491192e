//! The waiting items of one lane and their order: start-time fair queueing over clients, by tokens
//! (Goyal, Vin and Cheng 1996). The client that was served the least is next.

use std::collections::VecDeque;

/// Waiting items of many clients. The items of one client keep their order.
#[derive(Debug)]
pub(super) struct Lane<T> {
    clients: Vec<Client<T>>,
    /// Virtual time: the `served` of the client that was last picked, before its item. A client
    /// that arrives or returns starts here: idle time earns no credit.
    now: usize,
    /// Maximum number of tokens of a batch.
    budget: usize,
}

#[derive(Debug)]
struct Client<T> {
    name: String,
    /// Items with their tokens.
    waiting: VecDeque<(usize, T)>,
    /// Tokens served, on the scale of [`Lane::now`].
    served: usize,
}

impl<T> Lane<T> {
    pub(super) fn new(budget: usize) -> Self {
        Self { clients: Vec::new(), now: 0, budget }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.iter().all(|client| client.waiting.is_empty())
    }

    /// Tokens of all waiting items.
    pub(super) fn tokens(&self) -> usize {
        self.clients.iter().flat_map(|client| &client.waiting).map(|(tokens, _)| tokens).sum()
    }

    /// Appends items, with the tokens of each, to those of `client`.
    pub(super) fn push(&mut self, client: &str, items: impl IntoIterator<Item = (usize, T)>) {
        let known = self.clients.iter().position(|known| known.name == client);
        let index = known.unwrap_or_else(|| {
            let (name, waiting) = (client.to_owned(), VecDeque::new());
            self.clients.push(Client { name, waiting, served: self.now });
            self.clients.len() - 1
        });
        let client = &mut self.clients[index];
        if client.waiting.is_empty() {
            client.served = client.served.max(self.now);
        }
        client.waiting.extend(items);
    }

    /// Takes the next batch: items within the budget, or a single item over it. Empty only if no
    /// item waits.
    pub(super) fn next_batch(&mut self) -> Vec<T> {
        let (mut batch, mut room) = (Vec::new(), self.budget);
        while let Some(index) = self.next_client(if batch.is_empty() { usize::MAX } else { room }) {
            // Moved to the end, so that clients served equally take turns.
            let mut client = self.clients.remove(index);
            self.now = self.now.max(client.served);
            if let Some((tokens, item)) = client.waiting.pop_front() {
                client.served += tokens;
                room = room.saturating_sub(tokens);
                batch.push(item);
            }
            self.clients.push(client);
        }
        self.forget_absent();
        batch
    }

    /// Index of the client served the least among those whose first item fits. An item that does
    /// not fit comes first in the next batch, so that short items cannot overtake a long one
    /// forever.
    fn next_client(&self, room: usize) -> Option<usize> {
        let fits = |client: &Client<T>| client.waiting.front().is_some_and(|item| item.0 <= room);
        let fitting = self.clients.iter().enumerate().filter(|(_, client)| fits(client));
        fitting.min_by_key(|(_, client)| client.served).map(|(index, _)| index)
    }

    /// Forgets clients without items, except those that were served more than waiting clients.
    fn forget_absent(&mut self) {
        if self.is_empty() {
            self.clients.clear();
        }
        self.clients.retain(|client| !client.waiting.is_empty() || client.served > self.now);
    }

    /// Removes the items of `client` for which `matches` is true.
    pub(super) fn remove(&mut self, client: &str, matches: impl Fn(&T) -> bool) {
        for known in self.clients.iter_mut().filter(|known| known.name == client) {
            known.waiting.retain(|(_, item)| !matches(item));
        }
        self.forget_absent();
    }
}

#[cfg(test)]
mod tests;
