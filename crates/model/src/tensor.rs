//! A tensor of a checkpoint, where it lies.

use crate::mapped::Bytes;
use safetensors::Dtype;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How the numbers of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    pub(crate) fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    pub(crate) fn len_bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// A tensor in a mapped file. Cloning it copies no numbers.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: Arc<str>,
    pub(crate) file: Arc<PathBuf>,
    pub(crate) bytes: Arc<Bytes>,
    pub(crate) range: Range<usize>,
    pub(crate) float: Float,
    pub(crate) shape: Vec<usize>,
}

impl Tensor {
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Widens the elements at `start`, `start + stride`, … exactly into `to`.
    pub(crate) fn read(&self, start: usize, stride: usize, to: &mut [f32]) {
        let size = self.float.len_bytes();
        let data = &self.bytes[self.range.clone()];
        let from = data[start * size..].chunks_exact(size).step_by(stride).zip(to);
        match self.float {
            Float::F32 => {
                from.for_each(|(x, to)| *to = f32::from_le_bytes([x[0], x[1], x[2], x[3]]))
            }
            Float::F16 => {
                from.for_each(|(x, to)| *to = half::f16::from_le_bytes([x[0], x[1]]).to_f32())
            }
            Float::Bf16 => {
                from.for_each(|(x, to)| *to = half::bf16::from_le_bytes([x[0], x[1]]).to_f32())
            }
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.range.len() / self.float.len_bytes()
    }

    /// All elements, widened.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.read(0, 1, &mut values);
        values
    }

    /// Gives the pages of the tensor back to the system, after its numbers were copied.
    pub(crate) fn release(&self) {
        self.bytes.release(self.range.clone());
    }
}
