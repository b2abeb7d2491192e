//! The cards of this machine.

use crate::Number;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{result, sys};
use std::sync::OnceLock;

/// The oldest driver whose loader reads the compiled kernels, as the driver counts: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

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

/// The cards that can be used, looked for once: opening the libraries takes time.
///
/// # Errors
///
/// If there is no driver, an old one, no cuBLASLt, or no card.
pub fn cards() -> Result<Vec<Card>> {
    static CARDS: OnceLock<Result<Vec<Card>>> = OnceLock::new();
    CARDS.get_or_init(find).clone()
}

fn find() -> Result<Vec<Card>> {
    let version = driver_version()?;
    let driver = format!("{}.{}", version / 1000, version % 1000 / 10);
    if version < OLDEST_DRIVER {
        return Err(Error::OldDriver { found: driver });
    }
    result::init().map_err(Error::driver("starting the driver"))?;
    let count = result::device::get_count().map_err(Error::driver("counting cards"))?;
    if count == 0 {
        return Err(Error::NoCard { ordinal: 0, count: 0 });
    }
    // SAFETY: the library's initialisers run; it is one that CUDA programs load.
    if !unsafe { cudarc::cublaslt::sys::is_culib_present() } {
        return Err(Error::NoBlas);
    }
    (0..count).map(|ordinal| card(ordinal, &driver)).collect()
}

/// What the tensor cores of a card multiply and is safe from overflow where there is a choice: bf16 from
/// capability 8.0 on, f16 before.
///
/// # Errors
///
/// As [`cards`], or if there is no such card.
pub fn best_number(ordinal: usize) -> Result<Number> {
    let cards = cards()?;
    let card = cards.get(ordinal).ok_or(Error::NoCard { ordinal, count: cards.len() })?;
    Ok(if card.capability.0 >= 8 { Number::Bf16 } else { Number::F16 })
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

fn card(ordinal: i32, driver: &str) -> Result<Card> {
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
