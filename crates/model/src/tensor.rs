//! A tensor of a checkpoint, where it lies.

use crate::mapped::Bytes;
use half::{bf16, f16};
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
        let data = &self.bytes[self.range.clone()];
        match self.float {
            Float::F32 => widen(data, start, stride, to, f32::from_le_bytes),
            Float::F16 => widen(data, start, stride, to, |x| f16::from_le_bytes(x).to_f32()),
            Float::Bf16 => widen(data, start, stride, to, |x| bf16::from_le_bytes(x).to_f32()),
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

fn widen<const BYTES: usize>(
    data: &[u8],
    start: usize,
    stride: usize,
    to: &mut [f32],
    number: impl Fn([u8; BYTES]) -> f32,
) {
    let (elements, _) = data.as_chunks::<BYTES>();
    let elements = elements[start..].iter();
    let write = |(to, element): (&mut f32, &[u8; BYTES])| *to = number(*element);
    // Without a stride, the compiler can use vectors: whole matrices come this way.
    match stride {
        1 => to.iter_mut().zip(elements).for_each(write),
        _ => to.iter_mut().zip(elements.step_by(stride)).for_each(write),
    }
}
