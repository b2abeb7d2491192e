//! The measures of sets of sentences and labels.

use super::figures::{Figures, SetFigures};
use super::find::SetFiles;
use super::pass::Pass;
use super::set::{Classification, Labelled, Pair};
use crate::args::TextUse;
use crate::layout::counted;
use anyhow::Context;
use kokeshi_analysis::{
    Agreement, Matrix, Rankings, Regression, average_precision, best_threshold, cluster, spearman,
};
use std::collections::{BTreeSet, HashMap};

/// Rows of vectors, `[texts][dimensions]`.
type Vectors = Vec<Vec<f32>>;

impl Pass<'_> {
    /// The figures of a set, with what `values` computes for each number of dimensions.
    pub(super) fn figures(
        &self,
        files: &SetFiles,
        counts: Vec<(usize, &'static str)>,
        mut values: impl FnMut(&Self, usize) -> anyhow::Result<Vec<f64>>,
    ) -> anyhow::Result<SetFigures> {
        let figures = |&dimensions: &usize| {
            self.check_running()?;
            let values = values(self, dimensions).with_context(|| files.path.display().to_string());
            anyhow::Ok(Figures { precision: self.precision.clone(), dimensions, values: values? })
        };
        let figures = self.dimensions.iter().map(figures).collect::<anyhow::Result<_>>()?;
        Ok(SetFigures {
            kind: files.kind,
            name: files.name(),
            family: files.family.clone(),
            language: files.language.clone(),
            counts,
            tasks: self.tasks(files.kind),
            notes: self.truncation().into_iter().collect(),
            figures,
            methods: Vec::new(),
        })
    }

    /// How many texts were truncated, if any.
    pub(super) fn truncation(&self) -> Option<String> {
        let limit = self.model.config().max_tokens;
        let limit = self.arguments.texts.max_tokens.map_or(limit, |own| limit.min(own as usize));
        let texts = counted(self.truncated, "text");
        (self.truncated > 0).then(|| format!("{texts} truncated to {limit} tokens"))
    }

    /// The vectors of both sides of `pairs`.
    fn sides<T>(
        &mut self,
        pairs: &[Pair<T>],
        text_use: TextUse,
    ) -> anyhow::Result<(Vectors, Vectors)> {
        let sides = pairs.iter().flat_map(|pair| &pair.sentences).map(String::as_str);
        let vectors = self.embed(&sides.collect::<Vec<_>>(), text_use)?;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, vector) in vectors.into_iter().enumerate() {
            if number % 2 == 0 { first.push(vector) } else { second.push(vector) }
        }
        Ok((first, second))
    }

    /// Spearman's correlation of the cosines with the scores.
    pub(super) fn sts(
        &mut self,
        files: &SetFiles,
        pairs: &[Pair<f64>],
    ) -> anyhow::Result<SetFigures> {
        let (first, second) = self.sides(pairs, TextUse::Sts)?;
        let scores: Vec<f64> = pairs.iter().map(|pair| pair.truth).collect();
        self.figures(files, vec![(pairs.len(), "pair")], |_, dimensions| {
            let cosines = cosines(&first, &second, dimensions)?;
            let correlation = spearman(&cosines, &scores);
            Ok(vec![correlation.context("all scores or all cosines are equal")?])
        })
    }

    /// Average precision and best accuracy of the cosines.
    pub(super) fn pairs(
        &mut self,
        files: &SetFiles,
        pairs: &[Pair<bool>],
    ) -> anyhow::Result<SetFigures> {
        let (first, second) = self.sides(pairs, TextUse::Pairs)?;
        let positive: Vec<bool> = pairs.iter().map(|pair| pair.truth).collect();
        self.figures(files, vec![(pairs.len(), "pair")], |_, dimensions| {
            let cosines = cosines(&first, &second, dimensions)?;
            let precision = average_precision(&cosines, &positive);
            let best = best_threshold(&cosines, &positive).map(|best| best.accuracy);
            let values = [precision, best].into_iter().collect::<Option<Vec<f64>>>();
            values.context("no pair has the label 1")
        })
    }

    /// Accuracy of the nearest sentence in the other language. Equal sentences are equally right.
    pub(super) fn bitext(
        &mut self,
        files: &SetFiles,
        pairs: &[Pair<()>],
    ) -> anyhow::Result<SetFigures> {
        let (first, second) = self.sides(pairs, TextUse::Bitext)?;
        let sentences = |side: usize| pairs.iter().map(move |pair| pair.sentences[side].as_str());
        let sides: [Vec<&str>; 2] = [sentences(0).collect(), sentences(1).collect()];
        self.figures(files, vec![(pairs.len(), "pair")], |pass, dimensions| {
            let matrices = [Matrix::cut(&first, dimensions)?, Matrix::cut(&second, dimensions)?];
            let accuracy = |from: usize, to: usize| {
                let mut rankings = Rankings::new(matrices[from].clone(), 1);
                rankings.add(pass.compute, &matrices[to])?;
                let is_right = |number: &usize| {
                    let nearest = rankings.of(*number).first();
                    nearest.is_some_and(|near| sides[to][near.row] == sides[to][*number])
                };
                let right = (0..pairs.len()).filter(is_right).count();
                anyhow::Ok(right as f64 / pairs.len() as f64)
            };
            Ok(vec![accuracy(0, 1)?, accuracy(1, 0)?])
        })
    }

    /// Mean and standard deviation of the accuracy of logistic regressions.
    pub(super) fn classification(
        &mut self,
        files: &SetFiles,
        set: &Classification,
    ) -> anyhow::Result<SetFigures> {
        let used = set.used_numbers();
        let texts = used.iter().map(|&number| &set.examples[number]).chain(&set.tests);
        let texts: Vec<&str> = texts.map(|one| one.text.as_str()).collect();
        let mut examples = self.embed(&texts, TextUse::Classification)?;
        let tests = examples.split_off(used.len());
        let position: HashMap<usize, usize> = used.iter().copied().zip(0..).collect();
        let labels: BTreeSet<&str> = set.examples.iter().map(|one| one.label.as_str()).collect();
        let counts = vec![
            (set.runs.first().map_or(0, Vec::len), "example"),
            (labels.len(), "label"),
            (set.tests.len(), "text"),
        ];
        let c = self.arguments.classifier.inverse_penalty;
        self.figures(files, counts, |pass, dimensions| {
            let (examples, tests) =
                (unit_rows(&examples, dimensions)?, unit_rows(&tests, dimensions)?);
            let mut accuracies = Vec::new();
            for (run, numbers) in set.runs.iter().enumerate() {
                pass.check_running()?;
                pass.say(&format!("run {} of {}", run + 1, set.runs.len()));
                let rows: Vectors =
                    numbers.iter().map(|number| examples[position[number]].clone()).collect();
                let labels: Vec<String> =
                    numbers.iter().map(|&number| set.examples[number].label.clone()).collect();
                let fitted = Regression::fit(pass.compute, &rows, &labels, c)?;
                accuracies.push(accuracy(&fitted, &tests, &set.tests));
            }
            Ok(mean_and_deviation(&accuracies))
        })
    }

    /// Agreement of k-means with the labels.
    pub(super) fn clustering(
        &mut self,
        files: &SetFiles,
        texts: &[Labelled],
    ) -> anyhow::Result<SetFigures> {
        let vectors: Vec<&str> = texts.iter().map(|one| one.text.as_str()).collect();
        let vectors = self.embed(&vectors, TextUse::Clustering)?;
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut classes = Vec::new();
        for one in texts {
            let next = numbers.len();
            classes.push(*numbers.entry(one.label.as_str()).or_insert(next));
        }
        let counts = vec![(texts.len(), "text"), (numbers.len(), "label")];
        self.figures(files, counts, |pass, dimensions| {
            pass.say("grouping");
            let rows = Matrix::cut(&vectors, dimensions)?;
            let groups = cluster(pass.compute, &rows, numbers.len())?.groups;
            let Agreement { v_measure, homogeneity, completeness } =
                Agreement::of(&classes, &groups);
            Ok(vec![v_measure, homogeneity, completeness])
        })
    }
}

