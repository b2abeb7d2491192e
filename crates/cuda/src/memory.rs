//! Memory of the card, and copies to and from it.

use crate::DType;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use cudarc::driver::CudaSlice;
use half::{bf16, f16};
use std::fmt;

/// Bytes on the card, for use only with the [`Gpu`] that allocated them.
pub struct Memory(pub(crate) CudaSlice<u8>);

impl Memory {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.len())
    }
}

/// Bytes of rows that are narrowed and copied at once.
const COPY_BYTES: usize = 1 << 24;

impl Gpu {
    /// Memory of `bytes` zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the card is out of memory.
    pub fn zeros(&self, bytes: usize) -> Result<Memory> {
        let error = Error::allocation(bytes);
        self.stream.alloc_zeros(bytes.max(1)).map(Memory).map_err(error)
    }

    /// Copies values to the card as they are.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    pub fn upload<T: Plain>(&self, values: &[T]) -> Result<Memory> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.bytes()).collect();
        self.upload_bytes(&bytes)
    }

    pub(crate) fn upload_bytes(&self, bytes: &[u8]) -> Result<Memory> {
        let mut memory = self.zeros(bytes.len())?;
        if !bytes.is_empty() {
            let mut to = memory.0.slice_mut(..bytes.len());
            let copied = self.stream.memcpy_htod(bytes, &mut to);
            copied.map_err(Error::driver("copying to the card"))?;
        }
        Ok(memory)
    }

    /// Uploads rows of `ld ≥ width` elements in the card's dtype. `read` writes the first `width`
    /// of row `i`; the others are zero.
    ///
    /// # Errors
    ///
    /// As [`Gpu::upload`].
    pub fn upload_rows(
        &self,
        rows: usize,
        [width, ld]: [usize; 2],
        read: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<Memory> {
        assert!(ld >= width, "a row of {width} elements does not fit into {ld}");
        let row_bytes = ld * self.dtype.len_bytes();
        let mut memory = self.zeros(rows * row_bytes)?;
        let rows_at_once = (COPY_BYTES / row_bytes.max(1)).max(1);
        let (mut row, mut bytes) = (vec![0.0; ld], Vec::new());
        for first in (0..rows).step_by(rows_at_once) {
            let count = rows_at_once.min(rows - first);
            bytes.clear();
            for i in first..first + count {
                read(i, &mut row[..width]);
                narrow(self.dtype, &row, &mut bytes);
            }
            let mut to = memory.0.slice_mut(first * row_bytes..(first + count) * row_bytes);
            let copied = self.stream.memcpy_htod(&bytes[..], &mut to);
            copied.map_err(Error::driver("copying to the card"))?;
        }
        Ok(memory)
    }

    /// Downloads the first `bytes` bytes of `memory` after all earlier operations.
    ///
    /// # Errors
    ///
    /// If the card failed, in this or an earlier operation.
    pub(crate) fn download(&self, memory: &Memory, bytes: usize) -> Result<Vec<u8>> {
        let mut to = vec![0; bytes];
        if bytes > 0 {
            let copied = self.stream.memcpy_dtoh(&memory.0.slice(..bytes), &mut to[..]);
            copied.map_err(Error::driver("copying from the card"))?;
        }
        self.wait()?;
        Ok(to)
    }

    /// Waits until all operations are done.
    ///
    /// # Errors
    ///
    /// If one of them failed.
    pub fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(Error::driver("running on the card"))
    }
}

/// A value that is copied to the card as it is.
pub trait Plain: Copy {
    /// Its bytes as the card reads them.
    fn bytes(self) -> [u8; 4];
}

impl Plain for f32 {
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl Plain for i32 {
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// A function that fills rows with pseudo-random values, for timing: products of zeros draw less
/// power and run faster.
pub(crate) fn noise() -> impl FnMut(usize, &mut [f32]) {
    let mut state = 1_u32;
    move |_, row| {
        row.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(0x3f80_0000 | state >> 9) - 1.5
        });
    }
}

/// Rounds values to `dtype` and appends their bytes to `to`.
pub(crate) fn narrow(dtype: DType, values: &[f32], to: &mut Vec<u8>) {
    match dtype {
        DType::F32 => to.extend(values.iter().flat_map(|x| x.to_le_bytes())),
        DType::F16 => to.extend(values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes())),
        DType::Bf16 => to.extend(values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes())),
    }
}

/// Values of `dtype` from their bytes.
pub(crate) fn widen(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let (words, halves) = (bytes.as_chunks::<4>().0, bytes.as_chunks::<2>().0);
    match dtype {
        DType::F32 => words.iter().map(|x| f32::from_le_bytes(*x)).collect(),
        DType::F16 => halves.iter().map(|x| f16::from_le_bytes(*x).to_f32()).collect(),
        DType::Bf16 => halves.iter().map(|x| bf16::from_le_bytes(*x).to_f32()).collect(),
    }
}
