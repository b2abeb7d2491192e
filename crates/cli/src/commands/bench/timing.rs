//! Repeated runs.

use super::workload::Workload;
use kokeshi_model::{Batch, Forward};
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

/// Runs are repeated for at least this long and at least this often.
const SECONDS: f64 = 1.0;
const RUNS: usize = 3;
/// More runs do not improve a median.
const MAX_RUNS: usize = 1000;

/// Seconds of the runs of each workload. Workloads alternate, so that a temporary slowdown of the
/// machine affects them equally. A first round warms up and is not counted.
///
/// # Errors
///
/// If the device fails.
pub(super) fn time(
    forward: &dyn Forward,
    workloads: &[Workload],
    quick: bool,
) -> kokeshi_model::Result<Vec<Vec<f64>>> {
    let mut runs = vec![Vec::new(); workloads.len()];
    for workload in workloads {
        seconds(forward, workload)?;
    }
    while runs.iter().any(|runs| !enough(runs, quick)) {
        for (runs, workload) in runs.iter_mut().zip(workloads) {
            runs.push(seconds(forward, workload)?);
        }
    }
    Ok(runs)
}

fn enough(runs: &[f64], quick: bool) -> bool {
    match runs.len() {
        0 => false,
        1.. if quick => true,
        count => count >= MAX_RUNS || count >= RUNS && runs.iter().sum::<f64>() >= SECONDS,
    }
}

/// Seconds of one forward pass.
fn seconds(forward: &dyn Forward, workload: &Workload) -> kokeshi_model::Result<f64> {
    let (seconds, sums) = pass(forward, &workload.batch)?;
    black_box(sums);
    Ok(seconds)
}

/// Seconds of one forward pass, and the sum of the states of each sequence.
///
/// # Errors
///
/// If the device fails.
pub(super) fn pass(forward: &dyn Forward, batch: &Batch) -> kokeshi_model::Result<(f64, Vec<f32>)> {
    let spans: Vec<Range<usize>> = batch.sequences().collect();
    let start = Instant::now();
    let sums = forward.pool(batch, &spans)?;
    Ok((start.elapsed().as_secs_f64(), sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_suffice_after_a_second_and_three_runs_or_at_the_cap() {
        assert!(!enough(&[], true) && enough(&[0.1], true));
        assert!(!enough(&[9.0, 9.0], false) && enough(&[9.0; 3], false));
        assert!(!enough(&[0.1; 9], false) && enough(&[0.25; 4], false));
        assert!(enough(&[1e-6; MAX_RUNS], false));
    }
}
