//! How a document is cut into chunks, as users write it.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How a document is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking {
    /// Every `n` tokens.
    Tokens(usize),
    /// Every `n` sentences (Unicode UAX #29).
    Sentences(usize),
    /// Lines that contain more than white space.
    Lines,
    /// Paragraphs: blocks between blank lines.
    Paragraphs,
    /// As many whole paragraphs, lines, sentences or words as fit into `n` tokens.
    Semantic(usize),
}

/// Examples of every form of a [`Chunking`], for error messages.
const CHUNKING_FORMS: &str =
    "`tokens:256`, `sentences`, `sentences:3`, `lines`, `paragraphs`, `semantic:512`";

impl FromStr for Chunking {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, size) = match text.split_once(':') {
            Some((name, size)) => (name, Some(size.parse().ok().filter(|&size: &usize| size > 0))),
            None => (text, None),
        };
        match (name, size) {
            ("tokens", Some(Some(size))) => Ok(Self::Tokens(size)),
            ("sentences", None) => Ok(Self::Sentences(1)),
            ("sentences", Some(Some(count))) => Ok(Self::Sentences(count)),
            ("lines", None) => Ok(Self::Lines),
            ("paragraphs", None) => Ok(Self::Paragraphs),
            ("semantic", Some(Some(size))) => Ok(Self::Semantic(size)),
            _ => Err(Error::Options(format!(
                "`{text}` is not a chunking; use one of {CHUNKING_FORMS}"
            ))),
        }
    }
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(size) => write!(f, "tokens:{size}"),
            Self::Sentences(1) => f.write_str("sentences"),
            Self::Sentences(count) => write!(f, "sentences:{count}"),
            Self::Lines => f.write_str("lines"),
            Self::Paragraphs => f.write_str("paragraphs"),
            Self::Semantic(size) => write!(f, "semantic:{size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunking_is_displayed_as_it_is_parsed() {
        for text in ["tokens:256", "sentences", "sentences:3", "lines", "paragraphs", "semantic:9"]
        {
            let chunking: Chunking = text.parse().expect(text);
            assert_eq!(chunking.to_string(), text);
        }
    }

    #[test]
    fn text_that_is_not_a_chunking_is_refused_with_the_valid_forms() {
        for text in
            ["", "tokens", "tokens:", "tokens:0", "tokens:-1", "lines:2", "word", "semantic"]
        {
            let error = text.parse::<Chunking>().expect_err(text).to_string();
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("`sentences:3`"),
                "{error}"
            );
        }
    }
}
