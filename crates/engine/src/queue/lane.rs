//! What waits in one lane, and who is next: start-time fair queueing over clients, by tokens (Goyal,
//! Vin and Cheng 1996). The client that was served the least is next.

use std::collections::VecDeque;

/// Items of many clients. A client's own items keep their order.
#[derive(Debug)]
pub(super) struct Lane<T> {
    clients: Vec<Client<T>>,
    /// What the client that was next last had been served by then. A client that comes, or comes
    /// back, starts here: waiting saves nothing up.
    now: usize,
    /// Tokens of a batch.
    budget: usize,
}

#[derive(Debug)]
struct Client<T> {
    name: String,
    /// With their tokens.
    waiting: VecDeque<(usize, T)>,
    /// Tokens, on the scale of [`Lane::now`].
    served: usize,
}

impl<T> Lane<T> {
    pub(super) fn new(budget: usize) -> Self {
        Self { clients: Vec::new(), now: 0, budget }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.iter().all(|client| client.waiting.is_empty())
    }

    /// Tokens that wait.
    pub(super) fn tokens(&self) -> usize {
        self.clients.iter().flat_map(|client| &client.waiting).map(|(tokens, _)| tokens).sum()
    }

    /// Appends items, with their tokens, to those of `client`.
    pub(super) fn push(&mut self, client: &str, items: impl IntoIterator<Item = (usize, T)>) {
        let known = self.clients.iter().position(|known| known.name == client);
        let at = known.unwrap_or_else(|| {
            let (name, waiting) = (client.to_owned(), VecDeque::new());
            self.clients.push(Client { name, waiting, served: self.now });
            self.clients.len() - 1
        });
        let client = &mut self.clients[at];
        if client.waiting.is_empty() {
            client.served = client.served.max(self.now);
        }
        client.waiting.extend(items);
    }

    /// Takes the next batch: items within the budget, or one that exceeds it alone. Empty only if
    /// nothing waits.
    pub(super) fn next_batch(&mut self) -> Vec<T> {
        let (mut batch, mut room) = (Vec::new(), self.budget);
        while let Some(at) = self.next_client(if batch.is_empty() { usize::MAX } else { room }) {
            // To the end, so that equals take turns.
            let mut client = self.clients.remove(at);
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

    /// Who has been served the least of those whose first item fits. One that does not fit is the
    /// first in the next batch, so that short items do not pass a long one for ever.
    fn next_client(&self, room: usize) -> Option<usize> {
        let fits = |client: &Client<T>| client.waiting.front().is_some_and(|item| item.0 <= room);
        let fitting = self.clients.iter().enumerate().filter(|(_, client)| fits(client));
        fitting.min_by_key(|(_, client)| client.served).map(|(at, _)| at)
    }

    /// A client without items is remembered as long as it is ahead of others that wait.
    fn forget_absent(&mut self) {
        if self.is_empty() {
            self.clients.clear();
        }
        self.clients.retain(|client| !client.waiting.is_empty() || client.served > self.now);
    }

    /// Takes out the items of `client` that `which` picks.
    pub(super) fn remove(&mut self, client: &str, which: impl Fn(&T) -> bool) {
        for known in self.clients.iter_mut().filter(|known| known.name == client) {
            known.waiting.retain(|(_, item)| !which(item));
        }
        self.forget_absent();
    }
}

#[cfg(test)]
mod tests;
