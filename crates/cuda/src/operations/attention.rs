//! Attention inside each sequence, with one of three kernels.

use super::PackedBatch;
use super::batch::Tiles;
use crate::DType;
use crate::constants::{
    BOX_ROWS, HOPPER_DIM, HOPPER_KEYS, HOPPER_QUERIES, HOPPER_STAGES, HOPPER_THREADS, MMA_KEYS,
    MMA_PADDING, MMA_QUERIES, MMA_STAGES, MMA_WARPS, PLAIN_KEYS, PLAIN_QUERIES, PLAIN_WARPS, WARP,
};
use crate::error::{Error, Result};
use crate::gpu::{Code, Gpu};
use crate::launch::{Address, Launch, arguments};
use crate::memory::Memory;
use crate::states::States;
use cudarc::driver::{DeviceRepr, sys};
use std::f32::consts::LOG2_E;

/// How positions enter attention.
#[derive(Debug)]
pub enum Position {
    /// cos and sin of each position, `[positions, head_dim / 2]` each, in f32.
    Rope {
        /// Cosines.
        cos: Memory,
        /// Sines.
        sin: Memory,
        /// Rows of the tables.
        positions: usize,
    },
    /// The slope of each head, in f32, times log₂ e.
    Alibi {
        /// `[heads]`
        slopes: Memory,
    },
}

/// The attention of a model.
#[derive(Debug)]
pub struct Attention {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How positions enter.
    pub position: Position,
}

impl Attention {
    fn hidden(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The name in the names of kernels.
    fn position_name(&self) -> &'static str {
        match self.position {
            Position::Rope { .. } => "rope",
            Position::Alibi { .. } => "alibi",
        }
    }

    fn slopes(&self, gpu: &Gpu) -> Address {
        match &self.position {
            Position::Rope { .. } => Address::NULL,
            Position::Alibi { slopes } => gpu.address(slopes),
        }
    }

    /// The tables of cos and sin.
    fn tables(&self, gpu: &Gpu) -> [Address; 2] {
        match &self.position {
            Position::Rope { cos, sin, .. } => [cos, sin].map(|table| gpu.address(table)),
            Position::Alibi { .. } => [Address::NULL; 2],
        }
    }

    /// The factor of scores, with log₂ e because the softmax uses powers of two.
    fn scale(&self) -> f32 {
        LOG2_E / (self.head_dim as f32).sqrt()
    }
}

/// The kernels of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttentionKernel {
    /// Bulk copies and wgmma, for heads of 64 on Hopper.
    Hopper,
    /// mma.sync, for heads of 32 and 64 from compute capability 8.0 on.
    Mma,
    /// Plain loops in f32, for any head.
    Plain,
}

/// From this length on, Hopper's kernel is the faster one.
const HOPPER_FROM: usize = 512;

impl AttentionKernel {
    /// Every kernel, in the order in which they are started.
    pub(super) const ALL: [Self; 3] = [Self::Hopper, Self::Mma, Self::Plain];

    /// The kernel for a sequence of `len` tokens. With the same model and card it depends on the
    /// length alone, so that the bits of a sequence do not depend on the rest of the batch.
    pub(super) fn choose(code: Code, dtype: DType, head_dim: usize, len: usize) -> Self {
        let tensor_cores = dtype != DType::F32;
        if code.has_hopper() && tensor_cores && head_dim == HOPPER_DIM && len >= HOPPER_FROM {
            Self::Hopper
        } else if code.has_mma() && tensor_cores && matches!(head_dim, 32 | 64) {
            Self::Mma
        } else {
            Self::Plain
        }
    }

    /// Whether it rotates q and k by itself.
    pub(super) fn rotates(self) -> bool {
        self == Self::Mma
    }

    /// Queries of a tile.
    pub(super) fn queries(self) -> usize {
        match self {
            Self::Hopper => HOPPER_QUERIES,
            Self::Mma => MMA_QUERIES,
            Self::Plain => PLAIN_QUERIES,
        }
    }

    fn name(self, attention: &Attention) -> String {
        let (position, dim) = (attention.position_name(), attention.head_dim);
        match self {
            Self::Hopper => format!("attend_hopper_{position}"),
            Self::Mma => format!("attend_mma_{position}_{dim}"),
            Self::Plain => "attend_plain".to_owned(),
        }
    }

    fn threads(self) -> usize {
        match self {
            Self::Hopper => HOPPER_THREADS,
            Self::Mma => WARP * MMA_WARPS,
            Self::Plain => WARP * PLAIN_WARPS,
        }
    }

    /// Bytes of shared memory of a block, for heads of `dim`.
    fn shared_bytes(self, dim: usize) -> usize {
        match self {
            // 1024 to align the start to as many bytes, and 128 for the barriers.
            Self::Hopper => {
                let rows = self.queries() + 2 * HOPPER_STAGES * HOPPER_KEYS;
                1024 + 2 * rows * dim + 128
            }
            Self::Mma => 2 * (MMA_QUERIES + 2 * MMA_STAGES * MMA_KEYS) * (dim + MMA_PADDING),
            Self::Plain => 4 * (self.queries() + 2 * PLAIN_KEYS) * (dim + 1),
        }
    }
}

arguments! {
    PlainArguments {
        qkv: Address,
        tiles: Address,
        slopes: Address,
        scale: f32,
        hidden: i32,
        dim: i32,
        ld_in: i32,
        ld_out: i32,
        out: Address,
    }
}

arguments! {
    MmaArguments {
        qkv: Address,
        tiles: Address,
        slopes: Address,
        cos: Address,
        sin: Address,
        scale: f32,
        hidden: i32,
        ld_in: i32,
        ld_out: i32,
        out: Address,
    }
}

