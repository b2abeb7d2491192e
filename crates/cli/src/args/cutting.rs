//! How the documents of a collection are cut into chunks.

use kokeshi::Chunking;
use std::fmt;
use std::str::FromStr;

/// How documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cutting {
    /// At their own structure, into pieces of about so many tokens.
    Structure(usize),
    /// As the engine cuts texts.
    Engine(Chunking),
}

impl Default for Cutting {
    fn default() -> Self {
        Self::Structure(256)
    }
}

impl FromStr for Cutting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("structure:").map(str::parse) {
            Some(Ok(size)) if size > 0 => Ok(Self::Structure(size)),
            Some(_) => Err("`structure:` needs a size, as in `structure:256`".to_owned()),
            None => text
                .parse()
                .map(Self::Engine)
                .map_err(|error: kokeshi::Error| format!("{error}, or `structure:256`")),
        }
    }
}

impl fmt::Display for Cutting {
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
    fn cuttings_are_written_as_they_are_read() {
        for text in ["structure:256", "tokens:128", "sentences", "semantic:512"] {
            assert_eq!(text.parse::<Cutting>().expect(text).to_string(), text);
        }
        for text in ["structure", "structure:", "structure:0", "nothing"] {
            let error = text.parse::<Cutting>().expect_err(text);
            assert!(error.contains("structure:256"), "{error}");
        }
    }
}
