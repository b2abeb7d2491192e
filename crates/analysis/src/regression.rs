//! Multinomial logistic regression.

use crate::compute::Compute;
use crate::error::{Error, Result};
use kokeshi_kernels::scan::{F32_ROW, dot_f32};
use std::collections::HashMap;

/// The loss is the mean cross-entropy plus this factor times half the squared weights.
const RIDGE: f64 = 1e-4;
/// Largest element of the gradient at which [`Regression::fit`] has found the minimum. Gradients are
/// sums of products in f32, so a tenth of it is out of reach.
const TOLERANCE: f64 = 2e-6;
/// Maximum number of steps of [`Regression::fit`]. 770 vectors of 77 labels need 150 to 400.
const FIT_STEPS: usize = 3000;
/// Number of vectors per task.
const BLOCK: usize = 256;
/// Number of tasks whose gradients are in memory at the same time.
const WAVE: usize = 64;

/// A classifier with one row of weights per label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regression {
    labels: Vec<String>,
    /// `[labels][dimensions]`
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Regression {
    /// A classifier from its parts.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if they do not fit together or a value is not finite.
    pub fn from_parts(labels: Vec<String>, weights: Vec<Vec<f64>>, bias: Vec<f64>) -> Result<Self> {
        let dimensions = weights.first().map_or(0, Vec::len);
        let damaged = |what: String| Err(Error::Damaged(what));
        if labels.len() != weights.len() || labels.len() != bias.len() {
            return damaged(format!(
                "{} labels, {} rows of weights, {} biases",
                labels.len(),
                weights.len(),
                bias.len()
            ));
        }
        if weights.iter().any(|row| row.len() != dimensions) {
            return damaged("its rows of weights differ in length".to_owned());
        }
        if !weights.iter().flatten().chain(&bias).all(|x| x.is_finite()) {
            return damaged("a weight is not a finite number".to_owned());
        }
        Ok(Self { labels, weights, bias })
    }

    /// Labels, weights `[labels][dimensions]`, biases.
    pub fn into_parts(self) -> (Vec<String>, Vec<Vec<f64>>, Vec<f64>) {
        (self.labels, self.weights, self.bias)
    }

    /// All weights and biases.
    fn parameters(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().flatten().chain(&self.bias).copied()
    }

    /// The labels that it predicts.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The labels alone, for lists of classifiers.
    #[must_use]
    pub fn without_weights(self) -> Self {
        Self { labels: self.labels, weights: Vec::new(), bias: Vec::new() }
    }

    /// Dimensions of the vectors that it was trained on; 0 before training.
    pub fn dimensions(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// Continues training for `steps` steps with `vectors` and the label of each; new labels are
    /// added. Uses Nesterov's accelerated gradient descent from the current weights, on the mean
    /// cross-entropy and a small ridge penalty.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without vectors, [`Error::Width`] if one has another width,
    /// [`Error::TooFewLabels`] if there are fewer than two labels, including those known before.
    pub fn train(
        &mut self,
        compute: &Compute,
        vectors: &[Vec<f32>],
        labels: &[String],
        steps: usize,
    ) -> Result<()> {
        self.train_while(compute, (vectors, labels), steps, &mut || true)
    }

    /// As [`Self::train`], and calls `keep_running` before each step; once that returns `false`,
    /// training stops.
    ///
    /// # Errors
    ///
    /// As [`Self::train`], and [`Error::Stopped`].
    pub fn train_while(
        &mut self,
        compute: &Compute,
        (vectors, labels): (&[Vec<f32>], &[String]),
        steps: usize,
        keep_running: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let examples = self.examples(vectors, labels)?;
        let mut descent = Descent::new(&examples, RIDGE);
        for _ in 0..steps {
            if !keep_running() {
                return Err(Error::Stopped);
            }
            descent.step(compute, self);
        }
        Ok(())
    }

    /// The classifier with the smallest regularized loss: the sum of all cross-entropies, times
    /// `c`, plus half the squared weights. This is the loss of scikit-learn's `LogisticRegression`
    /// with its option `C`, which is above 0.
    ///
    /// # Errors
    ///
    /// As [`Self::train`].
    pub fn fit(compute: &Compute, vectors: &[Vec<f32>], labels: &[String], c: f64) -> Result<Self> {
        let mut fitted = Self::default();
        let examples = fitted.examples(vectors, labels)?;
        // For two labels, theirs has one row of weights, which is the difference of our two.
        let rows = if fitted.labels.len() == 2 { 2.0 } else { 1.0 };
        let ridge = rows / (c * vectors.len() as f64);
        let mut descent = Descent::new(&examples, ridge);
        for _ in 0..FIT_STEPS {
            let slope = descent.step(compute, &mut fitted);
            descent.restart_if_uphill(&fitted);
            if slope < TOLERANCE {
                break;
            }
        }
        Ok(fitted)
    }

    /// Checks training data, and adds their labels.
    fn examples<'a>(&mut self, vectors: &'a [Vec<f32>], labels: &[String]) -> Result<Examples<'a>> {
        let first = vectors.first().filter(|_| vectors.len() == labels.len());
        let expected = if self.labels.is_empty() { first.map(Vec::len) } else { None };
        let expected = expected.unwrap_or(self.dimensions());
        if first.is_none() || expected == 0 {
            return Err(Error::Empty);
        }
        if let Some(other) = vectors.iter().find(|vector| vector.len() != expected) {
            return Err(Error::Width { expected, got: other.len() });
        }
        let mut grown = self.clone();
        let classes = grown.classes(labels, expected);
        if grown.labels.len() < 2 {
            return Err(Error::TooFewLabels(grown.labels.len()));
        }
        *self = grown;
        Ok(Examples::new(vectors, classes, expected))
    }

    /// The index of each of `labels`; new labels get rows of zeros.
    fn classes(&mut self, labels: &[String], dimensions: usize) -> Vec<usize> {
        let mut indices: HashMap<String, usize> = self.labels.iter().cloned().zip(0..).collect();
        let class = |label: &String| {
            *indices.entry(label.clone()).or_insert_with(|| {
                self.labels.push(label.clone());
                self.weights.push(vec![0.0; dimensions]);
                self.bias.push(0.0);
                self.labels.len() - 1
            })
        };
        labels.iter().map(class).collect()
    }

    /// The most probable label.
    pub fn predict(&self, vector: &[f32]) -> Option<&str> {
        let scores = self.probabilities(vector);
        let best = scores.iter().zip(&self.labels).reduce(|a, b| if b.0 > a.0 { b } else { a });
        best.map(|(_, label)| label.as_str())
    }

    /// The probability of each label, in the order of [`Self::labels`].
    pub fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        let logit = |(row, bias): (&Vec<f64>, &f64)| {
            row.iter().zip(vector).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + bias
        };
        let logits: Vec<f64> = self.weights.iter().zip(&self.bias).map(logit).collect();
        softmax(&logits)
    }
}

