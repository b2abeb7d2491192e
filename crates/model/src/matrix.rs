//! A matrix of a checkpoint as its file stores it: floats, or integers with scales.

use crate::config::{Grouping, Modules, Scheme};
use crate::error::Result;
use crate::tensor::{Elements, Tensor};
use kokeshi_kernels::DType;
use std::ops::Range;

/// A matrix, `[rows, columns]`, in its file. Cloning it copies no elements.
#[derive(Clone, Debug)]
pub(crate) enum StoredMatrix {
    Floats(Tensor),
    Integers(Integers),
}

impl StoredMatrix {
    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Floats(tensor) => tensor.shape[1],
            Self::Integers(integers) => integers.columns,
        }
    }

    /// Number of rows.
    #[cfg(feature = "cuda")]
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Floats(tensor) => tensor.shape[0],
            Self::Integers(integers) => integers.values.shape[0],
        }
    }

    /// Writes row `row` to `to`, `[columns]`.
    pub(crate) fn read_row(&self, row: usize, to: &mut [f32]) {
        match self {
            Self::Floats(tensor) => tensor.read(row * tensor.shape[1], 1, to),
            Self::Integers(integers) => integers.read_row(row, to),
        }
    }

    /// Whether every element is stored as bf16.
    pub(crate) fn is_bf16(&self) -> bool {
        matches!(self, Self::Floats(tensor) if tensor.elements == Elements::Float(DType::Bf16))
    }

    /// Bytes in the file.
    pub(crate) fn len_bytes(&self) -> usize {
        match self {
            Self::Floats(tensor) => tensor.range.len(),
            Self::Integers(Integers { values, scales, .. }) => {
                values.range.len() + scales.range.len()
            }
        }
    }

    /// Refuses a matrix whose file was cut off.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Floats(tensor) => tensor.check(),
            Self::Integers(Integers { values, scales, .. }) => {
                values.check().and_then(|()| scales.check())
            }
        }
    }

    /// Returns the pages of the file to the system once the elements have been copied.
    pub(crate) fn release(&self) {
        match self {
            Self::Floats(tensor) => tensor.release(),
            Self::Integers(Integers { values, scales, .. }) => {
                values.release();
                scales.release();
            }
        }
    }
}

/// Integers, each of which stands for its product with a scale.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    /// I8 `[rows, columns]`; or I32 `[rows, ⌈columns · bits / 32⌉]`, in which column `i` of a word,
    /// from the lowest bits on, is offset by `2^(bits − 1)`.
    pub(crate) values: Tensor,
    /// A scale for all, or `[rows, columns / group]`; finite floats.
    pub(crate) scales: Tensor,
    /// Bits of an integer: 8, or 4 in words.
    pub(crate) bits: usize,
    pub(crate) columns: usize,
    /// Columns of a row that share a scale.
    pub(crate) group: usize,
}

impl Integers {
    /// Writes the integers of row `row` to `to`, `[columns]`.
    pub(crate) fn read_integers(&self, row: usize, to: &mut [f32]) {
        let width = self.values.shape[1];
        if self.values.elements == Elements::I8 {
            return self.values.read(row * width, 1, to);
        }
        let (words, _) = self.values.bytes_from(row * width).as_chunks::<4>();
        let (mask, offset) = ((1 << self.bits) - 1, (1 << (self.bits - 1)) as f32);
        for (to, word) in to.chunks_mut(32 / self.bits).zip(words) {
            let mut word = u32::from_le_bytes(*word);
            for to in to {
                *to = (word & mask) as f32 - offset;
                word >>= self.bits;
            }
        }
    }

    /// Writes row `row` to `to`, `[columns]`.
    fn read_row(&self, row: usize, to: &mut [f32]) {
        self.read_integers(row, to);
        let groups = self.columns / self.group;
        for (i, group) in to.chunks_mut(self.group).enumerate() {
            let scale = self.scale(row * groups + i);
            group.iter_mut().for_each(|x| *x *= scale);
        }
    }

    /// The scale of a group, counted over all rows.
    fn scale(&self, group: usize) -> f32 {
        let mut scale = [0.0];
        self.scales.read(if self.scales.len() == 1 { 0 } else { group }, 1, &mut scale);
        scale[0]
    }

    /// The scale of each of `rows`, if a row has only one.
    pub(crate) fn row_scales(&self, rows: Range<usize>) -> Option<Vec<f32>> {
        (self.group == self.columns).then(|| rows.map(|row| self.scale(row)).collect())
    }

    /// Whether it is what a configuration describes.
    pub(crate) fn follows(&self, scheme: &Scheme) -> bool {
        let is_packed = self.values.elements == Elements::I32;
        let grouping = match scheme.grouping {
            Grouping::Tensor => self.scales.len() == 1,
            Grouping::Row => {
                self.group == self.columns && self.scales.len() == self.values.shape[0]
            }
            Grouping::Columns(columns) => self.group == columns,
        };
        // A byte of its own may hold fewer bits.
        let bits = self.bits == scheme.bits || !is_packed;
        bits && grouping && scheme.is_packed.is_none_or(|it| it == is_packed)
    }

    /// Its scheme, for messages.
    pub(crate) fn scheme(&self) -> Scheme {
        let grouping = match self.scales.len() {
            1 => Grouping::Tensor,
            _ if self.group == self.columns => Grouping::Row,
            _ => Grouping::Columns(self.group),
        };
        let is_packed = Some(self.values.elements == Elements::I32);
        Scheme { bits: self.bits, grouping, is_packed, modules: Modules::All }
    }
}
