//! Quality of a ranking.

use std::collections::HashMap;

/// Number of ranks that count: the 10 of nDCG@10 and recall@10.
pub const DEPTH: usize = 10;

/// Measures of one query, or their means over many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// nDCG: discounted gain of the first [`DEPTH`] ranks over that of the best possible order
    /// (Järvelin and Kekäläinen 2002). A document's gain is its grade, as in `trec_eval` and BEIR.
    pub ndcg: f64,
    /// Share of the relevant documents among the first [`DEPTH`].
    pub recall: f64,
}

impl Quality {
    /// The quality of a ranking without repetitions, best first. `relevant` must have a grade above
    /// 0 for at least one document.
    #[must_use]
    pub fn of(ranking: &[String], relevant: &HashMap<String, f64>) -> Self {
        let first = &ranking[..ranking.len().min(DEPTH)];
        let gains = first.iter().map(|id| relevant.get(id).copied().unwrap_or(0.0));
        let mut ideal: Vec<f64> = relevant.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        ideal.truncate(DEPTH);
        Self {
            ndcg: discounted(gains) / discounted(ideal.into_iter()),
            recall: recall_at(DEPTH, ranking, relevant),
        }
    }

    /// The means of `all`; 0 for an empty slice.
    #[must_use]
    pub fn mean(all: &[Self]) -> Self {
        let count = all.len().max(1) as f64;
        let mean = |part: fn(&Self) -> f64| all.iter().map(part).sum::<f64>() / count;
        Self { ndcg: mean(|q| q.ndcg), recall: mean(|q| q.recall) }
    }
}

/// Recall@`depth`: the share of the relevant documents among the first `depth` of a ranking. With
/// one relevant document, the mean over queries is the share of queries that find it (R@1, R@10).
/// `relevant` must not be empty.
#[must_use]
pub fn recall_at(depth: usize, ranking: &[String], relevant: &HashMap<String, f64>) -> f64 {
    let first = &ranking[..ranking.len().min(depth)];
    let found = first.iter().filter(|id| relevant.contains_key(*id)).count();
    found as f64 / relevant.len() as f64
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    // Rank r is divided by log2(r + 1).
    (2_u32..).zip(gains).map(|(rank, gain)| gain / f64::from(rank).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranking: &str, relevant: &[(&str, f64)]) -> Quality {
        let ranking: Vec<String> = ranking.split(' ').map(str::to_owned).collect();
        let relevant = relevant.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect();
        Quality::of(&ranking, &relevant)
    }

    #[track_caller]
    fn assert_close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    /// The worked example of Wikipedia's article on discounted cumulative gain.
    #[test]
    fn a_graded_ranking_has_the_published_gain() {
        let grades = [("d1", 3.0), ("d2", 2.0), ("d3", 3.0), ("d5", 1.0), ("d6", 2.0)];
        let judged: Vec<_> = grades.into_iter().chain([("d7", 3.0), ("d8", 2.0)]).collect();
        assert_close(discounted([3.0, 2.0, 3.0, 0.0, 1.0, 2.0].into_iter()), 6.861_126_688_6);
        assert_close(discounted([3.0, 3.0, 3.0, 2.0, 2.0, 2.0].into_iter()), 8.740_262_365_4);
        let quality = of("d1 d2 d3 d4 d5 d6", &judged);
        // Unlike in the article, the ideal order includes a seventh rank, of grade 1.
        assert_close(quality.ndcg, 6.861_126_688_6 / (8.740_262_365_4 + 1.0 / 3.0));
        assert_close(quality.recall, 5.0 / 7.0);
    }

    #[test]
    fn only_the_first_ten_ranks_count() {
        assert_eq!(of("a b c", &[("a", 1.0)]), Quality { ndcg: 1.0, recall: 1.0 });
        let tenth = of("b c d e f g h i j a", &[("a", 1.0)]);
        assert_close(tenth.ndcg, 1.0 / 11_f64.log2());
        assert_close(tenth.recall, 1.0);
        assert_eq!(of("b c d e f g h i j k a", &[("a", 1.0)]), Quality::default());
        assert_eq!(of("x", &[("a", 4.0)]), Quality::default());
    }

    #[test]
    fn more_relevant_documents_than_ranks_limit_recall_but_not_gain() {
        let answers: Vec<String> = (0..20).map(|id| id.to_string()).collect();
        let judged: Vec<(&str, f64)> = answers.iter().map(|id| (id.as_str(), 1.0)).collect();
        assert_eq!(of(&answers.join(" "), &judged), Quality { ndcg: 1.0, recall: 0.5 });
    }

    #[test]
    fn recall_counts_the_relevant_documents_of_the_first_ranks() {
        let ranking = ["a", "b", "c"].map(str::to_owned);
        let relevant = ["b", "c", "d", "e"].map(|id| (id.to_owned(), 1.0)).into();
        let at = |depth| recall_at(depth, &ranking, &relevant);
        assert_eq!([at(0), at(1), at(2), at(3), at(9)], [0.0, 0.0, 0.25, 0.5, 0.5]);
    }

    /// The mean of scikit-learn's `ndcg_score` is that of one query, with the gains as they are.
    #[test]
    fn gains_are_those_of_scikit_learn() {
        let cases = crate::expected::array("ndcg");
        assert_eq!(cases.len(), 3);
        for case in cases {
            let grades = crate::expected::numbers(&case["grades"]);
            // Documents are ranked in the order of their numbers.
            let ranking: Vec<String> = (0..grades.len()).map(|id| id.to_string()).collect();
            let graded = ranking.iter().cloned().zip(grades).filter(|(_, grade)| *grade > 0.0);
            let got = Quality::of(&ranking, &graded.collect()).ndcg;
            let want = crate::expected::number(&case["ndcg"]);
            assert!((got - want).abs() < 1e-12, "{got}: {case}");
        }
    }

    #[test]
    fn means_are_over_queries() {
        let all = [Quality { ndcg: 1.0, recall: 0.5 }, Quality { ndcg: 0.0, recall: 1.0 }];
        assert_eq!(Quality::mean(&all), Quality { ndcg: 0.5, recall: 0.75 });
        assert_eq!(Quality::mean(&[]), Quality::default());
    }
}
