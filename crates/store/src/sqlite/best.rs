//! The best rows of a scan.

use super::blocks::Slots;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row and its score; the better one is greater. Of equal scores, the lower row is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) score: f32,
    pub(super) slot: usize,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which rows of a scan count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting<'a> {
    /// Those that a chunk has.
    pub(super) live: &'a Slots,
    /// Those that a filter lets through, if there is one.
    pub(super) only: Option<&'a Slots>,
}

impl Counting<'_> {
    /// The bits of slots `64 * at..`, up to 64.
    pub(super) fn word(self, at: usize) -> u64 {
        self.live.word(at) & self.only.map_or(u64::MAX, |only| only.word(at))
    }

    pub(super) fn contains(self, slot: usize) -> bool {
        self.word(slot / 64) >> (slot % 64) & 1 == 1
    }
}

/// The best rows so far.
pub(super) struct Best {
    limit: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Takes what counts and is good enough of the rows from `first` on.
    pub(super) fn offer(&mut self, first: usize, scores: &[f32], counting: Counting<'_>) {
        for (slot, &score) in (first..).zip(scores) {
            // Most rows of a long scan are not good enough, which is quicker to see.
            if score >= self.least() && counting.contains(slot) {
                self.push(Scored { score, slot });
            }
        }
    }

    /// What a score must have at least.
    fn least(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.limit => worst.0.score,
            _ => f32::NEG_INFINITY,
        }
    }

    fn push(&mut self, row: Scored) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(row));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && row > worst.0
        {
            *worst = Reverse(row);
        }
    }

    /// The best of all parts of a scan, best first.
    pub(super) fn of_all(parts: Vec<Self>) -> Vec<Scored> {
        let limit = parts.first().map_or(0, |part| part.limit);
        let mut best: Vec<Scored> =
            parts.into_iter().flat_map(|part| part.heap).map(|Reverse(row)| row).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(limit);
        best
    }
}
