//! How vectors are stored: f32, f16, int8 or bits.

use crate::error::Error;
use half::f16;
use kokeshi_kernels::scan::{BITS_ROW, BYTES_ROW, F16_ROW, F32_ROW};
use std::fmt;
use std::str::FromStr;

/// How the elements of a vector are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Single precision, as the model computed them.
    F32,
    /// Half precision: half the size, and cosines change by less than 0.001.
    #[default]
    F16,
    /// Signed bytes, with a scale for each vector.
    Int8,
    /// Signs. Scores are estimates.
    Bits,
}

/// The unsigned byte that stands for zero: the kernels need unsigned bytes.
const BYTE_ZERO: u8 = 128;

/// Largest block, in bytes: small enough that reading one row of a block is cheap, large enough
/// that reading all of them costs little more than the bytes.
const BLOCK_BYTES: usize = 64 << 10;

impl Storage {
    /// All storages.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Bits];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Bits => "bits",
        }
    }
}

impl Storage {
    /// `vector` as it is read back: rounded, or for [`Self::Bits`] its signs, scaled to unit
    /// length.
    #[must_use]
    pub fn rounded(self, vector: &[f32]) -> Vec<f32> {
        let layout = Layout::new(self, vector.len());
        let (row, scale) = layout.encode(vector);
        layout.decode(&row, scale)
    }

    /// Bytes per vector of `dimensions` elements in an SQLite store.
    pub fn bytes(self, dimensions: usize) -> usize {
        let layout = Layout::new(self, dimensions);
        layout.row + layout.scale()
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Storage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|storage| storage.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Parse(format!("`{name}` is not a vector store dtype; use one of {names}"))
        })
    }
}

/// Codes next to the vectors, which find a short list of candidates: `bits`, `int8:256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// How they are stored.
    pub storage: Storage,
    /// Number of leading dimensions that they encode; `None` is all.
    pub dimensions: Option<usize>,
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dimensions {
            Some(dimensions) => write!(f, "{}:{dimensions}", self.storage),
            None => self.storage.fmt(f),
        }
    }
}

impl FromStr for Codes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (storage, dimensions) = match text.split_once(':') {
            Some((storage, size)) => {
                (storage, size.parse().ok().filter(|&size| size > 0).map(Some))
            }
            None => (text, Some(None)),
        };
        match (storage, dimensions) {
            ("bits", Some(dimensions)) => Ok(Self { storage: Storage::Bits, dimensions }),
            ("int8", Some(dimensions)) => Ok(Self { storage: Storage::Int8, dimensions }),
            _ => Err(Error::Parse(format!(
                "`{text}` is not a kind of codes; use `bits` or `int8`, or `int8:256` for leading dimensions"
            ))),
        }
    }
}

/// The layout of a block: `rows` rows, then a scale for each if there are scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) storage: Storage,
    /// Number of leading dimensions in a row.
    pub(crate) dimensions: usize,
    /// Bytes per row, a multiple of 64.
    pub(crate) row: usize,
    /// Rows per block.
    pub(crate) rows: usize,
}

impl Layout {
    pub(crate) fn new(storage: Storage, dimensions: usize) -> Self {
        let row = match storage {
            Storage::F32 => 4 * dimensions.next_multiple_of(F32_ROW),
            Storage::F16 => 2 * dimensions.next_multiple_of(F16_ROW),
            Storage::Int8 => dimensions.next_multiple_of(4 * BYTES_ROW),
            Storage::Bits => 8 * dimensions.div_ceil(64).next_multiple_of(BITS_ROW),
        };
        let rows = (BLOCK_BYTES / row.max(1)).clamp(1, 512);
        Self { storage, dimensions, row, rows }
    }

    /// Bytes of a scale.
    pub(crate) fn scale(self) -> usize {
        if self.storage == Storage::Int8 { size_of::<f32>() } else { 0 }
    }

    /// Bytes of a block.
    pub(crate) fn block(self) -> usize {
        self.rows * (self.row + self.scale())
    }

    /// The row of `vector`, which has at least `dimensions` values, and its scale.
    pub(crate) fn encode(self, vector: &[f32]) -> (Vec<u8>, f32) {
        let vector = &vector[..self.dimensions];
        let mut row: Vec<u8> = match self.storage {
            Storage::F32 => vector.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Storage::F16 => vector.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            Storage::Bits => signs(vector).iter().flat_map(|word| word.to_le_bytes()).collect(),
            Storage::Int8 => {
                let (values, scale) = quantized(vector);
                let mut row: Vec<u8> =
                    values.iter().map(|x| x.cast_unsigned() ^ BYTE_ZERO).collect();
                row.resize(self.row, BYTE_ZERO);
                return (row, scale);
            }
        };
        row.resize(self.row, 0);
        (row, 1.0)
    }

