//! The library's descriptors of products and matrices.

use super::algorithms::MatmulAlgo;
use super::{Blas, WORKSPACE};
use crate::DType;
use crate::error::Result;
use crate::launch::Address;
use cudarc::cublaslt::{result, sys};
use std::mem::MaybeUninit;
use std::ptr::from_ref;

/// Number of algorithms to request from the library.
const CANDIDATES: usize = 8;
/// CUBLAS_OP_T, an enum of cuBLAS.
const TRANSPOSED: i32 = 1;

/// The shape of a product with any number of rows, for which algorithms are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProductShape {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize, // tails included
    pub(crate) has_bias: bool,
}

/// A product with W transposed and f32 sums, with or without a bias.
pub(crate) struct Product(pub(super) sys::cublasLtMatmulDesc_t);

// SAFETY: a descriptor is plain memory of the library that nothing changes after its creation.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    pub(crate) fn new(bias: Option<Address>) -> Result<Self> {
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let product = Self(result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?);
        let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        product.set(attribute, &TRANSPOSED)?;
        if let Some(Address(bias)) = bias {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE;
            product.set(attribute, &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS)?;
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            product.set(attribute, &bias)?;
        }
        Ok(product)
    }

    fn set<T>(&self, attribute: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Result<()> {
        // SAFETY: the descriptor is alive, and the value of the size that the attribute has.
        let set = unsafe {
            let value: *const T = value;
            result::set_matmul_desc_attribute(self.0, attribute, value.cast(), size_of::<T>())
        };
        Ok(set?)
    }

    /// The library's choices for these layouts, the best first.
    pub(super) fn candidates(&self, blas: &Blas, layouts: &Layouts) -> Result<Vec<MatmulAlgo>> {
        let preference = Preference::new()?;
        let Layouts { w, x, out } = layouts;
        let mut suggestions =
            [MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit(); CANDIDATES];
        let mut count = 0;
        // SAFETY: all of them are alive, and there is room for as many results as are requested.
        let status = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                blas.handle,
                self.0,
                w.0,
                x.0,
                out.0,
                out.0,
                preference.0,
                CANDIDATES as i32,
                suggestions.as_mut_ptr().cast(),
                &mut count,
            )
        };
        status.result()?;
        // SAFETY: the library has written the first `count`.
        let suggestions =
            suggestions.iter().take(count as usize).map(|one| unsafe { one.assume_init() });
        let usable = suggestions.filter(|suggestion| suggestion.state.result().is_ok());
        Ok(usable.map(|suggestion| suggestion.algo).collect())
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed here alone.
        unsafe { result::destroy_matmul_desc(self.0) }.ok();
    }
}

/// What algorithms may use: a limit for the workspace.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new() -> Result<Self> {
        let preference = Self(result::create_matmul_pref()?);
        let attribute =
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let bytes = from_ref(&WORKSPACE).cast();
        // SAFETY: the preference is alive, and the attribute a size.
        unsafe {
            result::set_matmul_pref_attribute(preference.0, attribute, bytes, size_of::<usize>())
        }?;
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed here alone.
        unsafe { result::destroy_matmul_pref(self.0) }.ok();
    }
}

/// The layout of one matrix.
pub(super) struct Layout(pub(super) sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(dtype: DType, rows: usize, columns: u64, ld: usize) -> Result<Self> {
        let kind = match dtype {
            DType::F32 => sys::cudaDataType::CUDA_R_32F,
            DType::F16 => sys::cudaDataType::CUDA_R_16F,
            DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        };
        Ok(Self(result::create_matrix_layout(kind, rows as u64, columns, ld as i64)?))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed here alone.
        unsafe { result::destroy_matrix_layout(self.0) }.ok();
    }
}

/// W, x and the product, each row one of the library's columns.
pub(crate) struct Layouts {
    pub(super) w: Layout,
    pub(super) x: Layout,
    pub(super) out: Layout,
}

impl Layouts {
    pub(crate) fn new(
        dtype: DType,
        ProductShape { outputs, inputs, .. }: ProductShape,
        rows: u64,
        [ld_x, ld_out]: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            w: Layout::new(dtype, inputs, outputs as u64, inputs)?,
            x: Layout::new(dtype, inputs, rows, ld_x)?,
            out: Layout::new(dtype, outputs, rows, ld_out)?,
        })
    }
}
