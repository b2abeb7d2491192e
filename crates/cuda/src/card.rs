//! The cards of this machine.

use crate::DType;
use crate::error::{Error, Result};
use crate::gpu::Code;
use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUevent, CUresult};
use cudarc::driver::{CudaEvent, DriverError, result, sys};
use std::sync::OnceLock;

/// The oldest driver whose loader reads the compiled kernels, in the driver's notation: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The functions of the driver that are called. Calling a missing one would end the program, so all
/// are looked up first; CUDA 12.0 has them all. The stand-in for a card (`testkit/card`) has no
/// others, which keeps this list complete.
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
    /// Its index on this machine, from 0.
    pub ordinal: usize,
    /// The vendor's name for it.
    pub name: String,
    /// Its compute capability, major and minor.
    pub capability: (u32, u32),
    /// Its memory in bytes.
    pub memory: u64,
    /// The CUDA version that the driver supports.
    pub driver: String,
}

impl Card {
    /// Checks that its generation is supported.
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

/// The machine's cards, looked up once: opening the libraries takes time. Some may be too old to
/// use; see [`Card::check`].
///
/// # Errors
///
/// If there is no driver, the driver is too old, or there is no cuBLASLt or no card.
pub fn cards() -> Result<Vec<Card>> {
    static CARDS: OnceLock<Result<Vec<Card>>> = OnceLock::new();
    CARDS.get_or_init(find).clone()
}

/// Card `ordinal`, if it can be used.
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
/// As [`cards`]; if no card can be used, the error of the first one.
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

/// The dtype that the card's tensor cores multiply: bf16, which cannot overflow here, from compute
/// capability 8.0 on, f16 before.
///
/// # Errors
///
/// As [`card`].
pub fn best_dtype(ordinal: usize) -> Result<DType> {
    Ok(if card(ordinal)?.capability.0 >= 8 { DType::Bf16 } else { DType::F16 })
}

/// The CUDA version that the driver supports, as 1000 · major + 10 · minor.
fn driver_version() -> Result<i32> {
    // SAFETY: the library's initialisers run; it is one that CUDA programs load.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the pointer is to a live integer.
    let got = unsafe { sys::cuDriverGetVersion(&mut version) };
    got.result().map_err(Error::driver("reading the driver's version"))?;
    Ok(version)
}

fn has_function(name: &str) -> bool {
    // SAFETY: the library was found before.
    let library = unsafe { sys::culib() };
    // SAFETY: the address is not used, so its type does not matter.
    unsafe { library.get::<*const ()>(name.as_bytes()) }.is_ok()
}

/// Milliseconds from one event to another. cudarc's own version calls a function that drivers
/// before CUDA 12.8 lack; all drivers have this one.
pub(crate) fn elapsed_ms(start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
    type ElapsedTime = unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult;
    let error = Error::driver("timing");
    end.synchronize().map_err(&error)?;
    // SAFETY: events exist, so the library was found.
    let library = unsafe { sys::culib() };
    // SAFETY: the driver's function of this name has this type.
    let function = unsafe { library.get::<ElapsedTime>(b"cuEventElapsedTime") };
    let missing = |_| error(DriverError(CUresult::CUDA_ERROR_NOT_FOUND));
    let function = function.map_err(missing)?;
    let mut ms = 0.0;
    // SAFETY: the pointer is to a live f32, and the events are alive.
    let got = unsafe { function(&mut ms, start.cu_event(), end.cu_event()) };
    got.result().map_err(error)?;
    Ok(ms)
}

fn describe(ordinal: i32, driver: &str) -> Result<Card> {
    let error = Error::driver("reading a card's properties");
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

    /// A call of a function that the stand-in lacks ends the tests that run on it. So the stand-in,
    /// and with it this list, has every function that is called.
    #[test]
    fn the_functions_that_are_looked_up_are_those_of_the_stand_in() {
        let source = include_str!("../../testkit/card/driver.cpp");
        let defined = source.lines().filter_map(|line| line.strip_prefix("int cu"));
        let mut names: Vec<String> = defined
            .map(|rest| format!("cu{}", rest.split('(').next().unwrap_or_default()))
            .collect();
        names.sort_unstable();
        assert_eq!(names, FUNCTIONS);
    }
}
