//! How documents are cut into chunks.

use crate::error::{Error, Result};
use kokeshi::Chunking;
use std::fmt;
use std::str::FromStr;

/// How documents are cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentChunking {
    /// At their own structure, into chunks of about this many tokens.
    Structure(usize),
    /// As the engine cuts texts.
    Engine(Chunking),
}

impl Default for DocumentChunking {
    fn default() -> Self {
        Self::Structure(256)
    }
}

impl FromStr for DocumentChunking {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("structure:").map(str::parse) {
            Some(Ok(size)) if size > 0 => Ok(Self::Structure(size)),
            Some(_) => {
                Err(Error::Chunking("`structure:` needs a size, as in `structure:256`".to_owned()))
            }
            None => text
                .parse()
                .map(Self::Engine)
                .map_err(|error| Error::Chunking(format!("{error}, or `structure:256`"))),
        }
    }
}

impl fmt::Display for DocumentChunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(size) => write!(f, "structure:{size}"),
            Self::Engine(chunking) => chunking.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkings_are_written_as_they_are_parsed() {
        for text in ["structure:256", "tokens:128", "sentences", "semantic:512"] {
            assert_eq!(text.parse::<DocumentChunking>().expect(text).to_string(), text);
        }
        for text in ["structure", "structure:", "structure:0", "nothing"] {
            let error = text.parse::<DocumentChunking>().expect_err(text).to_string();
            assert!(error.contains("structure:256"), "{error}");
        }
    }
}
