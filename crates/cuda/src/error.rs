//! The errors of this crate.

use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use thiserror::Error;

/// Why a card cannot be used, or an operation on one failed.
///
/// Errors of the driver and of cuBLASLt are kept by name, not as sources: their own messages call
/// functions that old drivers lack.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver's library is missing.
    #[error("no NVIDIA driver is installed (libcuda was not found)")]
    NoDriver,
    /// The driver is older than what the kernels were compiled for.
    #[error("the NVIDIA driver supports CUDA {found}; 12.0 or later is needed: update the driver")]
    OldDriver {
        /// The version that the driver supports.
        found: String,
    },
    /// The driver lacks a function that is called.
    #[error("the NVIDIA driver (CUDA {driver}) lacks {name}: update the driver")]
    Function {
        /// The function.
        name: &'static str,
        /// The version that the driver supports.
        driver: String,
    },
    /// cuBLASLt is missing.
    #[error(
        "cuBLASLt 12 or 13 was not found: install the CUDA toolkit's libraries, or the Python package \
         nvidia-cublas, and add their folder to LD_LIBRARY_PATH"
    )]
    NoBlas,
    /// No card has this index.
    #[error("no card {ordinal}; this machine has {count} {}", if *count == 1 { "card" } else { "cards" })]
    NoCard {
        /// The requested index, from 0.
        ordinal: usize,
        /// Number of cards.
        count: usize,
    },
    /// The card is too old.
    #[error("{name} has compute capability {}.{}; 7.0 or later is needed", capability.0, capability.1)]
    OldCard {
        /// The card.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// The card's tensor cores do not multiply this dtype.
    #[error("{name} has no tensor cores for {dtype}: use f16")]
    DType {
        /// The card.
        name: String,
        /// The requested dtype.
        dtype: &'static str,
    },
    /// The kernels do not support a size of the model.
    #[error("{what} is {found}; on a card it must be {needed}: run this model on the CPU")]
    Shape {
        /// The size.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The values that are supported.
        needed: &'static str,
    },
    /// The card's memory is full.
    #[error("the card is out of memory: it cannot allocate {bytes} more bytes")]
    Memory {
        /// The size of the allocation.
        bytes: usize,
    },
    /// Another error of the driver.
    #[error("{action} failed: the NVIDIA driver reports {code}")]
    Driver {
        /// The action.
        action: &'static str,
        /// The driver's name for the error.
        code: String,
    },
    /// cuBLASLt has no algorithm for a product.
    #[error("cuBLASLt has no algorithm for a matrix product")]
    NoAlgorithm,
    /// Another error of cuBLASLt.
    #[error("a matrix product failed: cuBLASLt reports {code}")]
    Blas {
        /// The library's name for the error.
        code: String,
    },
}

/// The result of an operation on a card.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn driver(action: &'static str) -> impl Fn(DriverError) -> Self {
        move |error| Self::Driver { action, code: format!("{:?}", error.0) }
    }

    /// For an allocation of `bytes`.
    pub(crate) fn allocation(bytes: usize) -> impl Fn(DriverError) -> Self {
        move |error| match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::Memory { bytes },
            code => Self::Driver { action: "allocating memory", code: format!("{code:?}") },
        }
    }
}

impl From<CublasError> for Error {
    fn from(error: CublasError) -> Self {
        Self::Blas { code: format!("{:?}", error.0) }
    }
}
