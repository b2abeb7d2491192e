//! An open card: its kernels and its stream of operations.

use crate::DType;
use crate::blas::Blas;
use crate::card::{Card, card};
use crate::error::{Error, Result};
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A compiled form of the kernels: for one generation of cards, or portable, which the driver
/// compiles for the card at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Portable, without tensor cores: compute capability 7.0 and later.
    Portable70,
    /// Portable: compute capability 8.0 and later.
    Portable80,
    /// Compute capability 8.0.
    Sm80,
    /// Compute capability 8.6.
    Sm86,
    /// Compute capability 8.9.
    Sm89,
    /// Compute capability 9.0 alone.
    Sm90a,
}

impl Code {
    /// The forms that a card of this compute capability runs, the best first.
    pub fn of(capability: (u32, u32)) -> Vec<Self> {
        let native = match capability {
            (8, 0) => Some(Self::Sm80),
            (8, 6 | 7) => Some(Self::Sm86),
            (8, 9) => Some(Self::Sm89),
            (9, 0) => Some(Self::Sm90a),
            _ => None,
        };
        let portable = [(8, Self::Portable80), (7, Self::Portable70)];
        let portable = portable.into_iter().filter(|(major, _)| capability.0 >= *major);
        native.into_iter().chain(portable.map(|(_, code)| code)).collect()
    }

    fn module(self) -> Ptx {
        macro_rules! compiled {
            ($file:literal) => {
                include_bytes!(concat!("../kernels/compiled/", $file)).to_vec()
            };
        }
        Ptx::from_binary(match self {
            Self::Portable70 => compiled!("compute_70.ptx"),
            Self::Portable80 => compiled!("compute_80.ptx"),
            Self::Sm80 => compiled!("sm_80.cubin"),
            Self::Sm86 => compiled!("sm_86.cubin"),
            Self::Sm89 => compiled!("sm_89.cubin"),
            Self::Sm90a => compiled!("sm_90a.cubin"),
        })
    }

    /// Whether it has the attention kernel for tensor cores.
    pub(crate) fn has_mma(self) -> bool {
        self != Self::Portable70
    }

    /// Whether it has the attention kernel for Hopper.
    pub(crate) fn has_hopper(self) -> bool {
        self == Self::Sm90a
    }
}

/// A card that runs operations in the order of the calls. The calls do not wait for them.
pub struct Gpu {
    pub(crate) card: Card,
    pub(crate) dtype: DType,
    pub(crate) code: Code,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) blas: Blas,
    module: Arc<CudaModule>,
    /// Kernels by their name and dynamic shared memory.
    functions: Mutex<HashMap<(String, usize), Arc<CudaFunction>>>,
}

/// Dynamic shared memory that every kernel may use; more needs an attribute.
const DEFAULT_SHARED_BYTES: usize = 48 * 1024;

impl Gpu {
    /// Opens card `ordinal`, with states and weights of `dtype`, and the best code for it.
    ///
    /// # Errors
    ///
    /// If there is no such card, or it cannot be used.
    pub fn open(ordinal: usize, dtype: DType) -> Result<Self> {
        let card = card(ordinal)?;
        let code = Code::of(card.capability)[0];
        Self::with_code(card, dtype, code)
    }

    /// As [`Gpu::open`], with code that need not be the best.
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`].
    pub fn with_code(card: Card, dtype: DType, code: Code) -> Result<Self> {
        if dtype == DType::Bf16 && !code.has_mma() {
            return Err(Error::DType { name: card.name, dtype: dtype.name() });
        }
        let error = Error::driver("opening the card");
        let context = CudaContext::new(card.ordinal).map_err(&error)?;
        // SAFETY: everything runs on one stream, in order, so that nothing has to be tracked.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(&error)?;
        let module =
            context.load_module(code.module()).map_err(Error::driver("loading kernels"))?;
        let blas = Blas::new(&stream)?;
        Ok(Self { card, dtype, code, stream, blas, module, functions: Mutex::default() })
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The type of the elements of states and weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Kernel `operation` for the card's dtype, allowed `shared_bytes` of dynamic shared memory.
    pub(crate) fn kernel(&self, operation: &str, shared_bytes: usize) -> Result<Arc<CudaFunction>> {
        let name = format!("{operation}_{}", self.dtype.name());
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, shared_bytes);
        if let Some(function) = functions.get(&key) {
            return Ok(Arc::clone(function));
        }
        let error = Error::driver("finding a kernel");
        let function = self.module.load_function(&key.0).map_err(&error)?;
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if shared_bytes > DEFAULT_SHARED_BYTES {
            function.set_attribute(attribute, shared_bytes as i32).map_err(&error)?;
        }
        let function = Arc::new(function);
        functions.insert(key, Arc::clone(&function));
        Ok(function)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {}, {:?})", self.card.name, self.dtype.name(), self.code)
    }
}
