//! Trained classifiers: logistic regression on embeddings, one file each.

use crate::error::{Error, Result};
use crate::problem::{Outcome, Problem};
use crate::wire::classify::{Access, ClassifierInfo};
use kokeshi_analysis::{Compute, Regression};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

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

    /// Goes on training with `vectors`, one for each of `labels`; new labels are added.
    pub(crate) fn train(
        &mut self,
        vectors: &[Vec<f32>],
        labels: &[String],
        iterations: usize,
    ) -> kokeshi_analysis::Result<()> {
        let mut regression = self.regression()?;
        regression.train(&Compute::new(None, None)?, vectors, labels, iterations * STEPS)?;
        (self.labels, self.weights, self.bias) = regression.into_parts();
        self.num_samples += vectors.len();
        self.updated = now();
        Ok(())
    }

    /// What answers.
    pub(crate) fn regression(&self) -> kokeshi_analysis::Result<Regression> {
        Regression::from_parts(self.labels.clone(), self.weights.clone(), self.bias.clone())
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
    format!("{:.32x}", hash.finalize())
}

fn missing(id: &str, error: &std::io::Error) -> Problem {
    if error.kind() == ErrorKind::NotFound { unknown(id) } else { failed(error) }
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::not_found(format!("there is no classifier `{shown}`; see /v1/classifiers"))
}

pub(crate) fn failed(error: &dyn std::error::Error) -> Problem {
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
        let mut train = |vectors: &[Vec<f32>], labels: &[String], iterations| {
            classifier.train(vectors, labels, iterations).expect("trained");
            let regression = classifier.regression().expect("whole");
            let samples = (classifier.num_samples, classifier.labels.len());
            (regression.probabilities(&[1.0, 0.0]), samples)
        };
        let (first, _) = train(&vectors, &labels, 1);
        assert!(first[0] > 0.8, "{first:?}");
        assert!((first.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(train(&vectors, &labels, 1).0[0] > first[0]);
        assert!(train(&vectors, &labels, 10).0[0] > 0.99);
        let (_, samples) = train(&[vec![-1.0, -1.0]], &["c".to_owned()], 10);
        assert_eq!(samples, (13, 3));
    }

    #[test]
    fn ids_lead_nowhere_but_into_the_folder() {
        for id in ["", "..", "../../etc/passwd", "0123456789abcdef0123456789abcde/", "é"] {
            assert!(!is_id(id), "{id}");
        }
        assert!(is_id(&new_id(&Classifier::new("m", Access::Public))));
    }
}
