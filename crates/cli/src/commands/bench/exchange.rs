//! Batches as lines of JSON, so that another program can be timed over the same token ids and its
//! vectors be compared with ours. `bench/peers` does that.

use super::report::DeviceInfo;
use super::timing;
use super::workload::Workloads;
use crate::failure::hinted;
use crate::input::{self, Document};
use anyhow::Context;
use kokeshi::EncoderConfig;
use kokeshi_model::{Batch, Forward};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Write;

/// Tokens of a batch at most: with the shape of v3 their states take 2 GiB.
const MAX_TOKENS: usize = 1 << 16;

/// A batch, as `--print-batches` prints it and `--read-batches` takes it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    name: Cow<'a, str>,
    texts: Vec<Text<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    ids: Cow<'a, [u32]>,
    /// The name of a task; without one, the base weights run.
    #[serde(default)]
    task: Option<Cow<'a, str>>,
}

/// The first line of the answers: what computes.
#[derive(Serialize)]
struct Greeting {
    program: &'static str,
    device: DeviceInfo,
}

/// The answer to one batch.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    /// Time of the forward pass alone.
    seconds: f64,
    /// The mean state of each text.
    vectors: Vec<Vec<f32>>,
}

/// The batches that `kokeshi bench` times, a line each.
pub(super) fn print(config: &EncoderConfig, card: bool, mut to: impl Write) -> anyhow::Result<()> {
    let task = |&adapter: &Option<usize>| Some(Cow::from(&config.tasks[adapter?].name));
    for workload in Workloads::new(config, card).turns.iter().flatten() {
        let batch = &workload.batch;
        let texts = batch.sequences().zip(batch.adapters());
        let texts = texts.map(|(sequence, adapter)| Text {
            ids: Cow::from(&batch.ids()[sequence]),
            task: task(adapter),
        });
        write_line(&mut to, &Line { name: workload.name.into(), texts: texts.collect() })?;
    }
    Ok(())
}

/// Runs each batch of standard input once, as soon as its line is there, and answers it with a line.
pub(super) fn answer(
    forward: &dyn Forward,
    device: DeviceInfo,
    mut to: impl Write,
) -> anyhow::Result<()> {
    let program = concat!("kokeshi ", env!("CARGO_PKG_VERSION"));
    write_line(&mut to, &Greeting { program, device })?;
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
        write_line(&mut to, &Answer { name: &line.name, seconds, vectors })?;
    }
    Ok(())
}

fn parse(document: &Document) -> anyhow::Result<Line<'_>> {
    serde_json::from_str(&document.text).map_err(|error| {
        hinted(
            format!("{} is no batch: {error}", document.origin),
            "a batch is a line of JSON; `kokeshi bench --print-batches` prints some",
        )
    })
}

/// # Errors
///
/// If the model cannot run it.
fn batch(line: &Line<'_>, config: &EncoderConfig) -> anyhow::Result<Batch> {
    let tokens = line.texts.iter().map(|text| text.ids.len()).sum::<usize>();
    anyhow::ensure!(
        (1..=MAX_TOKENS).contains(&tokens),
        "the batch has {tokens} tokens; it may have 1 to {MAX_TOKENS}"
    );
    let mut batch = Batch::new();
    for (number, text) in (1..).zip(&line.texts) {
        let adapter = adapter(text, config).with_context(|| format!("text {number}"))?;
        batch.push(&text.ids, adapter);
    }
    Ok(batch)
}

/// The index of the task of `text`, which the model can run.
fn adapter(text: &Text<'_>, config: &EncoderConfig) -> anyhow::Result<Option<usize>> {
    let (tokens, limit, vocab) = (text.ids.len(), config.max_tokens, config.vocab);
    anyhow::ensure!(
        (1..=limit).contains(&tokens),
        "it has {tokens} tokens; a text has 1 to {limit}"
    );
    if let Some(id) = text.ids.iter().find(|&&id| id as usize >= vocab) {
        anyhow::bail!("there is no token {id}: the vocabulary has {vocab}");
    }
    let Some(task) = &text.task else { return Ok(None) };
    let index = config.tasks.iter().position(|known| known.name == *task);
    index.map(Some).with_context(|| {
        let names: Vec<_> = config.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
        format!(
            "there is no task `{task}`; the model has {}",
            match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            }
        )
    })
}

/// Writes `value` at once: the reader waits for it.
fn write_line(to: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)? + "\n";
    to.write_all(line.as_bytes()).and_then(|()| to.flush()).context("cannot write standard output")
}
