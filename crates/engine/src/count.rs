//! Numbers of tokens, which are estimated where counting would cost more than they are worth.

use std::fmt;

/// A number of tokens of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCount {
    /// As counted.
    Exact(usize),
    /// Estimated from the beginning of the text: no more of it was tokenized, since the rest, of
    /// more than 64 KiB, is not needed.
    About(usize),
}

impl TokenCount {
    /// The number.
    pub fn get(self) -> usize {
        match self {
            Self::Exact(tokens) | Self::About(tokens) => tokens,
        }
    }

    /// The number, changed by `change`.
    pub(crate) fn map(self, change: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::Exact(tokens) => Self::Exact(change(tokens)),
            Self::About(tokens) => Self::About(change(tokens)),
        }
    }
}

impl Default for TokenCount {
    fn default() -> Self {
        Self::Exact(0)
    }
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(tokens) => write!(f, "{tokens}"),
            Self::About(tokens) => write!(f, "about {tokens}"),
        }
    }
}
