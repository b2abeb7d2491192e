//! The folder of trained classifiers, one file each.

use crate::error::{Error, Result};
use crate::files::read_file;
use crate::problem::{ApiResult, Problem};
use kokeshi_analysis::{Compute, Listing, Regression, TrainedClassifier, Training, Visibility};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OwnedMutexGuard;

/// Steps of gradient descent in one iteration of the API.
const STEPS: usize = 10;

/// A folder of classifiers.
#[derive(Debug)]
pub(crate) struct Classifiers {
    folder: PathBuf,
    /// Held while a file is replaced or removed.
    writing: Mutex<()>,
    /// The classifiers that are being trained further, by id.
    training: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// A classifier with the id that clients use.
#[derive(Clone, Debug)]
pub(crate) struct ListedClassifier {
    pub(crate) listing: Listing,
    pub(crate) training: Training,
    pub(crate) regression: Regression,
}

impl ListedClassifier {
    /// An untrained classifier of `owner`, for vectors of `model` with `task`.
    pub(crate) fn new(model: &str, task: Option<String>, owner: Option<&str>) -> Self {
        Self {
            listing: Listing { owner: owner.map(str::to_owned), ..unlisted() },
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

    /// Continues training with `vectors`, one for each of `labels`; new labels are added. It runs on
    /// one thread, and stops once `keep_running` returns `false`.
    pub(crate) fn train(
        &mut self,
        (vectors, labels): (&[Vec<f32>], &[String]),
        iterations: usize,
        keep_running: &mut dyn FnMut() -> bool,
    ) -> kokeshi_analysis::Result<()> {
        let compute = Compute::new(Some(1), None)?;
        let (examples, steps) = ((vectors, labels), iterations * STEPS);
        self.regression.train_while(&compute, examples, steps, keep_running)?;
        self.training.dimensions = self.regression.dimensions();
        self.training.samples += vectors.len();
        self.listing.updated = since_1970().as_secs();
        Ok(())
    }

    /// Whether `caller`, the owner of new classifiers of a request, may use it.
    fn is_for(&self, caller: Option<&str>) -> bool {
        self.listing.access == Visibility::Public || self.is_owned_by(caller)
    }

    /// Whether it belongs to `caller`. Without keys, everybody is the same caller.
    pub(crate) fn is_owned_by(&self, caller: Option<&str>) -> bool {
        self.listing.owner.as_deref() == caller
    }
}

/// The listing of a file that has none.
fn unlisted() -> Listing {
    Listing { id: String::new(), access: Visibility::default(), owner: None, updated: 0 }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Classifiers {
    /// Opens `folder`, and creates it if necessary.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .map_err(|error| Error::File { path: folder.to_owned(), reason: error.to_string() })?;
        let (writing, training) = (Mutex::default(), Mutex::default());
        Ok(Self { folder: folder.to_owned(), writing, training })
    }

    /// Waits until no other request trains the classifier `id`.
    pub(crate) async fn lock(&self, id: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut training = self.training.lock().unwrap_or_else(PoisonError::into_inner);
            training.retain(|_, lock| lock.strong_count() > 0);
            let known = training.get(id).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                training.insert(id.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    /// The classifiers that `caller` may use, by id, as long as `keep_running` is true.
    pub(crate) fn list(
        &self,
        caller: Option<&str>,
        keep_running: &mut dyn FnMut() -> bool,
    ) -> ApiResult<Vec<ListedClassifier>> {
        let mut classifiers = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|error| unusable(&error))? {
            let name = file.map_err(|error| unusable(&error))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(id) = id.filter(|id| is_id(id)) else { continue };
            if !keep_running() {
                return Err(kokeshi::Error::Stopped.into());
            }
            let classifier = self.read(id)?;
            if classifier.is_for(caller) {
                // Its weights are not listed.
                let regression = classifier.regression.without_weights();
                classifiers.push(ListedClassifier { regression, ..classifier });
            }
        }
        classifiers.sort_by(|a, b| a.listing.id.cmp(&b.listing.id));
        Ok(classifiers)
    }

    /// The classifier `id`. To others than its owner, a private one does not exist.
    pub(crate) fn get(&self, id: &str, caller: Option<&str>) -> ApiResult<ListedClassifier> {
        let classifier = self.read(id)?;
        if classifier.is_for(caller) { Ok(classifier) } else { Err(unknown(id)) }
    }

    /// Size of the file of `id`, in bytes; 0 if there is none.
    pub(crate) fn len_bytes(&self, id: &str) -> usize {
        let path = self.path(id).ok();
        let metadata = path.and_then(|path| fs::metadata(path).ok());
        metadata.map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX))
    }

    fn read(&self, id: &str) -> ApiResult<ListedClassifier> {
        let path = self.path(id)?;
        fs::metadata(&path).map_err(|error| read_problem(id, &error))?;
        let json = read_file(&path).map_err(|error| unusable(&error))?;
        let file = TrainedClassifier::from_json(&json).map_err(|error| unusable(&error))?;
        let TrainedClassifier { training, listing, regression } = file;
        let listing = Listing { id: id.to_owned(), ..listing.unwrap_or_else(unlisted) };
        Ok(ListedClassifier { listing, training, regression })
    }

    pub(crate) fn remove(&self, id: &str, caller: Option<&str>) -> ApiResult<()> {
        self.get(id, caller)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        fs::remove_file(self.path(id)?).map_err(|error| read_problem(id, &error))
    }

    /// Stores a classifier; one without an id gets one. Readers see the old file or the new one,
    /// never a part.
    ///
    /// # Errors
    ///
    /// 404 if it had an id and was removed meanwhile.
    pub(crate) fn store(&self, classifier: &mut ListedClassifier) -> ApiResult<()> {
        let is_new = classifier.listing.id.is_empty();
        if is_new {
            classifier.listing.id = new_id(&classifier.regression);
        }
        let path = self.path(&classifier.listing.id)?;
        let ListedClassifier { listing, training, regression } = classifier.clone();
        let file = TrainedClassifier { training, listing: Some(listing), regression };
        let json = file.to_json().map_err(|error| unusable(&error))?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, json).map_err(|error| unusable(&error))?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_new && !path.exists() {
            drop(fs::remove_file(&unfinished));
            return Err(unknown(&classifier.listing.id));
        }
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
        let mut classifier = ListedClassifier::new("m", None, None);
        // With many steps, momentum would carry the weights past the optimum.
        let mut train = |vectors: &[Vec<f32>], labels: &[String], iterations| {
            let examples = (vectors, labels);
            classifier.train(examples, iterations, &mut || true).expect("trained");
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
    fn a_private_classifier_is_its_owners_alone() {
        let mut classifier = ListedClassifier::new("m", None, Some("a"));
        let callers = [Some("a"), Some("b"), None];
        assert_eq!(callers.map(|caller| classifier.is_for(caller)), [true; 3]);
        classifier.listing.access = Visibility::Private;
        assert_eq!(callers.map(|caller| classifier.is_for(caller)), [true, false, false]);
        classifier.listing.owner = None;
        assert_eq!(callers.map(|caller| classifier.is_for(caller)), [false, false, true]);
    }

    #[test]
    fn an_id_cannot_be_a_path_out_of_the_folder() {
        for id in ["", "..", "../../etc/passwd", "0123456789abcdef0123456789abcde/", "é"] {
            assert!(!is_id(id), "{id}");
        }
        assert!(is_id(&new_id(&Regression::default())));
    }
}
