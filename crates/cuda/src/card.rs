//! The cards of this machine.

use crate::Number;
use crate::error::{Error, Result};
use crate::gpu::Code;
use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUevent, CUresult};
use cudarc::driver::{CudaEvent, DriverError, result, sys};
use std::sync::OnceLock;

/// The oldest driver whose loader reads the compiled kernels, as the driver counts: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The functions of the driver that are called. One that is not there would end the program, so that they
/// are looked for first; CUDA 12.0 has them all. The stand-in for a card (`testkit/card`) has no others,
/// which keeps this list whole.
const FUNCTIONS: [&str; 33] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFree_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuTensorMapEncodeTiled",
];

/// A card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its number on this machine.
    pub ordinal: usize,
    /// What its vendor calls it.
    pub name: String,
    /// Its compute capability.
    pub capability: (u32, u32),
    /// Its memory in bytes.
    pub memory: u64,
    /// The CUDA version that the driver supports.
    pub driver: String,
}

impl Card {
    /// Whether its generation can be used.
    ///
    /// # Errors
    ///
    /// [`Error::OldCard`] if not.
    pub fn check(&self) -> Result<()> {
        let Self { name, capability, .. } = self;
        if Code::of(*capability).is_empty() {
            return Err(Error::OldCard { name: name.clone(), capability: *capability });
        }
        Ok(())
    }
}

/// The machine's cards, looked for once: opening the libraries takes time. Not each must be new enough:
/// [`Card::check`] tells.
///
/// # Errors
///
/// If there is no driver, an old one, no cuBLASLt, or no card.
pub fn cards() -> Result<Vec<Card>> {
    static CARDS: OnceLock<Result<Vec<Card>>> = OnceLock::new();
    CARDS.get_or_init(find).clone()
}

/// Card `ordinal`, which can be used.
///
/// # Errors
///
/// As [`cards`], or if there is no such card, or [`Card::check`] refuses it.
pub fn card(ordinal: usize) -> Result<Card> {
    let cards = cards()?;
    let count = cards.len();
    let card = cards.into_iter().nth(ordinal).ok_or(Error::NoCard { ordinal, count })?;
    card.check()?;
    Ok(card)
}

/// The first card that can be used.
///
/// # Errors
///
/// As [`cards`], or if none can be: why the first cannot.
pub fn first_card() -> Result<Card> {
    let usable = cards()?.into_iter().find(|card| card.check().is_ok());
    usable.map_or_else(|| card(0), Ok)
}

fn find() -> Result<Vec<Card>> {
    let version = driver_version()?;
    let driver = format!("{}.{}", version / 1000, version % 1000 / 10);
    if version < OLDEST_DRIVER {
        return Err(Error::OldDriver { found: driver });
    }
    if let Some(name) = FUNCTIONS.iter().find(|name| !has_function(name)) {
        return Err(Error::Function { name, driver });
    }
    result::init().map_err(|error| match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => Error::NoCard { ordinal: 0, count: 0 },
        _ => Error::driver("starting the driver")(error),
    })?;
    let count = result::device::get_count().map_err(Error::driver("counting cards"))?;
    if count == 0 {
        return Err(Error::NoCard { ordinal: 0, count: 0 });
    }
    // SAFETY: the library's initialisers run; it is one that CUDA programs load.
    if !unsafe { cudarc::cublaslt::sys::is_culib_present() } {
        return Err(Error::NoBlas);
    }
    (0..count).map(|ordinal| describe(ordinal, &driver)).collect()
}

/// What the tensor cores of a card multiply and is safe from overflow where there is a choice: bf16 from
/// capability 8.0 on, f16 before.
///
/// # Errors
///
/// As [`card`].
pub fn best_number(ordinal: usize) -> Result<Number> {
    Ok(if card(ordinal)?.capability.0 >= 8 { Number::Bf16 } else { Number::F16 })
}

/// As the driver counts: 1000 · major + 10 · minor.
fn driver_version() -> Result<i32> {
    // SAFETY: the library's initialisers run; it is one that CUDA programs load.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the pointer is to a live integer.
    let got = unsafe { sys::cuDriverGetVersion(&mut version) };
    got.result().map_err(Error::driver("asking for the driver's version"))?;
    Ok(version)
}

fn has_function(name: &str) -> bool {
    // SAFETY: the library was found before.
    let library = unsafe { sys::culib() };
    // SAFETY: the address is not used, so that its type does not matter.
    unsafe { library.get::<*const ()>(name.as_bytes()) }.is_ok()
}

/// Milliseconds from one event to another. cudarc's own calls a function that drivers have from CUDA 12.8
/// on; this one they all have.
pub(crate) fn elapsed_ms(start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
    type ElapsedTime = unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult;
    let error = Error::driver("timing");
    end.synchronize().map_err(&error)?;
    // SAFETY: there are events, so that the library was found.
    let library = unsafe { sys::culib() };
    // SAFETY: the driver's function of this name has this type.
    let function = unsafe { library.get::<ElapsedTime>(b"cuEventElapsedTime") };
    let missing = |_| error(DriverError(CUresult::CUDA_ERROR_NOT_FOUND));
    let function = function.map_err(missing)?;
    let mut ms = 0.0;
    // SAFETY: the pointer is to a live number, and the events are alive.
    let got = unsafe { function(&mut ms, start.cu_event(), end.cu_event()) };
    got.result().map_err(error)?;
    Ok(ms)
}

fn describe(ordinal: i32, driver: &str) -> Result<Card> {
    let error = Error::driver("asking for a card's properties");
    let device = result::device::get(ordinal).map_err(&error)?;
    // SAFETY: `device` was given by the driver.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    // SAFETY: `device` was given by the driver.
    let memory = unsafe { result::device::total_mem(device) }.map_err(&error)?;
    Ok(Card {
        ordinal: ordinal as usize,
        name: result::device::get_name(device).map_err(&error)?,
        capability: (major.map_err(&error)? as u32, minor.map_err(&error)? as u32),
        memory: memory as u64,
        driver: driver.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that is called and is not in the stand-in ends the tests that run on it, so that the two
    /// together hold what is called.
    #[test]
    fn the_functions_that_are_looked_for_are_those_of_the_stand_in() {
        let source = include_str!("../../testkit/card/driver.cpp");
        let defined = source.lines().filter_map(|line| line.strip_prefix("int cu"));
        let mut names: Vec<String> = defined
            .map(|rest| format!("cu{}", rest.split('(').next().unwrap_or_default()))
            .collect();
        names.sort_unstable();
        assert_eq!(names, FUNCTIONS);
    }
}
