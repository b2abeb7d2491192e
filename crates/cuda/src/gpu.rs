//! An opened card: its kernels, its stream of operations.

use crate::Number;
use crate::blas::Blas;
use crate::card::{Card, card};
use crate::error::{Error, Result};
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The kernels as they were compiled: for a generation of cards, or in portable form, which the driver
/// compiles for the card at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Portable, without tensor cores: capability 7.0 and later.
    Portable70,
    /// Portable: capability 8.0 and later.
    Portable80,
    /// Capability 8.0.
    Sm80,
    /// Capability 8.6.
    Sm86,
    /// Capability 8.9.
    Sm89,
    /// Capability 9.0 alone.
    Sm90a,
}

impl Code {
    /// What a card of this capability runs, the best first.
    pub fn of(capability: (u32, u32)) -> Vec<Self> {
        let ahead = match capability {
            (8, 0) => Some(Self::Sm80),
            (8, 6 | 7) => Some(Self::Sm86),
            (8, 9) => Some(Self::Sm89),
            (9, 0) => Some(Self::Sm90a),
            _ => None,
        };
        let portable = [(8, Self::Portable80), (7, Self::Portable70)];
        let portable = portable.into_iter().filter(|(major, _)| capability.0 >= *major);
        ahead.into_iter().chain(portable.map(|(_, code)| code)).collect()
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

    /// Whether the tensor cores are used by attention.
    pub(crate) fn has_mma(self) -> bool {
        self != Self::Portable70
    }

    /// Whether it has the kernels of Hopper.
    pub(crate) fn has_hopper(self) -> bool {
        self == Self::Sm90a
    }
}

/// A card that runs operations in the order in which they are asked for, without waiting for them.
pub struct Gpu {
    pub(crate) card: Card,
    pub(crate) number: Number,
    pub(crate) code: Code,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) blas: Blas,
    module: Arc<CudaModule>,
    functions: Mutex<HashMap<(String, usize), Arc<CudaFunction>>>,
}

impl Gpu {
    /// Takes card `ordinal`, with states and weights in `number`, and the best code for it.
    ///
    /// # Errors
    ///
    /// If the card is not there, or cannot be used.
    pub fn open(ordinal: usize, number: Number) -> Result<Self> {
        let card = card(ordinal)?;
        let code = Code::of(card.capability)[0];
        Self::with_code(card, number, code)
    }

    /// As [`Gpu::open`], with code that need not be the best.
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`].
    pub fn with_code(card: Card, number: Number, code: Code) -> Result<Self> {
        if number == Number::Bf16 && !code.has_mma() {
            return Err(Error::Number { name: card.name, number: number.name() });
        }
        let error = Error::driver("opening the card");
        let context = CudaContext::new(card.ordinal).map_err(&error)?;
        // SAFETY: everything runs on one stream, in order; there is nothing to track.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(&error)?;
        let module =
            context.load_module(code.module()).map_err(Error::driver("loading kernels"))?;
        let blas = Blas::new(&stream)?;
        Ok(Self { card, number, code, stream, blas, module, functions: Mutex::default() })
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// How states and weights lie.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Kernel `operation` for the card's numbers, allowed `shared` bytes of shared memory.
    pub(crate) fn kernel(&self, operation: &str, shared: usize) -> Result<Arc<CudaFunction>> {
        let name = format!("{operation}_{}", self.number.name());
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, shared);
        if let Some(function) = functions.get(&key) {
            return Ok(Arc::clone(function));
        }
        let error = Error::driver("finding a kernel");
        let function = self.module.load_function(&key.0).map_err(&error)?;
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if shared > 48 * 1024 {
            function.set_attribute(attribute, shared as i32).map_err(&error)?;
        }
        let function = Arc::new(function);
        functions.insert(key, Arc::clone(&function));
        Ok(function)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {}, {:?})", self.card.name, self.number.name(), self.code)
    }
}