/// now + momentum · (now − before).
fn extrapolate(now: &[f64], before: &[f64], momentum: f64) -> Vec<f64> {
    now.iter().zip(before).map(|(now, before)| now + momentum * (now - before)).collect()
}

/// The softmax of `logits`: probabilities that sum to 1.
pub fn softmax(logits: &[f64]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

/// Nesterov's accelerated gradient descent on the mean cross-entropy plus `ridge` times half the
/// squared weights.
struct Descent<'a> {
    examples: &'a Examples<'a>,
    ridge: f64,
    /// The step size.
    rate: f64,
    /// Steps since the last restart.
    steps: usize,
    /// The weights before the last step, if there was one.
    before: Option<Regression>,
    /// Where the gradient of the last step was taken.
    ahead: Regression,
}

impl<'a> Descent<'a> {
    fn new(examples: &'a Examples<'a>, ridge: f64) -> Self {
        let rate = 1.0 / (0.5 * (examples.largest + 1.0) + ridge);
        Self { examples, ridge, rate, steps: 0, before: None, ahead: Regression::default() }
    }

    /// Takes one step. Returns the largest element of the gradient where it was taken.
    fn step(&mut self, compute: &Compute, now: &mut Regression) -> f64 {
        let momentum = self.steps as f64 / (self.steps as f64 + 3.0);
        let before = self.before.as_ref().unwrap_or(now);
        let rows = now.weights.iter().zip(&before.weights);
        self.ahead = Regression {
            labels: Vec::new(),
            weights: rows.map(|(w, b)| extrapolate(w, b, momentum)).collect(),
            bias: extrapolate(&now.bias, &before.bias, momentum),
        };
        let (weights, bias) =
            self.examples.descend(compute, self.ahead.clone(), self.rate, self.ridge);
        let before = Regression {
            labels: Vec::new(),
            weights: std::mem::replace(&mut now.weights, weights),
            bias: std::mem::replace(&mut now.bias, bias),
        };
        (self.before, self.steps) = (Some(before), self.steps + 1);
        let moved = now.parameters().zip(self.ahead.parameters());
        moved.map(|(now, ahead)| (now - ahead).abs()).fold(0.0, f64::max) / self.rate
    }