    /// The vector in `row` with this scale.
    pub(crate) fn decode(self, row: &[u8], scale: f32) -> Vec<f32> {
        let values = 0..self.dimensions;
        match self.storage {
            Storage::F32 => {
                row.as_chunks().0[values].iter().map(|x| f32::from_le_bytes(*x)).collect()
            }
            Storage::F16 => {
                let halves = row.as_chunks().0[values].iter();
                halves.map(|x| f16::from_le_bytes(*x).to_f32()).collect()
            }
            Storage::Int8 => {
                let byte = |x: &u8| f32::from((x ^ BYTE_ZERO).cast_signed()) * scale;
                row[values].iter().map(byte).collect()
            }
            Storage::Bits => {
                let unit = 1.0 / (self.dimensions as f32).sqrt();
                let sign = |at: usize| if row[at / 8] >> (at % 8) & 1 == 1 { unit } else { -unit };
                values.map(sign).collect()
            }
        }
    }
}

/// Signed bytes and their scale: byte · scale is the element.
fn quantized(vector: &[f32]) -> (Vec<i8>, f32) {
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    (vector.iter().map(|x| (x / scale).round() as i8).collect(), scale)
}

/// A set bit for each positive element.
fn signs(vector: &[f32]) -> Vec<u64> {
    let word = |values: &[f32]| {
        values.iter().enumerate().fold(0, |word, (bit, x)| word | u64::from(*x > 0.0) << bit)
    };
    vector.chunks(64).map(word).collect()
}

/// A query in the form that the kernel of a layout needs.
#[derive(Debug)]
pub(crate) enum EncodedQuery {
    Floats(Vec<f32>),
    Bytes {
        /// Four signed bytes per word.
        words: Vec<u32>,
        scale: f32,
        /// What [`BYTE_ZERO`] adds to every dot product.
        excess: i32,
    },
    Bits(Vec<u64>),
}

impl EncodedQuery {
    /// Encodes `query`, which has at least the layout's dimensions.
    pub(crate) fn new(layout: Layout, query: &[f32]) -> Self {
        let query = &query[..layout.dimensions];
        match layout.storage {
            Storage::F32 | Storage::F16 => {
                let mut values = query.to_vec();
                let value = if layout.storage == Storage::F32 { 4 } else { 2 };
                values.resize(layout.row / value, 0.0);
                Self::Floats(values)
            }
            Storage::Int8 => {
                let (mut values, scale) = quantized(query);
                values.resize(layout.row, 0);
                let sum: i32 = values.iter().map(|x| i32::from(*x)).sum();
                let word = |four: &[i8; 4]| u32::from_le_bytes(four.map(i8::cast_unsigned));
                let words = values.as_chunks().0.iter().map(word).collect();
                Self::Bytes { words, scale, excess: i32::from(BYTE_ZERO) * sum }
            }
            Storage::Bits => {
                let mut words = signs(query);
                words.resize(layout.row / 8, 0);
                Self::Bits(words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_multiples_of_a_cache_line_and_blocks_are_small() {
        for storage in Storage::ALL {
            for dimensions in [1, 32, 100, 256, 1024, 4096] {
                let layout = Layout::new(storage, dimensions);
                assert_eq!(layout.row % 64, 0, "{layout:?}");
                assert!(layout.rows >= 1 && layout.rows * layout.row <= BLOCK_BYTES, "{layout:?}");
            }
        }
        assert_eq!(Layout::new(Storage::F16, 1024).rows, 32);
        assert_eq!(Layout::new(Storage::Bits, 1024).rows, 512);
    }

    #[test]
    fn vectors_are_read_back_with_the_accuracy_of_their_storage() {
        let vector: Vec<f32> = (0..100_u8).map(|n| (f32::from(n) - 40.3) / 577.0).collect();
        assert_eq!(Storage::F32.rounded(&vector), vector);
        for (storage, tolerance) in [(Storage::F16, 1e-4), (Storage::Int8, 5e-4)] {
            let back = storage.rounded(&vector);
            assert!(back.iter().zip(&vector).all(|(a, b)| (a - b).abs() <= tolerance), "{storage}");
            assert_eq!(storage.rounded(&back), back, "{storage}");
        }
        let signs = Storage::Bits.rounded(&vector);
        assert!(signs.iter().zip(&vector).all(|(a, b)| a.abs() == 0.1 && (a > &0.0) == (b > &0.0)));
    }

    #[test]
    fn names_are_parsed_as_they_are_displayed() {
        for storage in Storage::ALL {
            assert_eq!(storage.to_string().parse::<Storage>().expect("a storage"), storage);
        }
        for text in ["bits", "int8", "int8:256", "bits:512"] {
            assert_eq!(text.parse::<Codes>().expect("codes").to_string(), text);
        }
        for text in ["", "f16", "int8:", "int8:0", "bits:x"] {
            assert!(text.parse::<Codes>().is_err(), "{text}");
        }
    }
}
