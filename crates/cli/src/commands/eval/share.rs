//! The share of a set that is measured.

use crate::args::{EvalKind, ShareArguments};
use kokeshi_analysis::PythonRandom;

/// How many things of a set are drawn, and by which seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) limit: Option<usize>,
    pub(super) seed: u64,
}

impl Share {
    /// The share of sets of a kind: the last limit of this kind, or else the last of all.
    pub(super) fn of(arguments: &ShareArguments, kind: EvalKind) -> Self {
        let limit = |wanted: Option<EvalKind>| {
            arguments.limit.iter().rev().find(|limit| limit.kind == wanted)
        };
        let limit = limit(Some(kind)).or_else(|| limit(None)).map(|limit| limit.count);
        Self { limit, seed: arguments.seed }
    }

    /// The drawn ones of `all`, in their order; all if there are no more than the limit.
    pub(super) fn draw<T>(self, all: Vec<T>) -> Vec<T> {
        let mut random = PythonRandom::new(self.seed);
        self.draw_from(&mut random, all)
    }

    /// As [`Self::draw`], from a generator that has been used before.
    pub(super) fn draw_from<T>(self, random: &mut PythonRandom, all: Vec<T>) -> Vec<T> {
        let Some(limit) = self.limit.filter(|limit| *limit < all.len()) else { return all };
        let mut is_drawn = vec![false; all.len()];
        random.sample(all.len(), limit).into_iter().for_each(|index| is_drawn[index] = true);
        let kept = all.into_iter().zip(is_drawn).filter(|(_, is_drawn)| *is_drawn);
        kept.map(|(one, _)| one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Limit;

    fn arguments(limit: Vec<Limit>) -> ShareArguments {
        ShareArguments {
            only: Vec::new(),
            languages: Vec::new(),
            limit,
            seed: 0,
            cross_lingual: None,
            same_id: crate::args::SameId::OtherText,
        }
    }

    #[test]
    fn the_limit_of_a_kind_wins_over_that_of_all() {
        let of_sts = Limit { kind: Some(EvalKind::Sts), count: 7 };
        let of_all = Limit { kind: None, count: 9 };
        let limits = arguments(vec![of_sts, of_all]);
        assert_eq!(Share::of(&limits, EvalKind::Sts).limit, Some(7));
        assert_eq!(Share::of(&limits, EvalKind::Bitext).limit, Some(9));
        assert_eq!(Share::of(&arguments(Vec::new()), EvalKind::Bitext).limit, None);
    }

    #[test]
    fn a_share_keeps_its_order_and_is_that_of_python() {
        // sorted(random.Random(0).sample(range(10), 4))
        let share = Share { limit: Some(4), seed: 0 };
        assert_eq!(share.draw((0..10).collect()), [0, 2, 6, 9]);
        assert_eq!(share.draw(vec!["a", "b"]), ["a", "b"]);
    }
}
