//! Files of trained classifiers: JSON with the provenance of the vectors.

use crate::failure::hinted;
use crate::output::Destination;
use anyhow::Context;
use kokeshi_analysis::Regression;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The format and the version that this program writes and reads.
const FORMAT: &str = "kokeshi classifier";
const VERSION: u32 = 1;
/// Maximum size of a file, which is ample for any number of labels.
const MAX_BYTES: u64 = 1 << 30;

/// The provenance of the vectors that a classifier was trained on; it fits no others.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Provenance {
    pub(super) model: String,
    /// Revision of the weights.
    pub(super) revision: String,
    pub(super) task: Option<String>,
    pub(super) dimensions: usize,
    /// Whether the task's instruction preceded each text.
    pub(super) instruction: bool,
    /// Number of training examples.
    pub(super) samples: usize,
}

/// A classifier from a file.
pub(super) struct Saved {
    pub(super) provenance: Provenance,
    pub(super) regression: Regression,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    format: String,
    version: u32,
    #[serde(flatten)]
    provenance: Provenance,
    labels: Vec<String>,
    /// `[labels][dimensions]`
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
    /// Checksum of the fields above.
    sha256: String,
}

impl Stored {
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        let Provenance { model, revision, task, dimensions, instruction, samples } =
            &self.provenance;
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

/// Writes a classifier to `path`, which appears only when it is complete.
pub(super) fn write(
    path: &Path,
    provenance: Provenance,
    regression: &Regression,
) -> anyhow::Result<()> {
    let (labels, weights, bias) = regression.clone().into_parts();
    let format = FORMAT.to_owned();
    let sha256 = String::new();
    let mut stored = Stored { format, version: VERSION, provenance, labels, weights, bias, sha256 };
    stored.sha256 = stored.checksum();
    let json = serde_json::to_vec(&stored)?;
    let mut to = Destination::file(path)?;
    to.writer().write_all(&json).map_err(|error| to.failure(error))?;
    to.commit()
}

/// Reads a file that was written by [`write`].
pub(super) fn read(path: &Path) -> anyhow::Result<Saved> {
    let mut json = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = file.take(MAX_BYTES).read_to_end(&mut json);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    parse(&json).map_err(|reason| {
        hinted(
            format!("cannot use {} as a classifier: {reason}", path.display()),
            "create one with `kokeshi classify --train FILE --save FILE`",
        )
    })
}

fn parse(json: &[u8]) -> Result<Saved, String> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let head: Head = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!("its format is `{}`", head.format));
    }
    if head.version != VERSION {
        return Err(format!(
            "it has version {}; this program reads version {VERSION}",
            head.version
        ));
    }
    let stored: Stored = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if stored.sha256 != stored.checksum() {
        return Err("its checksum does not match its content".to_owned());
    }
    let Stored { provenance, labels, weights, bias, .. } = stored;
    let regression =
        Regression::from_parts(labels, weights, bias).map_err(|error| error.to_string())?;
    if regression.dimensions() != provenance.dimensions || regression.labels().is_empty() {
        return Err("its weights do not match its dimensions".to_owned());
    }
    Ok(Saved { provenance, regression })
}
