//! The best rows of a scan.

use super::blocks::Slots;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row and its score, ordered by score; of equal scores, the lower slot is greater.
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

/// Which rows a scan considers.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowFilter<'a> {
    /// Slots that chunks use.
    pub(super) live: &'a Slots,
    /// Slots that a filter matches; `None` without a filter.
    pub(super) only: Option<&'a Slots>,
}

impl RowFilter<'_> {
    /// The bits of slots `64 * at..`, up to 64.
    pub(super) fn word(self, at: usize) -> u64 {
        self.live.word(at) & self.only.map_or(u64::MAX, |only| only.word(at))
    }

    pub(super) fn contains(self, slot: usize) -> bool {
        self.word(slot / 64) >> (slot % 64) & 1 == 1
    }
}

/// The best rows seen so far.
pub(super) struct TopRows {
    limit: usize,
    /// A heap with the worst row on top.
    heap: BinaryHeap<Reverse<Scored>>,
}

impl TopRows {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Considers the rows from `first` on, and keeps those that are good enough.
    pub(super) fn offer(&mut self, first: usize, scores: &[f32], filter: RowFilter<'_>) {
        for (slot, &score) in (first..).zip(scores) {
            // The cheaper check comes first: most rows of a long scan fail it.
            if score >= self.threshold() && filter.contains(slot) {
                self.push(Scored { score, slot });
            }
        }
    }

    /// The minimum score of a row to keep.
    fn threshold(&self) -> f32 {
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

    /// The best rows of all parts of a scan, best first.
    pub(super) fn merge(parts: Vec<Self>) -> Vec<Scored> {
        let limit = parts.first().map_or(0, |part| part.limit);
        let mut best: Vec<Scored> =
            parts.into_iter().flat_map(|part| part.heap).map(|Reverse(row)| row).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(limit);
        best
    }
}