    /// Drops the momentum if it points uphill (O'Donoghue and Candès 2015): near the minimum, the
    /// steps would swing around it.
    fn restart_if_uphill(&mut self, now: &Regression) {
        let Some(before) = &self.before else { return };
        let moves = now.parameters().zip(before.parameters()).zip(self.ahead.parameters());
        let along: f64 = moves.map(|((now, before), ahead)| (ahead - now) * (now - before)).sum();
        if along > 0.0 {
            (self.before, self.steps) = (None, 0);
        }
    }
}

/// Training data.
struct Examples<'a> {
    vectors: &'a [Vec<f32>],
    classes: Vec<usize>,
    dimensions: usize,
    /// The largest squared norm. The Lipschitz constant of the cross-entropy's gradient is at most
    /// half of it plus 1 (the bias is a feature of value 1), so a step of its inverse cannot
    /// overshoot.
    largest: f64,
}

/// Sums of gradients over the vectors of one task.
struct Gradient {
    /// `[labels][dimensions]`
    weights: Vec<Vec<f32>>,
    bias: Vec<f64>,
}

impl<'a> Examples<'a> {
    fn new(vectors: &'a [Vec<f32>], classes: Vec<usize>, dimensions: usize) -> Self {
        let square = |vector: &Vec<f32>| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let largest = vectors.iter().map(square).fold(0.0, f64::max);
        Self { vectors, classes, dimensions, largest }
    }

    /// One step of size `rate` from `from`, with a penalty of `ridge`. Returns weights and biases.
    fn descend(
        &self,
        compute: &Compute,
        from: Regression,
        rate: f64,
        ridge: f64,
    ) -> (Vec<Vec<f64>>, Vec<f64>) {
        let width = self.dimensions.next_multiple_of(F32_ROW);
        let mut rows = vec![0.0; from.weights.len() * width];
        for (row, weights) in rows.chunks_exact_mut(width).zip(&from.weights) {
            row.iter_mut().zip(weights).for_each(|(to, weight)| *to = *weight as f32);
        }
        let share = rate / self.vectors.len() as f64;
        let (mut weights, mut bias) = (from.weights, from.bias.clone());
        weights.iter_mut().flatten().for_each(|weight| *weight *= 1.0 - rate * ridge);
        for wave in (0..self.vectors.len()).step_by(WAVE * BLOCK) {
            let end = self.vectors.len().min(wave + WAVE * BLOCK);
            let gradients = compute.blocks(end - wave, BLOCK, |range| {
                self.gradient(compute, wave + range.start..wave + range.end, &rows, &from.bias)
            });
            for gradient in gradients {
                for (row, slopes) in weights.iter_mut().zip(&gradient.weights) {
                    row.iter_mut().zip(slopes).for_each(|(w, s)| *w -= share * f64::from(*s));
                }
                bias.iter_mut().zip(&gradient.bias).for_each(|(b, s)| *b -= share * s);
            }
        }
        (weights, bias)
    }

