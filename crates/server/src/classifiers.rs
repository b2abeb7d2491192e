//! The folder of trained classifiers, one file each.

use crate::error::{Error, Result};
use crate::problem::{ApiResult, Problem};
use kokeshi_analysis::{Compute, Listing, Regression, TrainedClassifier, Training, Visibility};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Steps of gradient descent in one iteration of the API.
const STEPS: usize = 10;

/// A folder of classifiers.
#[derive(Debug)]
pub(crate) struct Classifiers {
    folder: PathBuf,
    /// Held while a file changes, so that trainings of one classifier run one at a time.
    writing: Mutex<()>,
}

/// A classifier with the id that clients use.
#[derive(Clone, Debug)]
pub(crate) struct ListedClassifier {
    pub(crate) listing: Listing,
    pub(crate) training: Training,
    pub(crate) regression: Regression,
}

impl ListedClassifier {
    /// An untrained classifier, for vectors of `model` with `task`.
    pub(crate) fn new(model: &str, task: Option<String>) -> Self {
        Self {
            listing: Listing { id: String::new(), access: Visibility::default(), updated: 0 },
            training: Training {
                model: model.to_owned(),
                revision: None,
                task,
                dimensions: 0,
                instruction: true,
                samples: 0,
            },
            regression: Regression::default(),
        }
    }

    /// Continues training with `vectors`, one for each of `labels`; new labels are added.
    pub(crate) fn train(
        &mut self,
        vectors: &[Vec<f32>],
        labels: &[String],
        iterations: usize,
    ) -> kokeshi_analysis::Result<()> {
        let compute = Compute::new(None, None)?;
        self.regression.train(&compute, vectors, labels, iterations * STEPS)?;
        self.training.dimensions = self.regression.dimensions();
        self.training.samples += vectors.len();
        self.listing.updated = since_1970().as_secs();
        Ok(())
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Classifiers {
    /// Opens `folder`, and creates it if necessary.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .map_err(|error| Error::File { path: folder.to_owned(), reason: error.to_string() })?;
        Ok(Self { folder: folder.to_owned(), writing: Mutex::default() })
    }

    /// All classifiers, by id.
    pub(crate) fn list(&self) -> ApiResult<Vec<ListedClassifier>> {
        let mut classifiers = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|error| unusable(&error))? {
            let name = file.map_err(|error| unusable(&error))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(id) = id.filter(|id| is_id(id)) {
                classifiers.push(self.get(id)?);
            }
        }
        classifiers.sort_by(|a, b| a.listing.id.cmp(&b.listing.id));
        Ok(classifiers)
    }

    pub(crate) fn get(&self, id: &str) -> ApiResult<ListedClassifier> {
        let json = fs::read(self.path(id)?).map_err(|error| read_problem(id, &error))?;
        let file = TrainedClassifier::from_json(&json).map_err(|error| unusable(&error))?;
        let TrainedClassifier { training, listing, regression } = file;
        let unlisted = || Listing { id: String::new(), access: Visibility::default(), updated: 0 };
        let listing = Listing { id: id.to_owned(), ..listing.unwrap_or_else(unlisted) };
        Ok(ListedClassifier { listing, training, regression })
    }

    pub(crate) fn remove(&self, id: &str) -> ApiResult<()> {
        fs::remove_file(self.path(id)?).map_err(|error| read_problem(id, &error))
    }

    /// Changes the classifier `id`, or a new one from `create`, and stores it. Readers see the old
    /// file or the new one, never a part.
    pub(crate) fn change(
        &self,
        id: Option<&str>,
        create: impl FnOnce() -> ListedClassifier,
        change: impl FnOnce(&mut ListedClassifier) -> ApiResult<()>,
    ) -> ApiResult<ListedClassifier> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut classifier = match id {
            Some(id) => self.get(id)?,
            None => create(),
        };
        change(&mut classifier)?;
        if id.is_none() {
            classifier.listing.id = new_id(&classifier.regression);
        }
        self.write(&classifier)?;
        Ok(classifier)
    }

    fn write(&self, classifier: &ListedClassifier) -> ApiResult<()> {
        let path = self.path(&classifier.listing.id)?;
        let ListedClassifier { listing, training, regression } = classifier.clone();
        let file = TrainedClassifier { training, listing: Some(listing), regression };
        let json = file.to_json().map_err(|error| unusable(&error))?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, json).map_err(|error| unusable(&error))?;
        fs::rename(&unfinished, &path).map_err(|error| unusable(&error))
    }

    fn path(&self, id: &str) -> ApiResult<PathBuf> {
        match is_id(id) {
            true => Ok(self.folder.join(format!("{id}.json"))),
            false => Err(unknown(id)),
        }
    }
}

/// Whether this has the form of [`new_id`], and so cannot be a path out of the folder.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn new_id(regression: &Regression) -> String {
    let mut hash = Sha256::new();
    hash.update(since_1970().as_nanos().to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    let (_, weights, _) = regression.clone().into_parts();
    for weight in weights.iter().flatten() {
        hash.update(weight.to_le_bytes());
    }
    format!("{:.32x}", hash.finalize())
}

fn read_problem(id: &str, error: &std::io::Error) -> Problem {
    if error.kind() == ErrorKind::NotFound { unknown(id) } else { unusable(error) }
}

fn unknown(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    Problem::not_found(format!("no classifier `{id}`; /v1/classifiers lists them"))
}

/// 500 for a classifier that cannot be read, trained or written.
pub(crate) fn unusable(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "cannot use a classifier");
    Problem::internal("cannot use the classifier; see the server's log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_separates_labels_and_continues_from_the_last_state() {
        let vectors = [vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.1, 0.9]];
        let labels = ["a", "a", "b", "b"].map(str::to_owned);
        let mut classifier = ListedClassifier::new("m", None);
        // With many steps, momentum would carry the weights past the optimum.
        let mut train = |vectors: &[Vec<f32>], labels: &[String], iterations| {
            classifier.train(vectors, labels, iterations).expect("trained");
            let samples = (classifier.training.samples, classifier.regression.labels().len());
            (classifier.regression.probabilities(&[1.0, 0.0]), samples)
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
    fn an_id_cannot_be_a_path_out_of_the_folder() {
        for id in ["", "..", "../../etc/passwd", "0123456789abcdef0123456789abcde/", "é"] {
            assert!(!is_id(id), "{id}");
        }
        assert!(is_id(&new_id(&Regression::default())));
    }
}
