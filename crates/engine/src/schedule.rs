//! Sequences → batches within a token budget → the mean state of every span.

use crate::error::Result;
use crate::request::{PassIndex, Prepared, Request};
use crate::sequence::Sequence;
use kokeshi_model::{Batch, Forward};
use std::ops::Range;

/// Maximum number of tokens of a batch; a longer pass runs alone. Working memory grows with the
/// batch, but beyond a few hundred tokens speed hardly does.
pub(crate) const BATCH_TOKENS: usize = 8192;

/// Progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Inputs whose forward passes have all run.
    pub inputs: usize,
    /// Inputs of the call.
    pub total_inputs: usize,
    /// Tokens that have run through the model so far, overlaps of windows included.
    pub tokens: usize,
    /// Tokens of all passes of the call.
    pub total_tokens: usize,
}

/// Runs all passes of `request` in order and calls `progress` after every batch.
///
/// # Errors
///
/// If the device fails.
pub(crate) fn run(
    forward: &dyn Forward,
    request: &Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<RequestSums> {
    let mut sums = RequestSums::new(request);
    let indices: Vec<PassIndex> = request.pass_indices().collect();
    let lens: Vec<usize> = indices.iter().map(|&index| request.pass(index).1.run.len()).collect();
    let (total_inputs, total_tokens) = (request.inputs.len(), lens.iter().sum());
    let mut done = Progress { inputs: 0, total_inputs, tokens: 0, total_tokens };
    let mut start = 0;
    while start < indices.len() {
        let end = start + batch_len(&lens[start..]);
        let mut passes = PassBatch::default();
        indices[start..end].iter().for_each(|&index| passes.push(request, index));
        let batch_sums = passes.run(forward, &mut || true)?.unwrap_or_default();
        let mut rows = batch_sums.rows();
        indices[start..end].iter().for_each(|&index| sums.add(request, index, &mut rows));
        done.tokens += passes.tokens();
        start = end;
        done.inputs = indices.get(start).map_or(total_inputs, |index| index.input);
        progress(done);
    }
    Ok(sums)
}

/// Number of passes, of these lengths in tokens, that fit into the next batch: at least one.
fn batch_len(lens: &[usize]) -> usize {
    let mut tokens = 0;
    let fitting = lens.iter().take_while(|&len| {
        tokens += len;
        tokens <= BATCH_TOKENS
    });
    fitting.count().max(1)
}

/// Passes that run as one batch. They can belong to several requests.
#[derive(Debug, Default)]
pub(crate) struct PassBatch {
    batch: Batch,
    /// Token ranges of the batch to sum over: the part of its sequence's spans in each pass.
    spans: Vec<Range<usize>>,
    /// Leading dimensions of the sums: the largest number that one of the inputs keeps.
    width: usize,
}

/// Sums of states over the spans of a batch, `[spans, width]`. [`RequestSums::add`] consumes the
/// rows of each pass in turn.
#[derive(Debug, Default)]
pub(crate) struct BatchSums {
    sums: Vec<f32>,
    width: usize,
}

impl BatchSums {
    /// One sum per span, `[width]` each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.sums.chunks_exact(self.width.max(1))
    }
}

impl PassBatch {
    /// Appends a pass of `request`.
    pub(crate) fn push(&mut self, request: &Request, index: PassIndex) {
        let (sequence, pass) = request.pass(index);
        let start = self.batch.tokens();
        self.batch.push(&pass.ids(&sequence.ids, sequence.lead), sequence.adapter);
        let spans = pass.cut(&sequence.spans);
        self.spans.extend(spans.map(|(_, span)| start + span.start..start + span.end));
        self.width = self.width.max(request.inputs[index.input].finish.width);
    }

    pub(crate) fn tokens(&self) -> usize {
        self.batch.tokens()
    }

    /// Runs the forward pass. `None` if `keep_running` returned `false`.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub(crate) fn run(
        &self,
        forward: &dyn Forward,
        keep_running: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<Option<BatchSums>> {
        let width = self.width;
        let sums = forward.pool_while(&self.batch, &self.spans, width, keep_running)?;
        Ok(sums.map(|sums| BatchSums { sums, width }))
    }
}

/// Sums of states over every span of a request, over the passes that have run so far. Each input
/// has as many dimensions as it keeps.
#[derive(Debug, Default)]
pub(crate) struct RequestSums {
    /// For each input the sums of its document and of its empty text, `[spans, width]` each.
    inputs: Vec<[Vec<f32>; 2]>,
}

impl RequestSums {
    /// Zeros.
    pub(crate) fn new(request: &Request) -> Self {
        let sums = |input: &Prepared| {
            let zeros = |sequence: &Sequence| vec![0.0; sequence.spans.len() * input.finish.width];
            [zeros(&input.document), input.blank.as_ref().map(zeros).unwrap_or_default()]
        };
        Self { inputs: request.inputs.iter().map(sums).collect() }
    }

