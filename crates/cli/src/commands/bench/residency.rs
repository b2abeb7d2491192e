//! `kokeshi bench --memory`: resident memory without pages of mapped files, and its growth.

use super::report::DeviceInfo;
use super::timing;
use super::workload::Random;
use crate::bytes;
use crate::commands::memory::{anonymous, peak_anonymous_during};
use crate::layout::counted;
use crate::meter::Progress;
use anyhow::Context;
use kokeshi::EncoderConfig;
use kokeshi_model::{Batch, Forward};
use serde::Serialize;

/// Maximum number of texts in a batch, and of tokens in a text.
const TEXTS: usize = 8;
const TOKENS: usize = 512;

/// Bytes of resident memory, without pages of mapped files.
#[derive(Debug, Serialize)]
pub(super) struct Residency<'a> {
    pub(super) model: &'a str,
    pub(super) device: DeviceInfo,
    /// Before and after loading the model.
    pub(super) before_bytes: u64,
    pub(super) loaded_bytes: u64,
    /// Peak during the largest batch, 8×512.
    pub(super) largest_batch_bytes: u64,
    /// Number of batches of other sizes after that, and the peak during them.
    pub(super) batches: u32,
    pub(super) batches_bytes: u64,
    /// After the first tenth of these batches, and after the last.
    pub(super) first_tenth_bytes: u64,
    pub(super) last_bytes: u64,
    /// From the first tenth to the last; negative if memory was released.
    pub(super) growth_bytes: i64,
}

/// Memory of this process now.
pub(super) fn now() -> anyhow::Result<u64> {
    anonymous().context(
        "cannot measure memory: this system does not report the memory of a process; Linux does",
    )
}

impl<'a> Residency<'a> {
    /// Runs the largest batch on `forward`, and then `batches` of 1 to 8 texts of 8 to 512 tokens.
    /// `before_bytes` were resident before `forward` was loaded.
    pub(super) fn measure(
        model: &'a str,
        device: DeviceInfo,
        before_bytes: u64,
        forward: &dyn Forward,
        batches: u32,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let config = forward.config();
        let loaded_bytes = now()?;
        let mut random = Random::seeded();
        let largest = batch(&mut random, config, &[TOKENS; TEXTS]);
        let (result, largest_batch_bytes) = peak_anonymous_during(|| run(forward, &largest));
        result?;
        let mut first_tenth_bytes = None;
        let (result, batches_bytes) = peak_anonymous_during(|| {
            for done in 1..=batches {
                let lengths = random.within(1..=TEXTS);
                let lengths: Vec<_> = (0..lengths).map(|_| random.within(8..=TOKENS)).collect();
                run(forward, &batch(&mut random, config, &lengths))?;
                progress.say(format!("{done} of {}", counted(batches as usize, "batch")));
                if done == batches.div_ceil(10) {
                    first_tenth_bytes = anonymous();
                }
            }
            Ok::<_, anyhow::Error>(())
        });
        result?;
        let last_bytes = now()?;
        let first_tenth_bytes = first_tenth_bytes.unwrap_or(last_bytes);
        Ok(Self {
            model,
            device,
            before_bytes,
            loaded_bytes,
            largest_batch_bytes: largest_batch_bytes.unwrap_or(last_bytes),
            batches,
            batches_bytes: batches_bytes.unwrap_or(last_bytes),
            first_tenth_bytes,
            last_bytes,
            growth_bytes: last_bytes.cast_signed() - first_tenth_bytes.cast_signed(),
        })
    }

    /// Renders the result for people.
    pub(super) fn text(&self) -> String {
        let growth = bytes::format(self.growth_bytes.unsigned_abs());
        let sign = if self.growth_bytes < 0 { "-" } else { "" };
        let batches = format!("  {} others", self.batches);
        let lines: [(&str, String); 10] = [
            ("model", self.model.to_owned()),
            ("device", self.device.to_string()),
            ("memory, without mapped files", String::new()),
            ("  before loading", bytes::format(self.before_bytes)),
            ("  loaded", bytes::format(self.loaded_bytes)),
            ("  8×512", format!("{} at most", bytes::format(self.largest_batch_bytes))),
            (&batches, format!("{} at most", bytes::format(self.batches_bytes))),
            ("  after their first tenth", bytes::format(self.first_tenth_bytes)),
            ("  after the last", bytes::format(self.last_bytes)),
            ("  growth since then", format!("{sign}{growth}")),
        ];
        lines
            .map(|(name, value)| format!("{name:<30}{value}").trim_end().to_owned() + "\n")
            .concat()
    }
}

/// Texts of these lengths, up to the model's limit, with its tasks in turn.
fn batch(random: &mut Random, config: &EncoderConfig, lengths: &[usize]) -> Batch {
    let lengths: Vec<_> = lengths.iter().map(|&length| length.min(config.max_tokens)).collect();
    let mut batch = Batch::new();
    for (i, ids) in random.texts(&lengths, config).iter().enumerate() {
        batch.push(ids, i.checked_rem(config.tasks.len()));
    }
    batch
}

fn run(forward: &dyn Forward, batch: &Batch) -> anyhow::Result<()> {
    std::hint::black_box(timing::pass(forward, batch)?);
    Ok(())
}
