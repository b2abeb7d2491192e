//! A tensor of a checkpoint, in the checkpoint's file.

use crate::mapped::Bytes;
use half::{bf16, f16};
use kokeshi_kernels::DType;
use safetensors::Dtype;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The dtype of a tensor in a weight file, if the encoder supports it.
pub(crate) fn supported(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::Bf16),
        _ => None,
    }
}

/// A tensor in a mapped file. Cloning it copies no elements.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: Arc<str>,
    pub(crate) file: Arc<PathBuf>,
    pub(crate) bytes: Arc<Bytes>,
    pub(crate) range: Range<usize>,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
}

impl Tensor {
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Widens the elements at `start`, `start + stride`, … exactly into `to`.
    pub(crate) fn read(&self, start: usize, stride: usize, to: &mut [f32]) {
        let data = &self.bytes[self.range.clone()];
        match self.dtype {
            DType::F32 => widen(data, start, stride, to, f32::from_le_bytes),
            DType::F16 => widen(data, start, stride, to, |x| f16::from_le_bytes(x).to_f32()),
            DType::Bf16 => widen(data, start, stride, to, |x| bf16::from_le_bytes(x).to_f32()),
        }
    }

    /// The dtype's name in weight files.
    pub(crate) fn dtype_name(&self) -> &'static str {
        match self.dtype {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::Bf16 => "BF16",
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.range.len() / self.dtype.len_bytes()
    }

    /// All elements, widened.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.read(0, 1, &mut values);
        values
    }

    /// Returns the pages of the tensor to the system once its elements have been copied.
    pub(crate) fn release(&self) {
        self.bytes.release(self.range.clone());
    }
}

fn widen<const BYTES: usize>(
    data: &[u8],
    start: usize,
    stride: usize,
    to: &mut [f32],
    widened: impl Fn([u8; BYTES]) -> f32,
) {
    let (elements, _) = data.as_chunks::<BYTES>();
    let elements = elements[start..].iter();
    let write = |(to, element): (&mut f32, &[u8; BYTES])| *to = widened(*element);
    // Without a stride, the compiler can use vectors: this is the path of whole matrices.
    match stride {
        1 => to.iter_mut().zip(elements).for_each(write),
        _ => to.iter_mut().zip(elements.step_by(stride)).for_each(write),
    }
}
