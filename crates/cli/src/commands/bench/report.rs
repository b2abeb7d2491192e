//! The report of `kokeshi bench`.

use super::check::Check;
use super::floor::{Bound, Cost, Peaks};
use super::workload::{MIXED_TASKS, ONE_TASK, Workload};
use crate::bytes;
use crate::layout::{counted, fitted};
use crate::view::svg;
use kokeshi_kernels::median;
use serde::Serialize;
use std::fmt;

#[derive(Debug, Serialize)]
pub(super) struct SpeedReport<'a> {
    pub(super) model: &'a str,
    pub(super) device: DeviceInfo,
    /// Seconds from the checkpoint's files to an encoder that is ready.
    pub(super) load_seconds: f64,
    /// Peak resident memory during loading and the timed passes, pages of mapped files included;
    /// absent if the system does not report it.
    pub(super) peak_resident_bytes: Option<u64>,
    pub(super) check: Check,
    pub(super) peaks: Peaks,
    pub(super) rows: Vec<BatchTiming>,
    /// Time of one task divided by that of mixed tasks.
    pub(super) mixed_tasks_share: Option<f64>,
    pub(super) left_out: Vec<String>,
}

/// The device.
#[derive(Debug, Serialize)]
pub(super) struct DeviceInfo {
    pub(super) kind: &'static str,
    pub(super) precision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) simd_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) card: Option<String>,
}

/// The time of one batch.
#[derive(Debug, Serialize)]
pub(super) struct BatchTiming {
    name: &'static str,
    texts: usize,
    tokens: usize,
    flops: f64,
    /// Minimal time in seconds, and what determines it.
    floor_seconds: f64,
    bound: Bound,
    runs_seconds: Vec<f64>,
    median_seconds: f64,
    tokens_per_second: f64,
    texts_per_second: f64,
    flops_per_second: f64,
    /// Floor divided by median: 1 is the limit of this machine. Weights that stay in the caches can
    /// beat the floor of memory.
    share_of_floor: f64,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        for property in [self.simd_level, self.card.as_deref()].into_iter().flatten() {
            write!(f, ", {property}")?;
        }
        if let Some(threads) = self.threads {
            write!(f, ", {}", counted(threads, "thread"))?;
        }
        write!(f, ", {}", self.precision)
    }
}

impl BatchTiming {
    pub(super) fn new(workload: &Workload, runs: Vec<f64>, cost: &Cost, peaks: Peaks) -> Self {
        let batch = &workload.batch;
        let (texts, tokens, flops) = (batch.seq_ends().len(), batch.tokens(), cost.flops(batch));
        let (floor_seconds, bound) = cost.floor(batch, peaks);
        let seconds = median(&runs);
        Self {
            name: workload.name,
            texts,
            tokens,
            flops,
            floor_seconds,
            bound,
            runs_seconds: runs,
            median_seconds: seconds,
            tokens_per_second: tokens as f64 / seconds,
            texts_per_second: texts as f64 / seconds,
            flops_per_second: flops / seconds,
            share_of_floor: floor_seconds / seconds,
        }
    }

    fn line(&self) -> String {
        let bound = match self.bound {
            Bound::Arithmetic => "arithmetic",
            Bound::Memory => "memory",
        };
        line([
            self.name,
            &self.tokens.to_string(),
            &format!("{:.2}", self.median_seconds * 1e3),
            &format!("{:.0}", self.tokens_per_second),
            &format!("{:.1}", self.texts_per_second),
            &format!("{:.1}", self.flops_per_second / 1e9),
            &format!("{:.2}", self.share_of_floor),
            bound,
        ])
    }
}

/// Time of one task divided by that of mixed tasks.
pub(super) fn mixed_tasks_share(rows: &[BatchTiming]) -> Option<f64> {
    let seconds =
        |name: &str| Some(rows.iter().find(|row| row.name.ends_with(name))?.median_seconds);
    Some(seconds(ONE_TASK)? / seconds(MIXED_TASKS)?)
}

impl SpeedReport<'_> {
    /// Whether a row beats the arithmetic peak, which is impossible.
    pub(super) fn is_disturbed(&self) -> bool {
        let impossible =
            |row: &BatchTiming| row.bound == Bound::Arithmetic && row.share_of_floor > 1.0;
        self.rows.iter().any(impossible)
    }

    /// Renders the report for people.
    pub(super) fn text(&self) -> String {
        let headings =
            ["batch", "tokens", "ms", "tokens/s", "texts/s", "GFLOP/s", "of floor", "bound by"];
        let rows: String = self.rows.iter().map(BatchTiming::line).collect();
        let mixed = self.mixed_tasks_share.map_or_else(String::new, |share| {
            format!("\nmixed tasks run at {share:.2} of the speed of one task\n")
        });
        self.head() + "\n" + &line(headings) + &rows + &mixed
    }

    fn head(&self) -> String {
        let memory = self.peak_resident_bytes.map_or_else(
            || "unknown on this system".to_owned(),
            |bytes| format!("{} at most", bytes::format(bytes)),
        );
        let lines = [
            ("model", self.model.to_owned()),
            ("device", self.device.to_string()),
            ("peaks", self.peaks.to_string()),
            ("load", format!("{:.1} ms", self.load_seconds * 1e3)),
            ("memory", memory),
            ("checked", self.check.to_string()),
        ];
        lines.map(|(name, value)| format!("{name:<10}{value}\n")).concat()
    }

    /// The shares of the floor as an SVG document.
    pub(super) fn chart(&self) -> String {
        svg::bar_chart(self.rows.iter().map(|row| (row.share_of_floor as f32, row.name)))
    }
}

/// A line of the table: the name on the left, the bound on the right.
fn line([name, tokens, ms, tokens_s, texts_s, gflops, share, bound]: [&str; 8]) -> String {
    let name = fitted(name, 24);
    format!(
        "{name}{tokens:>7}{ms:>12}{tokens_s:>11}{texts_s:>11}{gflops:>10}{share:>10}  {bound}\n"
    )
}
