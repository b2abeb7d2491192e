//! What can go wrong with a card.

use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use thiserror::Error;

/// Why an operation on a card, or the card itself, is not to be had.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no driver library.
    #[error("no NVIDIA driver is installed (libcuda is not found)")]
    NoDriver,
    /// The driver is older than what the kernels were compiled for.
    #[error("the NVIDIA driver supports CUDA {found}, and 12.0 is needed: update the driver")]
    OldDriver {
        /// What the driver supports.
        found: String,
    },
    /// The driver has not all that is called.
    #[error("the NVIDIA driver (CUDA {driver}) has no {name}: update the driver")]
    Function {
        /// A function of the driver.
        name: &'static str,
        /// What the driver supports.
        driver: String,
    },
    /// There is no cuBLASLt.
    #[error(
        "cuBLASLt 12 or 13 is not found: install the CUDA toolkit's libraries, or the Python package \
         nvidia-cublas, and put their folder into LD_LIBRARY_PATH"
    )]
    NoBlas,
    /// There is no such card.
    #[error("there is no card {ordinal}: this machine has {count}")]
    NoCard {
        /// What was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The card is too old.
    #[error("{name} has compute capability {}.{}, and 7.0 is needed", capability.0, capability.1)]
    OldCard {
        /// Of the card.
        name: String,
        /// Of the card.
        capability: (u32, u32),
    },
    /// The card's tensor cores do not multiply such numbers.
    #[error("{name} has no tensor cores for {number}: use f16")]
    Number {
        /// Of the card.
        name: String,
        /// What was asked for.
        number: &'static str,
    },
    /// A model that the kernels are not made for.
    #[error("{what} is {found}, and on a card it must be {needed}: run this model on the CPU")]
    Shape {
        /// A size of the model.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What it may be.
        needed: &'static str,
    },
    /// The card's memory is full.
    #[error("the card has no {bytes} bytes of memory left")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The driver refused something else.
    #[error("{doing}: the NVIDIA driver says {code}")]
    Driver {
        /// What was being done.
        doing: &'static str,
        /// The driver's name of the error.
        code: String,
    },
    /// cuBLASLt refused something.
    #[error("a matrix product: cuBLASLt says {code}")]
    Blas {
        /// The library's name of the error.
        code: String,
    },
}

/// The result of an operation on a card.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn driver(doing: &'static str) -> impl Fn(DriverError) -> Self {
        move |error| Self::Driver { doing, code: format!("{:?}", error.0) }
    }

    /// For an allocation of `bytes`.
    pub(crate) fn allocation(bytes: usize) -> impl Fn(DriverError) -> Self {
        move |error| match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::Memory { bytes },
            code => Self::Driver { doing: "taking memory", code: format!("{code:?}") },
        }
    }
}

impl From<CublasError> for Error {
    fn from(error: CublasError) -> Self {
        Self::Blas { code: format!("{:?}", error.0) }
    }
}