arguments! {
    HopperArguments {
        map: TensorMap,
        tiles: Address,
        slopes: Address,
        scale: f32,
        hidden: i32,
        ld_out: i32,
        out: Address,
    }
}

impl Gpu {
    /// Attention inside each sequence: `[tokens, 3 · hidden]` → `[tokens, hidden]`. q and k of a
    /// rotary model are rotated in place.
    ///
    /// # Errors
    ///
    /// If the card fails.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or a sequence is longer than the table of positions.
    pub fn attend(
        &self,
        qkv: &States,
        batch: &PackedBatch,
        attention: &Attention,
        out: &mut States,
    ) -> Result<()> {
        let hidden = attention.hidden();
        assert_eq!((qkv.rows, qkv.width), (batch.rows(), 3 * hidden), "the projections' shape");
        assert_eq!((out.rows, out.width), (batch.rows(), hidden), "the contexts' shape");
        assert_eq!(batch.head_dim, attention.head_dim, "the head that the batch was packed for");
        if let Position::Alibi { slopes } = &attention.position {
            assert!(slopes.len() >= 4 * attention.heads, "a slope for each head");
        }
        self.rotate(qkv, batch, attention)?;
        for (kernel, range) in batch.tiles() {
            let tiles = batch.tiles_in(self, range);
            // SAFETY: the shapes were checked above; the tiles of a batch are inside its rows, and
            // `rotate` has checked the tables.
            unsafe { self.attend_tiles(kernel, qkv, tiles, attention, out) }?;
        }
        Ok(())
    }

    /// Attention inside the sequences that `tiles` belong to.
    ///
    /// # Safety
    ///
    /// The shapes must be those that [`Gpu::attend`] checks, and the tiles those of `kernel` in a
    /// batch with as many rows.
    unsafe fn attend_tiles(
        &self,
        kernel: AttentionKernel,
        qkv: &States,
        tiles: Tiles,
        attention: &Attention,
        out: &States,
    ) -> Result<()> {
        let dim = attention.head_dim;
        let launch = Launch {
            kernel: &kernel.name(attention),
            blocks: [tiles.count, attention.heads],
            threads: kernel.threads(),
            shared_bytes: kernel.shared_bytes(dim),
        };
        let tiles = tiles.address;
        let (slopes, scale) = (attention.slopes(self), attention.scale());
        let [hidden, dim, ld_in, ld_out] =
            [attention.hidden(), dim, qkv.ld, out.ld].map(|size| size as i32);
        let (qkv_address, out) = (self.address(qkv.memory()), self.address(out.memory()));
        match kernel {
            AttentionKernel::Hopper => {
                let map = self.tensor_map(qkv)?;
                let arguments = HopperArguments { map, tiles, slopes, scale, hidden, ld_out, out };
                // SAFETY: the caller's promise; the map covers all of `qkv`.
                unsafe { self.launch(launch, &arguments) }
            }
            AttentionKernel::Mma => {
                let (qkv, [cos, sin]) = (qkv_address, attention.tables(self));
                let arguments = MmaArguments {
                    qkv,
                    tiles,
                    slopes,
                    cos,
                    sin,
                    scale,
                    hidden,
                    ld_in,
                    ld_out,
                    out,
                };
                // SAFETY: the caller's promise.
                unsafe { self.launch(launch, &arguments) }
            }
            AttentionKernel::Plain => {
                let qkv = qkv_address;
                let arguments =
                    PlainArguments { qkv, tiles, slopes, scale, hidden, dim, ld_in, ld_out, out };
                // SAFETY: the caller's promise.
                unsafe { self.launch(launch, &arguments) }
            }
        }
    }

    /// `x` as the bulk copy engine sees it: boxes of 64 rows and 64 columns, swizzled.
    fn tensor_map(&self, x: &States) -> Result<TensorMap> {
        let kind = match self.dtype {
            DType::F16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            _ => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        };
        let dims = [x.width as u64, x.rows as u64];
        let strides = [(x.ld * self.dtype.len_bytes()) as u64];
        let (boxes, steps) = ([HOPPER_DIM as u32, BOX_ROWS as u32], [1_u32; 2]);
        let mut map = TensorMap(sys::CUtensorMap { opaque: [0; 16] });
        let address = self.address(x.memory()).0 as *mut std::ffi::c_void;
        // SAFETY: the arrays have an entry for each of the two dimensions, the map is alive, and
        // the tensor is in the states' memory.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map.0,
                kind,
                2,
                address,
                dims.as_ptr(),
                strides.as_ptr(),
                boxes.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        result.result().map_err(Error::driver("describing states"))?;
        Ok(map)
    }
}

/// A description of a tensor, passed by value.
pub(super) struct TensorMap(sys::CUtensorMap);

// SAFETY: it is plain bytes, created by the driver for kernels.
unsafe impl DeviceRepr for TensorMap {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_what_the_kernels_lay_out() {
        let bytes = |kernel: AttentionKernel, dim| kernel.shared_bytes(dim);
        assert_eq!(bytes(AttentionKernel::Plain, 256), 3 * 32 * 257 * 4);
        assert_eq!(bytes(AttentionKernel::Mma, 64), (128 + 4 * 64) * 72 * 2);
        assert_eq!(
            bytes(AttentionKernel::Hopper, 64),
            1024 + 192 * 64 * 2 + 4 * 128 * 64 * 2 + 128
        );
        let threads = AttentionKernel::ALL.map(AttentionKernel::threads);
        assert_eq!(threads, [512, 128, 256]);
    }
}
