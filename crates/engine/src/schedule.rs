//! Sequences → batches within a token budget → the mean state of every span.

use crate::prepare::Sequence;
use crate::window::Pass;
use kokeshi_model::{Batch, Forward};
use std::ops::Range;

/// Tokens of a batch. A longer pass runs alone. Working memory grows with the batch, and past a
/// few hundred tokens speed hardly does.
const BATCH_TOKENS: usize = 8192;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Inputs whose forward passes are all done.
    pub inputs: usize,
    /// Inputs of the call.
    pub total_inputs: usize,
    /// Tokens that have run through the model, overlaps of windows included.
    pub tokens: usize,
    /// Tokens that the call runs in all.
    pub total_tokens: usize,
}

/// A pass with the number of its sequence.
type Job<'a> = (usize, &'a Pass);

/// Mean last-layer states of every span of every sequence, `[spans, hidden]` each; zeros for an
/// empty span. Sequences run in their order; `progress` is called after every batch.
pub(crate) fn span_means(
    forward: &dyn Forward,
    sequences: &[&Sequence],
    total_inputs: usize,
    progress: &mut dyn FnMut(Progress),
) -> Vec<Vec<f32>> {
    let hidden = forward.config().hidden;
    let mut sums: Vec<_> =
        sequences.iter().map(|run| vec![0.0; run.spans.len() * hidden]).collect();
    let jobs: Vec<Job<'_>> = sequences
        .iter()
        .enumerate()
        .flat_map(|(number, run)| run.passes.iter().map(move |pass| (number, pass)))
        .collect();
    let total_tokens = jobs.iter().map(|(_, pass)| pass.run.len()).sum();
    let mut done = Progress { inputs: 0, total_inputs, tokens: 0, total_tokens };
    let mut rest = &jobs[..];
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_len(rest));
        run(forward, sequences, batch, &mut sums);
        rest = after;
        done.inputs = rest.first().map_or(total_inputs, |&(number, _)| sequences[number].input);
        done.tokens += batch.iter().map(|(_, pass)| pass.run.len()).sum::<usize>();
        progress(done);
    }
    for (run, sums) in sequences.iter().zip(&mut sums) {
        divide(sums, &run.spans, hidden);
    }
    sums
}

/// How many of `jobs`, at least one, fit into the next batch.
fn batch_len(jobs: &[Job<'_>]) -> usize {
    let mut tokens = 0;
    let fitting = jobs.iter().take_while(|(_, pass)| {
        tokens += pass.run.len();
        tokens <= BATCH_TOKENS
    });
    fitting.count().max(1)
}

/// Runs one batch and adds what it holds of every span to `sums`.
fn run(forward: &dyn Forward, sequences: &[&Sequence], jobs: &[Job<'_>], sums: &mut [Vec<f32>]) {
    let mut batch = Batch::new();
    let (mut spans, mut owners) = (Vec::new(), Vec::new());
    for &(number, pass) in jobs {
        let sequence = sequences[number];
        let start = batch.tokens();
        batch.push(&sequence.ids[pass.run.clone()], sequence.adapter);
        for (span, tokens) in pass.cut(&sequence.spans) {
            spans.push(start + tokens.start..start + tokens.end);
            owners.push((number, span));
        }
    }
    let hidden = forward.config().hidden;
    let parts = forward.pool(&batch, &spans);
    for ((number, span), part) in owners.into_iter().zip(parts.chunks_exact(hidden)) {
        let sum = &mut sums[number][span * hidden..][..hidden];
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

/// Sums → means; rows of empty spans stay zero.
fn divide(sums: &mut [f32], spans: &[Range<usize>], hidden: usize) {
    for (sum, span) in sums.chunks_exact_mut(hidden).zip(spans) {
        let tokens = span.len().max(1) as f32;
        sum.iter_mut().for_each(|sum| *sum /= tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::passes;
    use kokeshi_model::{Checkpoint, Device};
    use kokeshi_testkit::{Goldens, assert_close, fixture, json, unit_rows};
    use serde_json::from_value;

    fn sequence(input: usize, ids: Vec<u32>, spans: Vec<Range<usize>>, size: usize) -> Sequence {
        let passes = passes(ids.len(), (size, size / 4), &spans);
        Sequence { input, ids, adapter: None, spans, passes }
    }

    fn tiny(folder: &str) -> Box<dyn Forward> {
        let checkpoint = Checkpoint::open(&fixture(folder)).expect("a checkpoint");
        kokeshi_model::load(&checkpoint, &Device::EXACT).expect("a backend")
    }

    #[test]
    fn long_late_chunking_gives_the_states_and_chunks_of_the_reference() {
        for folder in ["v3-tiny", "v3-head64"] {
            let forward = tiny(&format!("{folder}/original"));
            let goldens = Goldens::open(&format!("{folder}/golden/golden.safetensors"));
            let cases = json(&format!("{folder}/golden/cases.json"));
            let ids: Vec<u32> = from_value(cases["ragged"]["ids"][8].clone()).expect("ids");
            for case in cases["long_late"]["cases"].as_array().expect("cases") {
                let number = |key: &str| case[key].as_u64().expect(key) as usize;
                let task = forward.config().tasks.iter().position(|t| case["task"] == t.name);
                let means = |spans: Vec<Range<usize>>| {
                    let sizes = (number("embed_size"), number("overlap"));
                    let passes = passes(ids.len(), sizes, &spans);
                    let run = Sequence { input: 0, ids: ids.clone(), adapter: task, spans, passes };
                    span_means(&*forward, &[&run], 1, &mut |_| ()).remove(0)
                };
                let spans: Vec<[usize; 2]> =
                    from_value(case["chunk_spans"].clone()).expect("spans");
                let chunks = means(spans.iter().map(|&[start, end]| start..end).collect());
                let chunks = unit_rows(&chunks, forward.config().hidden);
                let name = case["chunks"].as_str().expect("a tensor");
                assert_close(name, &chunks, &goldens.get(name).values, 3e-6);
                if let Some(name) = case["hidden"].as_str() {
                    let states = means((0..ids.len()).map(|token| token..token + 1).collect());
                    assert_close(name, &states, &goldens.get(name).values, 3e-5);
                }
            }
        }
    }

    #[test]
    fn batches_keep_the_order_and_the_budget_and_a_longer_pass_runs_alone() {
        let long = Pass::whole(BATCH_TOKENS + 1);
        let half = Pass::whole(BATCH_TOKENS / 2);
        let one = Pass::whole(1);
        let jobs = [(0, &half), (1, &half), (2, &one), (3, &long), (4, &one)];
        let lens: Vec<_> = (0..jobs.len()).map(|from| batch_len(&jobs[from..])).collect();
        assert_eq!(lens, [2, 2, 1, 1, 1]);
    }

    #[test]
    fn progress_counts_inputs_that_are_done_and_tokens_that_ran() {
        let forward = tiny("v3-tiny/original");
        let (whole, both, size) = (0..6000, 0..2, 4000);
        let runs = [
            sequence(0, vec![5; 3], vec![0..3, 1..1], size),
            sequence(1, vec![7; 6000], vec![whole], size),
            sequence(2, vec![9; 2], vec![both], size),
        ];
        let mut seen = Vec::new();
        let runs: Vec<_> = runs.iter().collect();
        let means = span_means(&*forward, &runs, 3, &mut |progress| seen.push(progress));
        assert_eq!(means[0][64..], [0.0; 64], "an empty span");
        let total = 3 + 4000 + 3000 + 2;
        assert_eq!(
            seen,
            [Progress { inputs: 3, total_inputs: 3, tokens: total, total_tokens: total }]
        );
    }
}
