//! What waits in one lane, and who is next: deficit round robin over clients, by tokens (Shreedhar
//! and Varghese 1995).

use std::collections::VecDeque;

/// Items of many clients. A client's own items keep their order.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// Clients with waiting items; the first one is next.
    clients: VecDeque<Client<T>>,
    /// Tokens of a batch.
    budget: usize,
}

#[derive(Debug)]
struct Client<T> {
    name: String,
    /// With their tokens.
    waiting: VecDeque<(usize, T)>,
    /// Tokens that it may still run before it is another one's turn.
    credit: usize,
}

impl<T> Lane<T> {
    pub(super) fn new(budget: usize) -> Self {
        Self { clients: VecDeque::new(), budget }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Tokens that wait.
    pub(super) fn tokens(&self) -> usize {
        self.clients.iter().flat_map(|client| &client.waiting).map(|(tokens, _)| tokens).sum()
    }

    /// What a client may run in one turn: a batch has room for the turns of sixteen.
    fn quantum(&self) -> usize {
        (self.budget / 16).max(1)
    }

    /// Appends items, with their tokens, to those of `client`.
    pub(super) fn push(&mut self, client: &str, items: impl IntoIterator<Item = (usize, T)>) {
        if let Some(known) = self.clients.iter_mut().find(|known| known.name == client) {
            known.waiting.extend(items);
            return;
        }
        let waiting: VecDeque<_> = items.into_iter().collect();
        if !waiting.is_empty() {
            let credit = self.quantum();
            self.clients.push_back(Client { name: client.to_owned(), waiting, credit });
        }
    }

    /// Takes the next batch: items within the budget, or one that exceeds it alone. Empty only if
    /// nothing waits.
    pub(super) fn next_batch(&mut self) -> Vec<T> {
        let (mut batch, mut room, quantum) = (Vec::new(), self.budget, self.quantum());
        let mut no_room = VecDeque::new();
        while room > 0
            && let Some(mut client) = self.clients.pop_front()
        {
            let Some((tokens, _)) = client.serve(&mut batch, &mut room) else { continue };
            if *tokens <= client.credit {
                no_room.push_back(client);
            } else {
                client.credit += quantum;
                self.clients.push_back(client);
            }
        }
        // It was their turn: the next batch starts with them, or shorter items of others would
        // keep a long one waiting for ever.
        no_room.append(&mut self.clients);
        self.clients = no_room;
        batch
    }

    /// Takes out the items of `client` that `which` picks.
    pub(super) fn remove(&mut self, client: &str, which: impl Fn(&T) -> bool) {
        for known in self.clients.iter_mut().filter(|known| known.name == client) {
            known.waiting.retain(|(_, item)| !which(item));
        }
        self.clients.retain(|client| !client.waiting.is_empty());
    }
}

impl<T> Client<T> {
    /// Moves items to `batch` as long as credit and room last. The first one that stays, if any.
    fn serve(&mut self, batch: &mut Vec<T>, room: &mut usize) -> Option<&(usize, T)> {
        while let Some((tokens, item)) = self.waiting.pop_front() {
            if tokens > self.credit || tokens > *room && !batch.is_empty() {
                self.waiting.push_front((tokens, item));
                break;
            }
            self.credit -= tokens;
            *room = room.saturating_sub(tokens);
            batch.push(item);
        }
        self.waiting.front()
    }
}

#[cfg(test)]
mod tests;
