//! Vectors → the output formats of the Jina embeddings API.

use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// An output format of vectors, named as in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EmbeddingType {
    /// 32-bit floats.
    #[default]
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
    /// One bit per dimension, in signed bytes.
    Binary,
    /// One bit per dimension, in unsigned bytes.
    Ubinary,
}

/// A vector in one of the output formats.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// `[dimensions]`.
    Float(Vec<f32>),
    /// Standard base64, padded, of 4 bytes per dimension.
    Base64(String),
    /// The bytes of [`Encoded::Ubinary`] minus 128, `[⌈dimensions / 8⌉]`.
    Binary(Vec<i8>),
    /// A bit is set if the value is above 0. The first dimension is the highest bit of the first
    /// byte; the last byte is padded with zeros, `[⌈dimensions / 8⌉]`.
    Ubinary(Vec<u8>),
}

impl EmbeddingType {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Float, Self::Base64, Self::Binary, Self::Ubinary];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Base64 => "base64",
            Self::Binary => "binary",
            Self::Ubinary => "ubinary",
        }
    }
}

impl fmt::Display for EmbeddingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EmbeddingType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|kind| format!("`{kind}`")).join(", ");
            Error::Options(format!("`{name}` is not an embedding type; use one of {names}"))
        })
    }
}

/// Converts a vector to an output format.
pub fn encode(vector: &[f32], kind: EmbeddingType) -> Encoded {
    match kind {
        EmbeddingType::Float => Encoded::Float(vector.to_vec()),
        EmbeddingType::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Encoded::Base64(STANDARD.encode(bytes))
        }
        EmbeddingType::Binary => {
            let signed = sign_bits(vector).map(|byte| (byte ^ 0x80).cast_signed());
            Encoded::Binary(signed.collect())
        }
        EmbeddingType::Ubinary => Encoded::Ubinary(sign_bits(vector).collect()),
    }
}

/// Bytes with the sign bits of eight dimensions each, the first in the highest bit.
fn sign_bits(vector: &[f32]) -> impl Iterator<Item = u8> {
    let bit = |(index, x): (usize, &f32)| u8::from(*x > 0.0) << (7 - index);
    vector.chunks(8).map(move |eight| eight.iter().enumerate().map(bit).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: [f32; 10] = [1.0, -1.0, 0.0, 0.5, -0.5, -0.0, 2.0, 0.1, f32::NAN, 3.0];

    #[test]
    fn bits_are_set_above_zero_highest_first_and_padded_with_zeros() {
        let ubinary = encode(&VECTOR, EmbeddingType::Ubinary);
        assert_eq!(ubinary, Encoded::Ubinary(vec![0b1001_0011, 0b0100_0000]));
    }

    #[test]
    fn binary_is_ubinary_minus_128() {
        let binary = encode(&VECTOR, EmbeddingType::Binary);
        assert_eq!(binary, Encoded::Binary(vec![19, -64]));
        assert_eq!(encode(&[-1.0; 8], EmbeddingType::Binary), Encoded::Binary(vec![-128]));
        assert_eq!(encode(&[1.0; 8], EmbeddingType::Binary), Encoded::Binary(vec![127]));
    }

    #[test]
    fn base64_encodes_little_endian_floats() {
        let encoded = encode(&[1.0, -2.0], EmbeddingType::Base64);
        assert_eq!(encoded, Encoded::Base64("AACAPwAAAMA=".to_owned()));
        assert_eq!(encode(&[], EmbeddingType::Base64), Encoded::Base64(String::new()));
    }

    #[test]
    fn names_are_those_of_the_api() {
        for kind in EmbeddingType::ALL {
            assert_eq!(kind.to_string().parse::<EmbeddingType>().expect("its own name"), kind);
        }
        let error = "int8".parse::<EmbeddingType>().expect_err("no such type").to_string();
        assert!(error.contains("`int8`") && error.contains("`ubinary`"), "{error}");
    }
}
