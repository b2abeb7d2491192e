//! Measured peak rates of the card, for benchmarks to compare with.

use crate::card::elapsed_ms;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::memory::noise;
use crate::states::Arena;
use crate::{DType, Layer};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;

/// Measured rates.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Floating-point operations of matrix products per second; a multiply-add is two.
    pub flops_per_s: f64,
    /// Bytes read and written per second by copies inside the card.
    pub bytes_per_s: f64,
}

const SIDE: usize = 8192;
const COPIED: usize = 1 << 30;
const REPEATS: usize = 10;

/// Measures card `ordinal`: products of 8192 × 8192 × 8192 elements, copies of 1 GiB.
///
/// # Errors
///
/// If the card cannot be used, or has less than 3 GiB of memory left.
pub fn peak(ordinal: usize, dtype: DType) -> Result<Peak> {
    let gpu = Gpu::open(ordinal, dtype)?;
    let arena = Arena::default();
    let mut fill = noise();
    let layer = Layer { outputs: SIDE, inputs: SIDE, bias: &[], down: &[], up: &[], rank: 0 };
    let weights = gpu.linear(&layer, &mut fill)?;
    let mut values = vec![0.0; SIDE * SIDE];
    fill(0, &mut values);
    let values = gpu.write(&arena, &values, SIDE, 0)?;
    let mut product = arena.take(&gpu, SIDE, SIDE, 0)?;
    let ms = gpu.time(REPEATS, &mut || gpu.multiply(&values, &weights, &mut product))?;
    let flops_per_s = 2.0 * (SIDE as f64).powi(3) / (ms / 1e3);

    let (from, mut to) = (gpu.zeros(COPIED)?, gpu.zeros(COPIED)?);
    let ms = gpu.time(REPEATS, &mut || {
        let copied = gpu.stream.memcpy_dtod(&from.0, &mut to.0);
        copied.map_err(Error::driver("copying inside the card"))
    })?;
    Ok(Peak { flops_per_s, bytes_per_s: 2.0 * COPIED as f64 / (ms / 1e3) })
}

impl Gpu {
    /// Median milliseconds of `repeats` runs of `work`, after a warm-up run.
    ///
    /// # Errors
    ///
    /// If `work` fails, or the card.
    pub fn time(&self, repeats: usize, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        work()?;
        let error = Error::driver("timing");
        let mark = || self.stream.record_event(Some(CU_EVENT_DEFAULT)).map_err(&error);
        let mut times = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            let start = mark()?;
            work()?;
            let end = mark()?;
            self.wait()?;
            times.push(f64::from(elapsed_ms(&start, &end)?));
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}