    /// Adds the sums of the pass at `index`: one of `rows` for each span that it overlaps, cut to
    /// the dimensions that the input keeps. Windows of a document must be added in their order:
    /// another order changes the bits of the sum.
    pub(crate) fn add<'a>(
        &mut self,
        request: &Request,
        index: PassIndex,
        rows: &mut impl Iterator<Item = &'a [f32]>,
    ) {
        let (sequence, pass) = request.pass(index);
        let width = request.inputs[index.input].finish.width;
        let sums = &mut self.inputs[index.input][usize::from(index.blank)];
        for ((span, _), row) in pass.cut(&sequence.spans).zip(rows) {
            let sum = &mut sums[span * width..][..width];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }

    /// Mean states of each input's document and of its empty text, `[spans, width]` each; zeros for
    /// an empty span.
    pub(crate) fn means(self, request: &Request) -> impl Iterator<Item = [Vec<f32>; 2]> {
        self.inputs.into_iter().zip(&request.inputs).map(|([mut document, mut blank], input)| {
            let width = input.finish.width;
            divide(&mut document, &input.document.spans, width);
            divide(&mut blank, input.blank.as_ref().map_or(&[], |blank| &blank.spans), width);
            [document, blank]
        })
    }
}

/// Sums → means; rows of empty spans stay zero.
fn divide(sums: &mut [f32], spans: &[Range<usize>], width: usize) {
    for (sum, span) in sums.chunks_exact_mut(width).zip(spans) {
        let tokens = span.len().max(1) as f32;
        sum.iter_mut().for_each(|sum| *sum /= tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finish::Finish;
    use crate::input::Options;
    use crate::window::passes;
    use kokeshi_model::{Checkpoint, Device};
    use kokeshi_testkit::{Goldens, assert_close, fixture, json, unit_rows};
    use serde_json::from_value;

    fn sequence(ids: Vec<u32>, spans: Vec<Range<usize>>, size: usize) -> Sequence {
        let passes = passes(ids.len(), (size, size / 4), &spans);
        Sequence { ids, adapter: None, lead: 0, spans, passes }
    }

    fn request(documents: Vec<Sequence>, hidden: usize) -> Request {
        let finish = Finish::new(&Options::default(), hidden);
        let prepared = |document| Prepared {
            document,
            blank: None,
            truncated_tokens: crate::count::TokenCount::default(),
            finish,
        };
        Request { inputs: documents.into_iter().map(prepared).collect() }
    }

    /// Mean states of the spans of each document.
    fn means(
        forward: &dyn Forward,
        documents: Vec<Sequence>,
        progress: &mut dyn FnMut(Progress),
    ) -> Vec<Vec<f32>> {
        let request = request(documents, forward.config().hidden);
        let sums = run(forward, &request, progress).expect("sums");
        sums.means(&request).map(|[document, _]| document).collect()
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
                let span_means = |spans: Vec<Range<usize>>| {
                    let sizes = (number("embed_size"), number("overlap"));
                    let passes = passes(ids.len(), sizes, &spans);
                    let sequence =
                        Sequence { ids: ids.clone(), adapter: task, lead: 0, spans, passes };
                    means(&*forward, vec![sequence], &mut |_| ()).remove(0)
                };
                let spans: Vec<[usize; 2]> =
                    from_value(case["chunk_spans"].clone()).expect("spans");
                let chunks = span_means(spans.iter().map(|&[start, end]| start..end).collect());
                let chunks = unit_rows(&chunks, forward.config().hidden);
                let name = case["chunks"].as_str().expect("a tensor");
                assert_close(name, &chunks, &goldens.get(name).values, 3e-6);
                if let Some(name) = case["hidden"].as_str() {
                    let states = span_means((0..ids.len()).map(|token| token..token + 1).collect());
                    assert_close(name, &states, &goldens.get(name).values, 3e-5);
                }
            }
        }
    }

    #[test]
    fn batches_keep_order_and_budget_and_a_longer_pass_runs_alone() {
        let half = BATCH_TOKENS / 2;
        let lens = [half, half, 1, BATCH_TOKENS + 1, 1];
        let lens: Vec<_> = (0..lens.len()).map(|from| batch_len(&lens[from..])).collect();
        assert_eq!(lens, [2, 2, 1, 1, 1]);
    }

    #[test]
    fn progress_counts_finished_inputs_and_tokens_that_ran() {
        let forward = tiny("v3-tiny/original");
        let (whole, both, size) = (0..6000, 0..2, 4000);
        let sequences = vec![
            sequence(vec![5; 3], vec![0..3, 1..1], size),
            sequence(vec![7; 6000], vec![whole], size),
            sequence(vec![9; 2], vec![both], size),
        ];
        let mut seen = Vec::new();
        let means = means(&*forward, sequences, &mut |progress| seen.push(progress));
        assert_eq!(means[0][64..], [0.0; 64], "an empty span");
        let total = 3 + 4000 + 3000 + 2;
        assert_eq!(
            seen,
            [Progress { inputs: 3, total_inputs: 3, tokens: total, total_tokens: total }]
        );
    }
}