/// The cosine of each pair.
fn cosines(first: &Vectors, second: &Vectors, dimensions: usize) -> anyhow::Result<Vec<f64>> {
    let (first, second) = (Matrix::cut(first, dimensions)?, Matrix::cut(second, dimensions)?);
    Ok(first.row_cosines(&second)?)
}

/// Vectors that are cut and scaled to unit length.
fn unit_rows(vectors: &Vectors, dimensions: usize) -> anyhow::Result<Vectors> {
    let rows = Matrix::cut(vectors, dimensions)?;
    Ok((0..rows.len()).map(|row| rows.row(row).to_vec()).collect())
}

/// The share of `texts` whose label is predicted.
fn accuracy(fitted: &Regression, vectors: &Vectors, texts: &[Labelled]) -> f64 {
    let pairs = vectors.iter().zip(texts);
    let right = pairs.filter(|(vector, one)| fitted.predict(vector) == Some(one.label.as_str()));
    right.count() as f64 / texts.len() as f64
}

/// The mean, and the standard deviation of all runs (divided by their number).
fn mean_and_deviation(values: &[f64]) -> Vec<f64> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    vec![mean, variance.sqrt()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_all_runs() {
        // numpy.std([0.5, 0.7, 0.9]) = 0.16329931618554522
        let values = mean_and_deviation(&[0.5, 0.7, 0.9]);
        assert!(
            (values[0] - 0.7).abs() < 1e-12 && (values[1] - 0.163_299_316_185_545_2).abs() < 1e-12
        );
        assert_eq!(mean_and_deviation(&[0.5]), [0.5, 0.0]);
    }
}
