//! Reading and writing a trained classifier's file.

use crate::failure::hinted;
use crate::output::Destination;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_analysis::TrainedClassifier;
use kokeshi_server::read_regular;
use std::path::Path;

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Writes a classifier to `path`, where `-` is standard output. A file appears once it is complete.
pub(super) fn write(
    path: &Path,
    classifier: &TrainedClassifier,
    printer: &Printer,
) -> anyhow::Result<()> {
    let json = classifier.to_json()?;
    let mut to = Destination::open(path, printer)?;
    to.writer().write_all(&json).map_err(|error| to.failure(error))?;
    to.commit()
}

/// Reads a classifier's file.
pub(super) fn read(path: &Path) -> anyhow::Result<TrainedClassifier> {
    let json = read_regular(path, MAX_BYTES);
    let json = json.with_context(|| format!("cannot read {}", path.display()))?;
    TrainedClassifier::from_json(&json).map_err(|error| {
        hinted(
            format!("cannot use {} as a classifier: {error}", path.display()),
            "create one with `kokeshi classify --train FILE --save FILE`",
        )
    })
}
