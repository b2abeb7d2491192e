//! A trained classifier together with the vectors that it applies to, and its JSON file.
//!
//! The command line and the server write the same format. The server's earlier format, which has no
//! `format` field, is still read.

use crate::error::{Error, Result};
use crate::regression::Regression;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The `format` and `version` fields of the files that are written.
const FORMAT: &str = "kokeshi classifier";
const VERSION: u32 = 1;

/// A regression and the vectors that it applies to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedClassifier {
    /// The vectors that it was trained on.
    pub training: Training,
    /// How a server lists it; `None` for a classifier that `kokeshi classify` trained.
    pub listing: Option<Listing>,
    /// Labels and weights.
    pub regression: Regression,
}

/// The vectors that a classifier was trained on. It applies to no others.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Training {
    /// The name of the model.
    pub model: String,
    /// Identifies the model's weights. The server does not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The task of the texts, if the model has tasks.
    pub task: Option<String>,
    /// Elements of a vector.
    pub dimensions: usize,
    /// Whether each text was preceded by the instruction of its task.
    pub instruction: bool,
    /// Number of examples.
    pub samples: usize,
}

/// How a server lists a classifier.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The id that clients use.
    #[serde(rename = "classifier_id")]
    pub id: String,
    /// Who may use it.
    pub access: Visibility,
    /// The owner, as the server identifies it; `None` if the server had no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Time of the last training, in seconds since 1970.
    pub updated: u64,
}

/// Who may use a classifier.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Everyone.
    #[default]
    Public,
    /// Its owner.
    Private,
}

/// The fields that identify the format.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<u32>,
}

#[derive(Deserialize, Serialize)]
struct File {
    format: String,
    version: u32,
    #[serde(flatten)]
    training: Training,
    #[serde(flatten)]
    listing: Option<Listing>,
    labels: Vec<String>,
    /// `[labels][dimensions]`
    weights: Vec<Vec<f64>>,
    /// `[labels]`
    bias: Vec<f64>,
    /// SHA-256 of everything that determines a prediction.
    sha256: String,
}

/// The format that the server wrote before both wrote the same.
#[derive(Deserialize)]
struct ServerFile {
    model: String,
    num_samples: usize,
    #[serde(flatten)]
    listing: Listing,
    labels: Vec<String>,
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl TrainedClassifier {
    /// The contents of its file.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if it cannot be serialized.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let (labels, weights, bias) = self.regression.clone().into_parts();
        let mut file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            training: self.training.clone(),
            listing: self.listing.clone(),
            labels,
            weights,
            bias,
            sha256: String::new(),
        };
        file.sha256 = file.checksum();
        Ok(serde_json::to_vec(&file)?)
    }

    /// Reads the contents of a file, in the format of this version or of an earlier one.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Format`], [`Error::Version`], [`Error::Checksum`], or
    /// [`Error::Damaged`] if the weights do not fit together.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let head: Head = serde_json::from_slice(json)?;
        let Some(format) = head.format else {
            return serde_json::from_slice::<ServerFile>(json)?.try_into();
        };
        if format != FORMAT {
            return Err(Error::Format { format });
        }
        let version = head.version.unwrap_or(0);
        if version != VERSION {
            return Err(Error::Version { version, supported: VERSION });
        }
        serde_json::from_slice::<File>(json)?.try_into()
    }
}

impl File {
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        let Training { model, revision, task, dimensions, instruction, samples } = &self.training;
        let revision = revision.as_deref().unwrap_or_default();
        hash.update(format!(
            "{model:?} {revision:?} {task:?} {dimensions} {instruction} {samples}"
        ));
        hash.update(format!("{:?}", self.labels));
        for weight in self.weights.iter().flatten().chain(&self.bias) {
            hash.update(weight.to_le_bytes());
        }
        format!("{:x}", hash.finalize())
    }
}

impl TryFrom<File> for TrainedClassifier {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        if file.sha256 != file.checksum() {
            return Err(Error::Checksum);
        }
        let regression = Regression::from_parts(file.labels, file.weights, file.bias)?;
        if regression.labels().is_empty() {
            return Err(Error::Damaged("it has no labels".to_owned()));
        }
        let (stated, width) = (file.training.dimensions, regression.dimensions());
        if width != stated {
            let reason = format!("its weights have {width} dimensions, but it states {stated}");
            return Err(Error::Damaged(reason));
        }
        Ok(Self { training: file.training, listing: file.listing, regression })
    }
}

