//! Matrix products by cuBLASLt. The library takes matrices as stored by columns, so each of our
//! rows is one of its columns, and a product is Wᵀ times x.

mod algorithms;
mod descriptors;

pub(crate) use algorithms::Algorithms;
pub(crate) use descriptors::{Layouts, Product, ProductShape};

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::launch::Address;
use algorithms::MatmulAlgo;
use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::from_ref;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the card's memory that the library may use, as it recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// The library and its workspace.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    /// The algorithms chosen so far.
    chosen: Mutex<HashMap<ProductShape, Algorithms>>,
}

// SAFETY: the library allows use of a handle by any thread; the workspace is used in stream order.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

impl Blas {
    pub(crate) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        let workspace = stream.alloc_zeros(WORKSPACE).map_err(Error::allocation(WORKSPACE))?;
        Ok(Self { handle: result::create_handle()?, workspace, chosen: Mutex::default() })
    }

    /// The algorithms of a shape, chosen once.
    pub(crate) fn algorithms(&self, gpu: &Gpu, shape: ProductShape) -> Result<Algorithms> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(algorithms) = chosen.get(&shape) {
            return Ok(*algorithms);
        }
        let algorithms = Algorithms::choose(gpu, shape)?;
        chosen.insert(shape, algorithms);
        Ok(algorithms)
    }

    /// Starts one product, `out = x Wᵀ + bias`, with the matrices at these addresses.
    ///
    /// # Safety
    ///
    /// The matrices must have the shapes of `layouts`, and stay allocated until the stream has
    /// passed the product, as must the bias of `product`.
    pub(crate) unsafe fn run(
        &self,
        stream: &CudaStream,
        product: &Product,
        layouts: &Layouts,
        [w, x, out]: [Address; 3],
        algorithm: &MatmulAlgo,
    ) -> Result<()> {
        let (one, zero) = (1.0_f32, 0.0_f32);
        let workspace = self.workspace.device_ptr(stream).0;
        // SAFETY: descriptors and layouts are alive; the matrices are as the caller promises;
        // scalars are f32 as the descriptor says, and read at once.
        let done = unsafe {
            result::matmul(
                self.handle,
                product.0,
                from_ref(&one).cast(),
                from_ref(&zero).cast(),
                w.0 as *const c_void,
                layouts.w.0,
                x.0 as *const c_void,
                layouts.x.0,
                out.0 as *const c_void,
                layouts.out.0,
                out.0 as *mut c_void,
                layouts.out.0,
                algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        };
        Ok(done?)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle was created with this value, and nothing else destroys it.
        unsafe { result::destroy_handle(self.handle) }.ok();
    }
}