    /// The gradient over the vectors of `range`; `rows` has the weights with padding.
    fn gradient(
        &self,
        compute: &Compute,
        range: std::ops::Range<usize>,
        rows: &[f32],
        bias: &[f64],
    ) -> Gradient {
        let width = self.dimensions.next_multiple_of(F32_ROW);
        let (labels, height) = (bias.len(), range.len().next_multiple_of(F32_ROW));
        // Errors of the probabilities, and the vectors, both in column-major order.
        let mut errors = vec![0.0; labels * height];
        let mut columns = vec![0.0; self.dimensions * height];
        let (mut query, mut products) = (vec![0.0; width], vec![0.0; labels]);
        for (column, index) in range.enumerate() {
            let vector = &self.vectors[index];
            query[..self.dimensions].copy_from_slice(vector);
            dot_f32(compute.level, &query, rows, &mut products);
            let logits: Vec<f64> =
                products.iter().zip(bias).map(|(product, b)| f64::from(*product) + b).collect();
            for (label, probability) in softmax(&logits).into_iter().enumerate() {
                let truth = f32::from(u8::from(label == self.classes[index]));
                errors[label * height + column] = probability - truth;
            }
            for (values, x) in columns.chunks_exact_mut(height).zip(vector) {
                values[column] = *x;
            }
        }
        let slopes = |errors: &[f32]| {
            let mut slopes = vec![0.0; self.dimensions];
            dot_f32(compute.level, errors, &columns, &mut slopes);
            slopes
        };
        let errors = errors.chunks_exact(height);
        Gradient {
            bias: errors.clone().map(|row| row.iter().copied().map(f64::from).sum()).collect(),
            weights: errors.map(slopes).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_kernels::random::Random;

    fn compute(threads: usize) -> Compute {
        Compute::new(Some(threads), None).expect("threads")
    }

    fn labels<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).into()
    }

    #[test]
    fn training_reaches_the_known_minimum() {
        // Two mirrored points: by symmetry the weights are ±w and the bias is 0. The loss,
        // ln(1 + exp(−2w)) + RIDGE · w², has its minimum where w · RIDGE = 1 / (1 + exp(2w)).
        let mut trained = Regression::default();
        let vectors = [vec![1.0], vec![-1.0]];
        trained.train(&compute(1), &vectors, &labels(["a", "b"]), 20_000).expect("trained");
        let (mut low, mut high) = (0.0_f64, 10.0_f64);
        for _ in 0..200 {
            let w = f64::midpoint(low, high);
            let beyond = w * RIDGE > 1.0 / (1.0 + (2.0 * w).exp());
            if beyond { high = w } else { low = w }
        }
        let (_, weights, bias) = trained.into_parts();
        assert!((weights[0][0] - low).abs() < 1e-3, "{weights:?} {low}");
        // Probabilities are f32, so the two errors of a point do not cancel to the last bit.
        let (drift, tilt) = (weights[0][0] + weights[1][0], bias[0] - bias[1]);
        assert!(drift.abs() < 1e-3 && tilt.abs() < 1e-3, "{drift} {tilt}");
    }

    /// Vectors of a fixture, `[rows][dimensions]`.
    fn vectors(value: &serde_json::Value) -> Vec<Vec<f32>> {
        let rows = value.as_array().expect("rows").iter();
        rows.map(|row| crate::expected::numbers(row).iter().map(|x| *x as f32).collect()).collect()
    }

    /// Probabilities differ by less than 0.001 from those of scikit-learn's `LogisticRegression`,
    /// which was run to a tolerance of 1e-10; so only a text on the border of two labels may get
    /// another one. None of these does.
    #[test]
    fn the_fitted_classifier_is_that_of_scikit_learn() {
        let cases = crate::expected::array("regression");
        assert_eq!(cases.len(), 3);
        for case in cases {
            let names: Vec<String> = case["labels"]
                .as_array()
                .expect("labels")
                .iter()
                .map(ToString::to_string)
                .collect();
            let c = crate::expected::number(&case["c"]);
            let train = vectors(&case["train"]);
            let fitted = Regression::fit(&compute(2), &train, &names, c).expect("fitted");
            let test = vectors(&case["test"]);
            let truths = case["truths"].as_array().expect("labels").iter().map(ToString::to_string);
            let right = test.iter().zip(truths);
            let right = right.filter(|(x, truth)| fitted.predict(x) == Some(truth)).count();
            assert_eq!(
                right as f64 / test.len() as f64,
                crate::expected::number(&case["accuracy"])
            );
            for (vector, want) in test.iter().zip(vectors(&case["probabilities"])) {
                let got = fitted.probabilities(vector);
                // Theirs are in the order of the sorted labels.
                for (label, got) in fitted.labels().iter().zip(got) {
                    let want = want[label.parse::<usize>().expect("a number")];
                    assert!((got - want).abs() < 1e-3, "{label}: {got} is not {want}");
                }
            }
            assert_eq!(Regression::fit(&compute(1), &train, &names, c).expect("fitted"), fitted);
        }
    }

