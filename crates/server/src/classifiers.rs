//! Trained classifiers: multinomial logistic regression on embeddings, one file each.

use crate::error::{Error, Result};
use crate::problem::{Outcome, Problem};
use crate::wire::classify::{Access, ClassifierInfo, Prediction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Weight of the squared weights in what training minimises.
const RIDGE: f64 = 1e-4;
/// Steps of gradient descent in one iteration of the API.
const STEPS: usize = 10;

/// A classifier: one row of weights a label.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Classifier {
    pub(crate) classifier_id: String,
    pub(crate) model: String,
    pub(crate) access: Access,
    pub(crate) num_samples: usize,
    /// Seconds since 1970.
    pub(crate) updated: u64,
    pub(crate) labels: Vec<String>,
    /// `[labels][dimensions]`.
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

/// The folder that holds them.
#[derive(Debug)]
pub(crate) struct Classifiers {
    folder: PathBuf,
    /// Held while files change, so that two trainings of one classifier follow each other.
    writing: Mutex<()>,
}

impl Classifier {
    /// A classifier that knows nothing yet.
    pub(crate) fn new(model: &str, access: Access) -> Self {
        Self {
            classifier_id: String::new(),
            model: model.to_owned(),
            access,
            num_samples: 0,
            updated: 0,
            labels: Vec::new(),
            weights: Vec::new(),
            bias: Vec::new(),
        }
    }

    /// Goes on training with `vectors`, one for each of `labels`; new labels are added. Gradient
    /// descent with momentum (Nesterov) from where it stands, on the mean cross-entropy.
    pub(crate) fn train(&mut self, vectors: &[Vec<f32>], labels: &[String], iterations: usize) {
        let dimensions = vectors.first().map_or(0, Vec::len);
        for label in labels {
            if !self.labels.contains(label) {
                self.labels.push(label.clone());
                self.weights.push(vec![0.0; dimensions]);
                self.bias.push(0.0);
            }
        }
        let of = |label: &String| self.labels.iter().position(|known| known == label);
        let classes: Vec<usize> = labels.iter().filter_map(of).collect();
        let squares = |vector: &Vec<f32>| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let largest = vectors.iter().map(squares).fold(0.0, f64::max);
        // The gradient of the softmax's cross-entropy changes by at most half of |x|² + 1 (the bias
        // is a feature of value 1): a step of its inverse cannot overshoot.
        let rate = 1.0 / (0.5 * (largest + 1.0) + RIDGE);
        let mut before = (self.weights.clone(), self.bias.clone());
        for step in 0..iterations * STEPS {
            let momentum = step as f64 / (step as f64 + 3.0);
            let ahead = (
                self.weights.iter().zip(&before.0).map(|(w, b)| beyond(w, b, momentum)).collect(),
                beyond(&self.bias, &before.1, momentum),
            );
            before = (std::mem::take(&mut self.weights), std::mem::take(&mut self.bias));
            (self.weights, self.bias) = descend(ahead, vectors, &classes, rate);
        }
        self.num_samples += vectors.len();
        self.updated = now();
    }

    /// The probability of each label.
    pub(crate) fn predict(&self, vector: &[f32]) -> Vec<Prediction> {
        let logits: Vec<f64> = logits(&self.weights, &self.bias, vector);
        let scores = softmax(&logits);
        let predictions = self.labels.iter().zip(scores);
        predictions.map(|(label, score)| Prediction { label: label.clone(), score }).collect()
    }

    /// Dimensions of the vectors that it was trained on.
    pub(crate) fn dimensions(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// As it is listed.
    pub(crate) fn info(&self) -> ClassifierInfo {
        ClassifierInfo {
            classifier_id: self.classifier_id.clone(),
            model_name: self.model.clone(),
            labels: self.labels.clone(),
            access: self.access,
            num_samples: self.num_samples,
            updated: self.updated,
        }
    }
}

fn beyond(now: &[f64], before: &[f64], momentum: f64) -> Vec<f64> {
    now.iter().zip(before).map(|(now, before)| now + momentum * (now - before)).collect()
}

/// One step from `(weights, bias)`.
fn descend(
    (mut weights, mut bias): (Vec<Vec<f64>>, Vec<f64>),
    vectors: &[Vec<f32>],
    classes: &[usize],
    rate: f64,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let share = rate / vectors.len().max(1) as f64;
    let errors: Vec<Vec<f64>> = vectors
        .iter()
        .zip(classes)
        .map(|(vector, class)| {
            let mut error: Vec<f64> =
                softmax(&logits(&weights, &bias, vector)).into_iter().map(f64::from).collect();
            error[*class] -= 1.0;
            error
        })
        .collect();
    for row in &mut weights {
        row.iter_mut().for_each(|weight| *weight *= 1.0 - rate * RIDGE);
    }
    for (vector, error) in vectors.iter().zip(&errors) {
        for ((row, bias), error) in weights.iter_mut().zip(&mut bias).zip(error) {
            *bias -= share * error;
            row.iter_mut().zip(vector).for_each(|(w, x)| *w -= share * error * f64::from(*x));
        }
    }
    (weights, bias)
}

fn logits(weights: &[Vec<f64>], bias: &[f64], vector: &[f32]) -> Vec<f64> {
    let logit = |(row, bias): (&Vec<f64>, &f64)| {
        row.iter().zip(vector).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + bias
    };
    weights.iter().zip(bias).map(logit).collect()
}

/// Probabilities that sum to 1.
pub(crate) fn softmax(logits: &[f64]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Classifiers {
    /// Uses `folder`, which is created.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let fault = |error: std::io::Error| Error::File {
            path: folder.to_owned(),
            reason: error.to_string(),
        };
        fs::create_dir_all(folder).map_err(fault)?;
        Ok(Self { folder: folder.to_owned(), writing: Mutex::default() })
    }

    /// All classifiers, by id.
    pub(crate) fn list(&self) -> Outcome<Vec<Classifier>> {
        let mut classifiers = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|error| failed(&error))? {
            let name = file.map_err(|error| failed(&error))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(id) = id.filter(|id| is_id(id)) {
                classifiers.push(self.get(id)?);
            }
        }
        classifiers.sort_by(|a, b| a.classifier_id.cmp(&b.classifier_id));
        Ok(classifiers)
    }

    pub(crate) fn get(&self, id: &str) -> Outcome<Classifier> {
        let text = fs::read(self.path(id)?).map_err(|error| missing(id, &error))?;
        serde_json::from_slice(&text).map_err(|error| failed(&error))
    }

    pub(crate) fn remove(&self, id: &str) -> Outcome<()> {
        fs::remove_file(self.path(id)?).map_err(|error| missing(id, &error))
    }

    /// Changes the classifier called `id`, or a new one, and stores it; the file is whole at any
    /// time.
    pub(crate) fn change(
        &self,
        id: Option<&str>,
        model: &str,
        access: Option<Access>,
        change: impl FnOnce(&mut Classifier) -> Outcome<()>,
    ) -> Outcome<Classifier> {
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut classifier = match id {
            Some(id) => self.get(id)?,
            None => Classifier::new(model, Access::default()),
        };
        classifier.access = access.unwrap_or(classifier.access);
        change(&mut classifier)?;
        if id.is_none() {
            classifier.classifier_id = new_id(&classifier);
        }
        let path = self.path(&classifier.classifier_id)?;
        let json = serde_json::to_vec(&classifier).map_err(|error| failed(&error))?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, json).map_err(|error| failed(&error))?;
        fs::rename(&unfinished, &path).map_err(|error| failed(&error))?;
        Ok(classifier)
    }

    fn path(&self, id: &str) -> Outcome<PathBuf> {
        match is_id(id) {
            true => Ok(self.folder.join(format!("{id}.json"))),
            false => Err(unknown(id)),
        }
    }
}

