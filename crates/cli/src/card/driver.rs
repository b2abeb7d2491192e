//! Cards as the driver reports them.

use crate::bytes;
use crate::failure::hinted;
use kokeshi::{CardError, Precision};

/// A card that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Card(kokeshi::Card);

impl Card {
    /// Opens the card with the number `ordinal`.
    ///
    /// # Errors
    ///
    /// If there is no such card, or it cannot be used.
    pub(crate) fn open(ordinal: usize) -> anyhow::Result<Self> {
        kokeshi::card(ordinal).map(Self).map_err(|error| {
            hinted(
                format!("cannot use an NVIDIA card: {error}"),
                "run on the processor with `--device cpu`",
            )
        })
    }

    /// Its number on this machine.
    pub(crate) fn ordinal(&self) -> usize {
        self.0.ordinal
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The precision without `--precision`.
    pub(crate) fn default_precision(&self) -> anyhow::Result<Precision> {
        Ok(kokeshi_model::default_card_precision(self.ordinal())?)
    }

    /// Measured peaks: multiplications and additions per second, and bytes per second.
    pub(crate) fn peaks(&self, precision: Precision) -> anyhow::Result<(f64, f64)> {
        let dtype = kokeshi_model::card_dtype(precision)?;
        let peak = kokeshi_cuda::peak(self.ordinal(), dtype)?;
        Ok((peak.flops_per_s, peak.bytes_per_s))
    }
}

/// The number of the first card that can be used, if the machine has a card.
///
/// # Errors
///
/// The reason why none of the cards can be used.
pub(super) fn first() -> Result<Option<usize>, String> {
    match kokeshi::first_card() {
        Ok(card) => Ok(Some(card.ordinal)),
        Err(CardError::NoDriver | CardError::NoCard { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The first card that can be used.
///
/// # Errors
///
/// The reason why there is none.
pub(crate) fn describe_first() -> Result<String, String> {
    let kokeshi::Card { ordinal, name, capability: (major, minor), memory, .. } =
        kokeshi::first_card().map_err(|error| error.to_string())?;
    let memory = bytes::format(memory);
    Ok(format!("cuda:{ordinal}, {name}, capability {major}.{minor}, {memory}"))
}
