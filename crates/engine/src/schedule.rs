//! Sequences → batches within a token budget → the mean state of every span.

use crate::error::Result;
use crate::prepare::{Place, Prepared, Request, Sequence};
use kokeshi_model::{Batch, Forward};
use std::ops::Range;

/// Tokens of a batch. A longer pass runs alone. Working memory grows with the batch, and past a
/// few hundred tokens speed hardly does.
pub(crate) const BATCH_TOKENS: usize = 8192;

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

/// Runs all passes of `request` in their order; `progress` is called after every batch.
pub(crate) fn run(
    forward: &dyn Forward,
    request: &Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<Sums> {
    let mut sums = Sums::new(request);
    let places: Vec<Place> = request.places().collect();
    let lens: Vec<usize> = places.iter().map(|&place| request.pass(place).1.run.len()).collect();
    let (total_inputs, total_tokens) = (request.inputs.len(), lens.iter().sum());
    let mut done = Progress { inputs: 0, total_inputs, tokens: 0, total_tokens };
    let mut start = 0;
    while start < places.len() {
        let end = start + batch_len(&lens[start..]);
        let mut passes = Passes::default();
        places[start..end].iter().for_each(|&place| passes.push(request, place));
        let parts = passes.run(forward, &mut || true)?.unwrap_or_default();
        let mut parts = parts.rows();
        places[start..end].iter().for_each(|&place| sums.add(request, place, &mut parts));
        done.tokens += passes.tokens();
        start = end;
        done.inputs = places.get(start).map_or(total_inputs, |place| place.input);
        progress(done);
    }
    Ok(sums)
}

/// How many passes of these lengths, at least one, fit into the next batch.
fn batch_len(lens: &[usize]) -> usize {
    let mut tokens = 0;
    let fitting = lens.iter().take_while(|&len| {
        tokens += len;
        tokens <= BATCH_TOKENS
    });
    fitting.count().max(1)
}

/// Passes that run as one batch, of any number of requests.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    batch: Batch,
    /// Token ranges of the batch that are summed: what each pass holds of its sequence's spans.
    spans: Vec<Range<usize>>,
    /// Leading dimensions of the sums: the most that one of the inputs keeps.
    width: usize,
}

/// Sums of states over the spans of a batch, `[spans, width]`, for [`Sums::add`] of each pass in turn.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    sums: Vec<f32>,
    width: usize,
}

impl Parts {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.sums.chunks_exact(self.width.max(1))
    }
}

impl Passes {
    pub(crate) fn push(&mut self, request: &Request, place: Place) {
        let (sequence, pass) = request.pass(place);
        let start = self.batch.tokens();
        self.batch.push(&sequence.ids[pass.run.clone()], sequence.adapter);
        let spans = pass.cut(&sequence.spans);
        self.spans.extend(spans.map(|(_, span)| start + span.start..start + span.end));
        self.width = self.width.max(request.inputs[place.input].finish.width);
    }

    pub(crate) fn tokens(&self) -> usize {
        self.batch.tokens()
    }

    /// Sums of states; `None` if `go_on` stopped it.
    pub(crate) fn run(
        &self,
        forward: &dyn Forward,
        go_on: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<Option<Parts>> {
        let width = self.width;
        let sums = forward.pool_while(&self.batch, &self.spans, width, go_on)?;
        Ok(sums.map(|sums| Parts { sums, width }))
    }
}

/// Sums of the states of every span of a request, as far as its passes have run, with the dimensions
/// that each input keeps.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Of each input's document, `[spans, width]`, and of its empty text.
    inputs: Vec<[Vec<f32>; 2]>,
}

impl Sums {
    pub(crate) fn new(request: &Request) -> Self {
        let sums = |input: &Prepared| {
            let zeros = |sequence: &Sequence| vec![0.0; sequence.spans.len() * input.finish.width];
            [zeros(&input.document), input.blank.as_ref().map(zeros).unwrap_or_default()]
        };
        Self { inputs: request.inputs.iter().map(sums).collect() }
    }

    /// Adds what the pass at `place` holds of each span: takes as many of `parts`, and of each the
    /// leading dimensions that the input keeps. Windows of a document must come in their order, or the
    /// sum has other bits.
    pub(crate) fn add<'a>(
        &mut self,
        request: &Request,
        place: Place,
        parts: &mut impl Iterator<Item = &'a [f32]>,
    ) {
        let (sequence, pass) = request.pass(place);
        let width = request.inputs[place.input].finish.width;
        let sums = &mut self.inputs[place.input][usize::from(place.blank)];
        for ((span, _), part) in pass.cut(&sequence.spans).zip(parts) {
            let sum = &mut sums[span * width..][..width];
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }

    /// Mean states of each input's document and empty text; zeros for an empty span.
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
    use crate::request::Options;
    use crate::window::passes;
    use kokeshi_model::{Checkpoint, Device};
    use kokeshi_testkit::{Goldens, assert_close, fixture, json, unit_rows};
    use serde_json::from_value;

    fn sequence(ids: Vec<u32>, spans: Vec<Range<usize>>, size: usize) -> Sequence {
        let passes = passes(ids.len(), (size, size / 4), &spans);
        Sequence { ids, adapter: None, spans, passes }
    }

    fn request(documents: Vec<Sequence>, hidden: usize) -> Request {
        let finish = Finish::new(&Options::default(), hidden);
        let prepared = |document| Prepared { document, blank: None, truncated_tokens: 0, finish };
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
                    let run = Sequence { ids: ids.clone(), adapter: task, spans, passes };
                    means(&*forward, vec![run], &mut |_| ()).remove(0)
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
    fn batches_keep_the_order_and_the_budget_and_a_longer_pass_runs_alone() {
        let half = BATCH_TOKENS / 2;
        let lens = [half, half, 1, BATCH_TOKENS + 1, 1];
        let lens: Vec<_> = (0..lens.len()).map(|from| batch_len(&lens[from..])).collect();
        assert_eq!(lens, [2, 2, 1, 1, 1]);
    }

    #[test]
    fn progress_counts_inputs_that_are_done_and_tokens_that_ran() {
        let forward = tiny("v3-tiny/original");
        let (whole, both, size) = (0..6000, 0..2, 4000);
        let runs = vec![
            sequence(vec![5; 3], vec![0..3, 1..1], size),
            sequence(vec![7; 6000], vec![whole], size),
            sequence(vec![9; 2], vec![both], size),
        ];
        let mut seen = Vec::new();
        let means = means(&*forward, runs, &mut |progress| seen.push(progress));
        assert_eq!(means[0][64..], [0.0; 64], "an empty span");
        let total = 3 + 4000 + 3000 + 2;
        assert_eq!(
            seen,
            [Progress { inputs: 3, total_inputs: 3, tokens: total, total_tokens: total }]
        );
    }
}