/// An id as [`new_id`] makes them: nothing that could lead out of the folder.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn new_id(classifier: &Classifier) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let mut hash = Sha256::new();
    hash.update(time.to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    for weight in classifier.weights.iter().flatten() {
        hash.update(weight.to_le_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn missing(id: &str, error: &std::io::Error) -> Problem {
    if error.kind() == ErrorKind::NotFound { unknown(id) } else { failed(error) }
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::not_found(format!("there is no classifier `{shown}`; see /v1/classifiers"))
}

fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a classifier's file cannot be used");
    Problem::internal("the classifier's file cannot be used; the log says more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_separates_what_can_be_separated_and_goes_on_where_it_stood() {
        let vectors = [vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.1, 0.9]];
        let labels = ["a", "a", "b", "b"].map(str::to_owned);
        let mut classifier = Classifier::new("m", Access::Public);
        // Few steps: many come so near to the optimum that momentum carries them past it.
        classifier.train(&vectors, &labels, 1);
        let first = classifier.predict(&[1.0, 0.0]);
        assert_eq!(first[0].label, "a");
        assert!(first[0].score > 0.8, "{first:?}");
        assert!((first.iter().map(|one| one.score).sum::<f32>() - 1.0).abs() < 1e-6);
        classifier.train(&vectors, &labels, 1);
        assert!(classifier.predict(&[1.0, 0.0])[0].score > first[0].score);
        classifier.train(&vectors, &labels, 10);
        assert!(classifier.predict(&[1.0, 0.0])[0].score > 0.99);
        classifier.train(&[vec![-1.0, -1.0]], &["c".to_owned()], 10);
        assert_eq!((classifier.num_samples, classifier.labels.len()), (13, 3));
    }

    #[test]
    fn ids_lead_nowhere_but_into_the_folder() {
        for id in ["", "..", "../../etc/passwd", "0123456789abcdef0123456789abcde/", "é"] {
            assert!(!is_id(id), "{id}");
        }
        assert!(is_id(&new_id(&Classifier::new("m", Access::Public))));
    }
}