    #[test]
    fn the_result_does_not_depend_on_threads() {
        let mut random = Random::new(4);
        let vectors: Vec<Vec<f32>> =
            (0..1200).map(|_| (0..37).map(|_| random.unit() as f32 - 0.5).collect()).collect();
        let class = |v: &Vec<f32>| usize::from(v[0] > -0.2) + usize::from(v[0] > 0.2);
        let names: Vec<String> = vectors.iter().map(|v| class(v).to_string()).collect();
        let train = |threads: usize| {
            let mut trained = Regression::default();
            trained.train(&compute(threads), &vectors, &names, 200).expect("trained");
            trained
        };
        let trained = train(1);
        assert_eq!(train(3), trained);
        let right = vectors.iter().zip(&names).filter(|(vector, name)| {
            let scores = trained.probabilities(vector);
            let best = (0..3).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            trained.labels()[best.expect("a label")] == **name
        });
        let right = right.count();
        assert!(right > 1000, "{right}");
    }

    #[test]
    fn training_stops_at_its_next_step() {
        let vectors = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let (mut trained, mut steps) = (Regression::default(), 0);
        let mut keep_running = || {
            steps += 1;
            steps <= 3
        };
        let stopped = trained.train_while(
            &compute(1),
            (&vectors[..], &labels(["a", "b"])[..]),
            1000,
            &mut keep_running,
        );
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert_eq!(steps, 4);
    }

    #[test]
    fn training_continues_from_the_current_weights_and_accepts_new_labels() {
        let vectors = [vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.1, 0.9]];
        let mut trained = Regression::default();
        trained.train(&compute(1), &vectors, &labels(["a", "a", "b", "b"]), 10).expect("trained");
        let first = trained.probabilities(&[1.0, 0.0])[0];
        trained.train(&compute(1), &vectors, &labels(["a", "a", "b", "b"]), 10).expect("trained");
        assert!(first > 0.8 && trained.probabilities(&[1.0, 0.0])[0] > first);
        trained.train(&compute(1), &[vec![-1.0, -1.0]], &labels(["c"]), 100).expect("trained");
        assert_eq!(trained.labels(), ["a", "b", "c"]);
        assert!(trained.probabilities(&[-1.0, -1.0])[2] > 0.9);
    }

    #[test]
    fn invalid_training_data_is_refused_and_changes_nothing() {
        let mut trained = Regression::default();
        let mut train = |vectors: &[Vec<f32>], names: &[String]| {
            trained.train(&compute(1), vectors, names, 1).expect_err("refused").to_string()
        };
        assert!(train(&[vec![1.0], vec![2.0]], &labels(["a", "a"])).contains("there is 1"));
        let error = train(&[vec![1.0], vec![2.0, 3.0]], &labels(["a", "b"]));
        assert_eq!(error, "a vector has 2 dimensions instead of 1");
        assert!(train(&[], &[]).contains("at least one"));
        assert_eq!(trained, Regression::default());
        let parts = |rows, bias| Regression::from_parts(labels(["a", "b"]), rows, bias);
        for (rows, bias) in [
            (vec![vec![1.0]], vec![0.0, 0.0]),
            (vec![vec![1.0], vec![1.0, 2.0]], vec![0.0, 0.0]),
            (vec![vec![1.0], vec![f64::NAN]], vec![0.0, 0.0]),
            (vec![vec![1.0], vec![1.0]], vec![0.0]),
        ] {
            let error = parts(rows, bias).expect_err("damaged").to_string();
            assert!(error.starts_with("the classifier is damaged: "), "{error}");
        }
    }
}
