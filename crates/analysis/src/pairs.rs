//! Measures of a score that shall separate positive from negative examples.

/// The best threshold of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Examples with this score or more are taken as positive; infinite if none is.
    pub score: f64,
    /// Share of the examples that it decides correctly.
    pub accuracy: f64,
}

/// Average precision: Σ (recall at a threshold − recall at the threshold above it) · precision
/// there, over all different scores from the highest to the lowest. Equal scores have one
/// threshold, so their order does not matter. `None` without a positive example.
#[must_use]
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let all = positive.iter().filter(|&&is_positive| is_positive).count();
    let mut before = 0;
    let mut area = 0.0;
    for Counts { taken, right, .. } in thresholds(scores, positive) {
        area += (right - before) as f64 * right as f64 / taken as f64;
        before = right;
    }
    (all > 0).then(|| area / all as f64)
}

/// The threshold with the largest accuracy, the highest of equally good ones. `None` without
/// examples.
#[must_use]
pub fn best_threshold(scores: &[f64], positive: &[bool]) -> Option<Threshold> {
    let all = scores.len().min(positive.len());
    let positives = positive.iter().take(all).filter(|&&is_positive| is_positive).count();
    let accuracy = |taken: usize, right: usize| {
        // Right are the positive ones above the threshold and the negative ones below it.
        (right + (all - taken) - (positives - right)) as f64 / all as f64
    };
    let none = Threshold { score: f64::INFINITY, accuracy: accuracy(0, 0) };
    let best = thresholds(scores, positive).into_iter().fold(none, |best, counts| {
        let accuracy = accuracy(counts.taken, counts.right);
        if accuracy > best.accuracy { Threshold { score: counts.score, accuracy } } else { best }
    });
    (all > 0).then_some(best)
}

/// The examples with a score of at least `score`.
struct Counts {
    score: f64,
    taken: usize,
    /// The positive ones of them.
    right: usize,
}

/// The counts at every different score, the highest first.
fn thresholds(scores: &[f64], positive: &[bool]) -> Vec<Counts> {
    let mut examples: Vec<(f64, bool)> =
        scores.iter().copied().zip(positive.iter().copied()).collect();
    examples.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut taken, mut right) = (0, 0);
    let counts = |equal: &[(f64, bool)]| {
        taken += equal.len();
        right += equal.iter().filter(|(_, is_positive)| *is_positive).count();
        Counts { score: equal[0].0, taken, right }
    };
    examples.chunk_by(|a, b| a.0 == b.0).map(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected;

    #[test]
    fn average_precision_is_that_of_scikit_learn() {
        let cases = expected::array("pairs");
        assert_eq!(cases.len(), 4);
        for case in cases {
            let scores = expected::numbers(&case["scores"]);
            let positive: Vec<bool> =
                expected::numbers(&case["labels"]).iter().map(|label| *label > 0.0).collect();
            let got = average_precision(&scores, &positive).expect("a precision");
            let want = expected::number(&case["average_precision"]);
            assert!((got - want).abs() < 1e-12, "{got}: {case}");
            let best = best_threshold(&scores, &positive).expect("a threshold");
            let want = expected::number(&case["best_accuracy"]);
            assert!((best.accuracy - want).abs() < 1e-12, "{best:?}: {case}");
        }
    }

    #[test]
    fn the_best_threshold_decides_as_it_says() {
        let (scores, positive) = ([0.9, 0.7, 0.7, 0.2], [true, true, false, true]);
        // From 0.9 on: one of three positive ones is found, and the negative one is left.
        let expected = Threshold { score: 0.2, accuracy: 0.75 };
        assert_eq!(best_threshold(&scores, &positive), Some(expected));
        let all_wrong = best_threshold(&[0.9, 0.1], &[false, false]).expect("a threshold");
        assert_eq!((all_wrong.score, all_wrong.accuracy), (f64::INFINITY, 1.0));
        assert_eq!(best_threshold(&[], &[]), None);
        assert_eq!(average_precision(&[0.5], &[false]), None);
    }
}
