//! Batches as lines of JSON, so that another program can be timed on the same token ids and its
//! vectors can be compared with ours: see `bench/peers`.

use super::report::DeviceInfo;
use super::timing;
use super::workload::Workloads;
use crate::failure::hinted;
use crate::input::{self, SourceText};
use anyhow::Context;
use kokeshi::EncoderConfig;
use kokeshi_model::{Batch, Forward};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Write;

/// Maximum number of tokens in a batch: with the shape of v3 their states take 2 GiB.
const MAX_TOKENS: usize = 1 << 16;

/// A batch, as `--print-batches` prints and `--read-batches` reads it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BatchLine<'a> {
    name: Cow<'a, str>,
    texts: Vec<Sequence<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sequence<'a> {
    ids: Cow<'a, [u32]>,
    /// Name of a task; without one, the base weights are used.
    #[serde(default)]
    task: Option<Cow<'a, str>>,
}

/// The first line of the output: the program and its device.
#[derive(Serialize)]
struct Header {
    program: &'static str,
    device: DeviceInfo,
}

/// The result of one batch.
#[derive(Serialize)]
struct BatchResult<'a> {
    name: &'a str,
    /// Time of the forward pass only.
    seconds: f64,
    /// The mean state of each text.
    vectors: Vec<Vec<f32>>,
}

/// Prints the batches that `kokeshi bench` times, one per line.
pub(super) fn print(config: &EncoderConfig, card: bool, mut to: impl Write) -> anyhow::Result<()> {
    let task = |&adapter: &Option<usize>| Some(Cow::from(&config.tasks[adapter?].name));
    for workload in Workloads::new(config, card).turns.iter().flatten() {
        let batch = &workload.batch;
        let texts = batch.sequences().zip(batch.adapters());
        let texts = texts.map(|(sequence, adapter)| Sequence {
            ids: Cow::from(&batch.ids()[sequence]),
            task: task(adapter),
        });
        write_line(&mut to, &BatchLine { name: workload.name.into(), texts: texts.collect() })?;
    }
    Ok(())
}

/// Runs each batch from standard input once, as soon as its line arrives, and writes the result as
/// one line.
pub(super) fn run_batches(
    forward: &dyn Forward,
    device: DeviceInfo,
    mut to: impl Write,
) -> anyhow::Result<()> {
    let program = concat!("kokeshi ", env!("CARGO_PKG_VERSION"));
    write_line(&mut to, &Header { program, device })?;
    for document in input::stdin_lines() {
        let document = document?;
        if document.text.trim().is_empty() {
            continue;
        }
        let line = parse(&document)?;
        let batch = batch(&line, forward.config())
            .with_context(|| format!("{}: `{}`", document.origin, line.name))?;
        let (seconds, sums) = timing::pass(forward, &batch)?;
        let texts = batch.sequences().zip(sums.chunks(forward.config().hidden));
        let mean = |sum: &[f32], len: usize| sum.iter().map(|x| x / len as f32).collect();
        let vectors = texts.map(|(sequence, sum)| mean(sum, sequence.len())).collect();
        write_line(&mut to, &BatchResult { name: &line.name, seconds, vectors })?;
    }
    Ok(())
}

fn parse(document: &SourceText) -> anyhow::Result<BatchLine<'_>> {
    serde_json::from_str(&document.text).map_err(|error| {
        hinted(
            format!("{} is not a batch: {error}", document.origin),
            "a batch is a line of JSON; see the output of `kokeshi bench --print-batches`",
        )
    })
}

/// The batch of a line.
///
/// # Errors
///
/// If the model cannot run it.
fn batch(line: &BatchLine<'_>, config: &EncoderConfig) -> anyhow::Result<Batch> {
    let tokens = line.texts.iter().map(|text| text.ids.len()).sum::<usize>();
    anyhow::ensure!(
        (1..=MAX_TOKENS).contains(&tokens),
        "the batch has {tokens} tokens; the limits are 1 and {MAX_TOKENS}"
    );
    let mut batch = Batch::new();
    for (number, text) in (1..).zip(&line.texts) {
        let adapter = adapter(text, config).with_context(|| format!("text {number}"))?;
        batch.push(&text.ids, adapter);
    }
    Ok(batch)
}

/// The index of the task of `text`.
///
/// # Errors
///
/// If the model cannot run the text.
fn adapter(text: &Sequence<'_>, config: &EncoderConfig) -> anyhow::Result<Option<usize>> {
    let (tokens, limit, vocab) = (text.ids.len(), config.max_tokens, config.vocab);
    anyhow::ensure!(
        (1..=limit).contains(&tokens),
        "it has {tokens} tokens; the limits are 1 and {limit}"
    );
    if let Some(id) = text.ids.iter().find(|&&id| id as usize >= vocab) {
        anyhow::bail!("no token has the id {id}; the vocabulary has {vocab} tokens");
    }
    let Some(task) = &text.task else { return Ok(None) };
    let index = config.tasks.iter().position(|known| known.name == *task);
    index.map(Some).with_context(|| {
        let names: Vec<_> = config.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
        format!(
            "unknown task `{task}`; the model has {}",
            match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            }
        )
    })
}

/// Writes and flushes `value`: the reader waits for it.
fn write_line(to: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)? + "\n";
    to.write_all(line.as_bytes()).and_then(|()| to.flush()).context("cannot write standard output")
}
