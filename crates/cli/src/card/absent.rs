//! Cards in a build without the feature `cuda`: there are none.

use crate::failure::hinted;
use kokeshi::Precision;
use std::path::Path;

const LACKS: &str = "this build lacks the feature `cuda`";

/// No card.
#[derive(Clone, Debug)]
pub(crate) enum Card {}

impl Card {
    /// # Errors
    ///
    /// Always: the program needs the feature.
    pub(crate) fn open(_ordinal: usize) -> anyhow::Result<Self> {
        Err(hinted(
            format!("cannot use an NVIDIA card: {LACKS}"),
            "build with `--features cuda` or `full`, or run on the processor with `--device cpu`",
        ))
    }

    pub(crate) fn ordinal(&self) -> usize {
        match *self {}
    }

    pub(crate) fn name(&self) -> &str {
        match *self {}
    }

    pub(crate) fn default_precision(&self) -> anyhow::Result<Precision> {
        match *self {}
    }

    pub(crate) fn peaks(&self, _precision: Precision) -> anyhow::Result<(f64, f64)> {
        match *self {}
    }
}

/// # Errors
///
/// If the machine has a card.
pub(super) fn first() -> Result<Option<usize>, String> {
    // The driver's device file on Linux: cheaper than loading the driver.
    match Path::new("/dev/nvidiactl").exists() {
        true => Err(LACKS.to_owned()),
        false => Ok(None),
    }
}

/// The first card that can be used.
///
/// # Errors
///
/// The reason why there is none.
pub(crate) fn describe_first() -> Result<String, String> {
    Err(LACKS.to_owned())
}
