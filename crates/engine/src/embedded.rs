//! The result of embedding one input.

use crate::count::TokenCount;

/// Vectors of one [`Input`](crate::Input), and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for a whole text; one per chunk or part, in order, for late chunking. Each is
    /// `[dimensions]`.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of the input, special tokens and instruction included. Tokens in the overlap of two
    /// windows count once.
    pub tokens: usize,
    /// Tokens cut off the end because of [`Options::truncate`](crate::Options::truncate); 0
    /// otherwise.
    pub truncated_tokens: TokenCount,
    /// Forward passes over the document: 1, more when late chunking ran in windows, or 0 when no
    /// chunk has a token.
    pub windows: usize,
}
