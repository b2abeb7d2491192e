//! Reading and writing a trained classifier's file.

use crate::failure::hinted;
use crate::output::Destination;
use anyhow::Context;
use kokeshi_analysis::TrainedClassifier;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Maximum number of bytes that are read.
const MAX_BYTES: u64 = 1 << 30;

/// Writes a classifier to `path`. The file appears once it is complete.
pub(super) fn write(path: &Path, classifier: &TrainedClassifier) -> anyhow::Result<()> {
    let json = classifier.to_json()?;
    let mut to = Destination::file(path)?;
    to.writer().write_all(&json).map_err(|error| to.failure(error))?;
    to.commit()
}

/// Reads a classifier's file.
pub(super) fn read(path: &Path) -> anyhow::Result<TrainedClassifier> {
    let mut json = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = file.take(MAX_BYTES).read_to_end(&mut json);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    TrainedClassifier::from_json(&json).map_err(|error| {
        hinted(
            format!("cannot use {} as a classifier: {error}", path.display()),
            "create one with `kokeshi classify --train FILE --save FILE`",
        )
    })
}
