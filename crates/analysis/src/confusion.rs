//! Confusion matrices and the scores of classes.

/// A confusion matrix: counts of true and predicted classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Names of the classes.
    pub labels: Vec<String>,
    /// `[true class][predicted class]`
    pub counts: Vec<Vec<usize>>,
}

/// Scores of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Share of the predictions of this class that are correct; 0 if there are none.
    pub precision: f64,
    /// Share of the class's members that are predicted as such; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of members.
    pub support: usize,
}

impl Confusion {
    /// Counts `pairs` of true and predicted labels. Classes are in alphabetical order.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let mut labels: Vec<&str> = pairs.clone().flat_map(<[&str; 2]>::from).collect();
        labels.sort_unstable();
        labels.dedup();
        let mut counts = vec![vec![0; labels.len()]; labels.len()];
        // This cannot fail: `labels` has every label of the pairs.
        let index = |label: &str| labels.binary_search(&label).unwrap_or_default();
        pairs.for_each(|(truth, predicted)| counts[index(truth)][index(predicted)] += 1);
        Self { labels: labels.into_iter().map(str::to_owned).collect(), counts }
    }

    /// Number of pairs.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Share of correct predictions; 0 without pairs.
    pub fn accuracy(&self) -> f64 {
        let correct: usize = (0..self.labels.len()).map(|class| self.counts[class][class]).sum();
        ratio(correct, self.total())
    }

    /// The scores of each class.
    pub fn classes(&self) -> Vec<ClassScore> {
        let score = |class: usize| {
            let correct = self.counts[class][class];
            let support = self.counts[class].iter().sum();
            let predicted = self.counts.iter().map(|row| row[class]).sum::<usize>();
            ClassScore {
                precision: ratio(correct, predicted),
                recall: ratio(correct, support),
                f1: ratio(2 * correct, support + predicted),
                support,
            }
        };
        (0..self.labels.len()).map(score).collect()
    }

    /// The unweighted mean F1 of all classes; 0 without classes.
    pub fn macro_f1(&self) -> f64 {
        let classes = self.classes();
        classes.iter().map(|class| class.f1).sum::<f64>() / classes.len().max(1) as f64
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_their_definitions() {
        let pairs =
            [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("dog", "dog"), ("cow", "dog")];
        let confusion = Confusion::of(pairs.into_iter());
        assert_eq!(confusion.labels, ["cat", "cow", "dog"]);
        assert_eq!(confusion.counts, [[1, 0, 1], [0, 0, 1], [0, 0, 2]]);
        assert_eq!(confusion.accuracy(), 0.6);
        let [cat, cow, dog] = confusion.classes()[..] else { panic!("three classes") };
        assert_eq!((cat.precision, cat.recall, cat.support), (1.0, 0.5, 2));
        assert_eq!((cow.precision, cow.recall, cow.f1), (0.0, 0.0, 0.0));
        assert_eq!((dog.precision, dog.recall), (0.5, 1.0));
        let f1 = (2.0 / 3.0 + 0.0 + 2.0 / 3.0) / 3.0;
        assert!((confusion.macro_f1() - f1).abs() < 1e-12);
    }

    #[test]
    fn an_empty_matrix_has_scores_of_zero() {
        let confusion = Confusion::of(std::iter::empty());
        assert_eq!((confusion.accuracy(), confusion.macro_f1(), confusion.total()), (0.0, 0.0, 0));
    }
}