impl TryFrom<ServerFile> for TrainedClassifier {
    type Error = Error;

    /// The server trained with the task `classification` if the model had it.
    fn try_from(file: ServerFile) -> Result<Self> {
        let regression = Regression::from_parts(file.labels, file.weights, file.bias)?;
        let training = Training {
            model: file.model,
            revision: None,
            task: Some("classification".to_owned()),
            dimensions: regression.dimensions(),
            instruction: true,
            samples: file.num_samples,
        };
        Ok(Self { training, listing: Some(file.listing), regression })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that the first version of `kokeshi classify --save` wrote.
    const COMMAND_FILE: &str = r#"{"format":"kokeshi classifier","version":1,"model":"starter","revision":"sha256:12ab","task":"classification","dimensions":2,"instruction":true,"samples":4,"labels":["a","b"],"weights":[[0.5,-0.25],[-0.5,0.1]],"bias":[0.125,-0.125],"sha256":"afc771b1ccebd47b29089614c0c3a9569a67b675af6041fddaeed39d219da060"}"#;
    /// A file that the first version of `/v1/train` wrote.
    const SERVER_FILE: &str = r#"{"classifier_id":"0123456789abcdef0123456789abcdef","model":"starter","access":"private","num_samples":4,"updated":1700000000,"labels":["a","b"],"weights":[[0.5,-0.25],[-0.5,0.1]],"bias":[0.125,-0.125]}"#;

    fn regression() -> Regression {
        let labels = ["a", "b"].map(str::to_owned).to_vec();
        let weights = vec![vec![0.5, -0.25], vec![-0.5, 0.1]];
        Regression::from_parts(labels, weights, vec![0.125, -0.125]).expect("a regression")
    }

    fn training() -> Training {
        Training {
            model: "starter".to_owned(),
            revision: Some("sha256:12ab".to_owned()),
            task: Some("classification".to_owned()),
            dimensions: 2,
            instruction: true,
            samples: 4,
        }
    }

    fn listing() -> Listing {
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        Listing { id, access: Visibility::Private, owner: None, updated: 1_700_000_000 }
    }

    #[test]
    fn a_file_of_the_first_command_is_read_and_written_unchanged() {
        let read = TrainedClassifier::from_json(COMMAND_FILE.as_bytes()).expect("a classifier");
        let (training, regression) = (training(), regression());
        assert_eq!(read, TrainedClassifier { training, listing: None, regression });
        assert_eq!(read.to_json().expect("JSON"), COMMAND_FILE.as_bytes());
    }

    #[test]
    fn a_file_of_the_first_server_is_read() {
        let read = TrainedClassifier::from_json(SERVER_FILE.as_bytes()).expect("a classifier");
        let training = Training { revision: None, ..training() };
        let (listing, regression) = (Some(listing()), regression());
        assert_eq!(read, TrainedClassifier { training, listing, regression });
    }

    #[test]
    fn a_classifier_reads_back_as_it_was_written() {
        let owned = Listing { owner: Some("team-a".to_owned()), ..listing() };
        for (revision, listing) in
            [(None, Some(listing())), (None, Some(owned)), (training().revision, None)]
        {
            let training = Training { revision, task: None, ..training() };
            let written = TrainedClassifier { training, listing, regression: regression() };
            let json = written.to_json().expect("JSON");
            assert_eq!(TrainedClassifier::from_json(&json).expect("a classifier"), written);
        }
    }

    #[test]
    fn files_that_are_not_valid_classifiers_are_refused() {
        let error = |json: &str| {
            TrainedClassifier::from_json(json.as_bytes()).expect_err("refused").to_string()
        };
        assert!(error("{").contains("cannot parse"));
        assert!(error("{}").contains("missing field `model`"));
        assert!(error(&COMMAND_FILE.replacen("kokeshi c", "other c", 1)).contains("other c"));
        assert!(error(&COMMAND_FILE.replacen(":1,", ":2,", 1)).contains("version 2"));
        assert!(error(&COMMAND_FILE.replacen("0.5", "0.75", 1)).contains("checksum"));
        assert!(error(&SERVER_FILE.replacen("[0.5,", "[0.5,1,", 1)).contains("damaged"));
    }
}
