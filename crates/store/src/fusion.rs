//! Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps the first ranks from outweighing all others; the value is that of the paper.
const RANK_OFFSET: f32 = 60.0;

/// What rank `rank`, from 1, contributes to the score of a hybrid search: 1 / (60 + rank).
pub fn reciprocal_rank(rank: usize) -> f32 {
    1.0 / (RANK_OFFSET + rank as f32)
}

/// Every item of two rankings with the sum of its reciprocal ranks, best first. Equal sums keep the
/// order of the first ranking, then of the second.
pub(crate) fn fuse<T: Copy + Eq + Hash>(first: &[T], second: &[T]) -> Vec<(T, f32)> {
    let mut fused: Vec<(T, f32)> = Vec::new();
    let mut at = HashMap::new();
    for ranking in [first, second] {
        for (rank, item) in (1..).zip(ranking) {
            let at = *at.entry(*item).or_insert_with(|| {
                fused.push((*item, 0.0));
                fused.len() - 1
            });
            fused[at].1 += reciprocal_rank(rank);
        }
    }
    fused.sort_by(|a, b| b.1.total_cmp(&a.1));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_both_rankings_come_before_items_of_one() {
        let fused = fuse(&["a", "b", "c"], &["c", "d"]);
        let order: Vec<_> = fused.iter().map(|(item, _)| *item).collect();
        assert_eq!(order, ["c", "a", "b", "d"]);
        assert_eq!(fused[0].1, 1.0 / 63.0 + 1.0 / 61.0);
        assert_eq!(fused[1].1, 1.0 / 61.0);
    }

    #[test]
    fn one_ranking_alone_keeps_its_order() {
        let order: Vec<_> = fuse(&[3, 1, 2], &[]).into_iter().map(|(item, _)| item).collect();
        assert_eq!(order, [3, 1, 2]);
    }
}
