//! Parquet files in a build that cannot read them.

use super::{FieldNames, JsonRows, SourceRow};
use crate::error::{Error, Result};
use crate::fields::Field;
use std::path::Path;

pub(super) fn read(
    path: &Path,
    _names: &FieldNames<'_>,
    _each: &mut dyn FnMut(SourceRow) -> Result<()>,
) -> Result<()> {
    Err(missing_feature(path))
}

pub(super) fn fields(path: &Path) -> Result<Vec<Field>> {
    Err(missing_feature(path))
}

pub(super) fn objects(path: &Path) -> Result<JsonRows> {
    Err(missing_feature(path))
}

fn missing_feature(path: &Path) -> Error {
    Error::MissingFeature { action: format!("read {}", path.display()), feature: "parquet" }
}
