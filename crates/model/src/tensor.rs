//! A tensor of a checkpoint, in the checkpoint's file.

use crate::error::Result;
use crate::mapped::Bytes;
use half::{bf16, f16};
use kokeshi_kernels::DType;
use safetensors::Dtype;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The type of the elements of a tensor in a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    Float(DType),
    /// Those of a quantized weight.
    I8,
    /// Several elements of a quantized weight in each.
    I32,
    /// A shape.
    I64,
}

impl Elements {
    /// Those of a dtype that a checkpoint may contain.
    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::Float(DType::F32)),
            Dtype::F16 => Some(Self::Float(DType::F16)),
            Dtype::BF16 => Some(Self::Float(DType::Bf16)),
            Dtype::I8 => Some(Self::I8),
            Dtype::I32 => Some(Self::I32),
            Dtype::I64 => Some(Self::I64),
            _ => None,
        }
    }

    /// Bytes of an element.
    pub(crate) fn len_bytes(self) -> usize {
        match self {
            Self::Float(dtype) => dtype.len_bytes(),
            Self::I8 => 1,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// The dtype's name in weight files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Float(DType::F32) => "F32",
            Self::Float(DType::F16) => "F16",
            Self::Float(DType::Bf16) => "BF16",
            Self::I8 => "I8",
            Self::I32 => "I32",
            Self::I64 => "I64",
        }
    }
}

/// A tensor in a mapped file. Cloning it copies no elements.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: Arc<str>,
    pub(crate) file: Arc<PathBuf>,
    pub(crate) bytes: Arc<Bytes>,
    pub(crate) range: Range<usize>,
    pub(crate) elements: Elements,
    pub(crate) shape: Vec<usize>,
}

impl Tensor {
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// The bytes of the elements from `start` on.
    pub(crate) fn bytes_from(&self, start: usize) -> &[u8] {
        &self.bytes[self.range.clone()][start * self.elements.len_bytes()..]
    }

    /// Widens the elements at `start`, `start + stride`, … into `to`: exactly, but for large I32
    /// and I64.
    pub(crate) fn read(&self, start: usize, stride: usize, to: &mut [f32]) {
        let data = self.bytes_from(start);
        match self.elements {
            Elements::Float(DType::F32) => widen(data, stride, to, f32::from_le_bytes),
            Elements::Float(DType::F16) => {
                widen(data, stride, to, |x| f16::from_le_bytes(x).to_f32());
            }
            Elements::Float(DType::Bf16) => {
                widen(data, stride, to, |x| bf16::from_le_bytes(x).to_f32());
            }
            Elements::I8 => widen(data, stride, to, |x| f32::from(i8::from_le_bytes(x))),
            Elements::I32 => widen(data, stride, to, |x| i32::from_le_bytes(x) as f32),
            Elements::I64 => widen(data, stride, to, |x| i64::from_le_bytes(x) as f32),
        }
    }

    /// Whether its elements are floats.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.elements, Elements::Float(_))
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.range.len() / self.elements.len_bytes()
    }

    /// All elements, widened.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.read(0, 1, &mut values);
        values
    }

    /// Refuses a tensor whose file was cut off.
    pub(crate) fn check(&self) -> Result<()> {
        self.bytes.check(&self.file)
    }

    /// Returns the pages of the tensor to the system once its elements have been copied.
    pub(crate) fn release(&self) {
        self.bytes.release(self.range.clone());
    }
}

fn widen<const BYTES: usize>(
    data: &[u8],
    stride: usize,
    to: &mut [f32],
    widened: impl Fn([u8; BYTES]) -> f32,
) {
    let (elements, _) = data.as_chunks::<BYTES>();
    let elements = elements.iter();
    let write = |(to, element): (&mut f32, &[u8; BYTES])| *to = widened(*element);
    // Without a stride, the compiler can use vectors: this is the path of whole matrices.
    match stride {
        1 => to.iter_mut().zip(elements).for_each(write),
        _ => to.iter_mut().zip(elements.step_by(stride)).for_each(write),
    }
}
