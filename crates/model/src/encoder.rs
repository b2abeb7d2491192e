//! The forward pass, written once for every backend.

use crate::backend::{Backend, BatchLayout};
use crate::batch::Batch;
use crate::config::EncoderConfig;
use crate::error::{Error, Result};
use crate::weights::{EncoderWeights, LayerWeights};
use kokeshi_kernels::layer_norm::Norm;
use kokeshi_kernels::turns::{Priority, Turn};
use std::fmt::Debug;
use std::ops::Range;

/// A loaded encoder.
///
/// A sequence gives the same bits alone and in any batch, at any index in it, with any number of
/// threads.
pub trait Forward: Debug + Send + Sync {
    /// The encoder's shape.
    fn config(&self) -> &EncoderConfig;

    /// Bytes of the weights: packed layers, and the embedding table with all pages of its file that
    /// the system may keep in memory.
    fn len_bytes(&self) -> usize;

    /// A description of the device and its precision, for people.
    fn device(&self) -> String;

    /// Last-layer states of all tokens, `[tokens, hidden]`.
    ///
    /// # Errors
    ///
    /// If the device fails, or the longest sequence does not fit its memory.
    ///
    /// # Panics
    ///
    /// If a token id is outside the vocabulary, an adapter index outside the tasks, or a sequence
    /// longer than `max_tokens`.
    fn hidden_states(&self, batch: &Batch) -> Result<Vec<f32>>;

    /// Sums of the last-layer states over token ranges of the whole batch, `[spans, hidden]`.
    ///
    /// # Errors
    ///
    /// As [`Forward::hidden_states`].
    ///
    /// # Panics
    ///
    /// As [`Forward::hidden_states`], or if a span is outside the batch.
    fn pool(&self, batch: &Batch, spans: &[Range<usize>]) -> Result<Vec<f32>> {
        let hidden = self.config().hidden;
        Ok(self.pool_while(batch, spans, hidden, &mut || true)?.unwrap_or_default())
    }

    /// As [`Forward::pool`], of the first `width` elements of states, `[spans, width]`: the same
    /// bits for every width. Calls `keep_running` before every layer, and stops with `None` as soon
    /// as it returns false.
    ///
    /// # Errors
    ///
    /// As [`Forward::hidden_states`].
    ///
    /// # Panics
    ///
    /// As [`Forward::pool`], or if states are narrower than `width`.
    fn pool_while(
        &self,
        batch: &Batch,
        spans: &[Range<usize>],
        width: usize,
        keep_running: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<Option<Vec<f32>>>;

    /// Waits for the right to run passes with `priority` on the calling thread. It lasts until the
    /// turn is dropped. Without a turn, passes are bulk. `None` if the device has no priorities.
    fn turn(&self, _priority: Priority) -> Option<Turn> {
        None
    }
}

/// A step of the forward pass whose states tests compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Embedded,
    EmbNorm,
    Qkv,
    QkNorm,
    Context,
    AttnOut,
    AttnNorm,
    SecondAttnNorm,
    Activated,
    Down,
    FfnNorm,
}

/// An encoder on one backend.
#[derive(Debug)]
pub(crate) struct Encoder<B: Backend> {
    config: EncoderConfig,
    backend: B,
    table: B::Table,
    emb_norm: B::Norm,
    layers: Vec<Layer<B>>,
}

#[derive(Debug)]
struct Layer<B: Backend> {
    qkv: B::Linear,
    qk_norms: Option<[B::Norm; 2]>,
    out: B::Linear,
    attn_norm: B::Norm,
    second_attn_norm: Option<B::Norm>,
    up: B::Linear,
    down: B::Linear,
    ffn_norm: B::Norm,
}

/// How a batch runs: as one pass, or as two halves if it does not fit the device's memory.
enum Reserved<'a, B: Backend + 'a> {
    Pass(B::Pass<'a>),
    Halves([Batch; 2]),
}

impl<B: Backend> Encoder<B> {
    pub(crate) fn new(config: &EncoderConfig, backend: B, weights: EncoderWeights) -> Result<Self> {
        let norm = |norm: Norm| backend.norm(norm);
        let layer = |layer: LayerWeights| -> Result<Layer<B>> {
            let qk_norms = layer.qk_norms.map(|[q, k]| -> Result<_> { Ok([norm(q)?, norm(k)?]) });
            Ok(Layer {
                qkv: backend.linear(layer.qkv)?,
                qk_norms: qk_norms.transpose()?,
                out: backend.linear(layer.out)?,
                attn_norm: norm(layer.attn_norm)?,
                second_attn_norm: layer.second_attn_norm.map(norm).transpose()?,
                up: backend.linear(layer.up)?,
                down: backend.linear(layer.down)?,
                ffn_norm: norm(layer.ffn_norm)?,
            })
        };
        let layers = weights.layers.into_iter().map(layer).collect::<Result<_>>()?;
        let (table, emb_norm) = (backend.table(weights.table)?, norm(weights.emb_norm)?);
        Ok(Self { config: config.clone(), backend, table, emb_norm, layers })
    }

    /// Reserves the device's memory for a batch.
    fn pass<'a>(&'a self, batch: &'a Batch) -> Result<B::Pass<'a>> {
        let longest = batch.sequences().map(|sequence| sequence.len()).max().unwrap_or(0);
        assert!(longest <= self.config.max_tokens, "a sequence of {longest} tokens is too long");
        let largest = batch.ids().iter().max().map_or(0, |&id| id as usize);
        assert!(largest < self.config.vocab, "token id {largest} is outside the vocabulary");
        let tasks = self.config.tasks.len();
        assert!(
            batch.adapters().iter().flatten().all(|&task| task < tasks),
            "an adapter index is outside the {tasks} tasks"
        );
        self.backend.check_table(&self.table)?;
        self.backend.pass(BatchLayout::new(&self.config, batch))
    }

    /// Runs all layers, or stops with `None` before the layer at which `keep_running` returns
    /// false. Calls `observe` with the layer's index and the states after each step.
    fn forward(
        &self,
        pass: &B::Pass<'_>,
        keep_running: &mut (dyn FnMut() -> bool + Send),
        observe: &mut dyn FnMut(usize, Point, &B::States),
    ) -> Option<B::States> {
        let b = &self.backend;
        let mut x = b.embed(pass, &self.table);
        observe(0, Point::Embedded, &x);
        let first = self.layers.first().map(|layer| &layer.qkv);
        b.add_norm(pass, &mut x, None, &self.emb_norm, first);
        observe(0, Point::EmbNorm, &x);
        for (i, layer) in self.layers.iter().enumerate() {
            if !keep_running() {
                return None;
            }
            let next = self.layers.get(i + 1).map(|layer| &layer.qkv);
            let mut observe_step = |point, x: &B::States| observe(i, point, x);
            x = layer.forward(b, pass, x, next, &mut observe_step);
        }
        Some(x)
    }

    /// Reserves a pass over the whole batch or, if it does not fit the device's memory, cuts it in
    /// two.
    fn reserve<'a>(&'a self, batch: &'a Batch) -> Result<Reserved<'a, B>> {
        match self.pass(batch) {
            Ok(pass) => Ok(Reserved::Pass(pass)),
            Err(error @ Error::DeviceMemory { .. }) => {
                Ok(Reserved::Halves(batch.halves().ok_or(error)?))
            }
            Err(error) => Err(error),
        }
    }
}

impl<B: Backend> Layer<B> {
    fn forward(
        &self,
        b: &B,
        pass: &B::Pass<'_>,
        mut x: B::States,
        next: Option<&B::Linear>,
        observe: &mut dyn FnMut(Point, &B::States),
    ) -> B::States {
        let mut qkv = b.project(pass, &x, &self.qkv, None);
        observe(Point::Qkv, &qkv);
        if let Some(norms) = &self.qk_norms {
            b.norm_qk(pass, &mut qkv, norms);
            observe(Point::QkNorm, &qkv);
        }
        let context = b.attend(pass, &qkv);
        drop(qkv);
        observe(Point::Context, &context);
        let mut attended = b.project(pass, &context, &self.out, None);
        drop(context);
        observe(Point::AttnOut, &attended);
        b.add_norm(pass, &mut attended, Some(&x), &self.attn_norm, Some(&self.up));
        observe(Point::AttnNorm, &attended);
        if let Some(norm) = &self.second_attn_norm {
            // The layer's input is added a second time.
            b.add_norm(pass, &mut attended, Some(&x), norm, Some(&self.up));
            observe(Point::SecondAttnNorm, &attended);
        }
        let up = b.project(pass, &attended, &self.up, Some(&self.down));
        observe(Point::Activated, &up);
        x = b.project(pass, &up, &self.down, None);
        observe(Point::Down, &x);
        b.add_norm(pass, &mut x, Some(&attended), &self.ffn_norm, next);
        observe(Point::FfnNorm, &x);
        x
    }
}

impl<B: Backend> Forward for Encoder<B> {
    fn config(&self) -> &EncoderConfig {
        &self.config
    }

    fn len_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.out, &l.up, &l.down]);
        let layers = layers.map(|layer| self.backend.len_bytes(layer)).sum::<usize>();
        self.backend.table_len_bytes(&self.table) + layers
    }

    fn device(&self) -> String {
        self.backend.describe()
    }

    fn hidden_states(&self, batch: &Batch) -> Result<Vec<f32>> {
        self.backend.within(|| {
            let pass = match self.reserve(batch)? {
                Reserved::Pass(pass) => pass,
                Reserved::Halves(halves) => {
                    let [first, second] = halves.each_ref().map(|half| self.hidden_states(half));
                    return Ok([first?, second?].concat());
                }
            };
            let states = self.forward(&pass, &mut || true, &mut |_, _, _| {});
            states.map_or(Ok(Vec::new()), |states| self.backend.download(&pass, &states))
        })
    }

    fn pool_while(
        &self,
        batch: &Batch,
        spans: &[Range<usize>],
        width: usize,
        keep_running: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<Option<Vec<f32>>> {
        assert!(width <= self.config.hidden, "states have {} elements", self.config.hidden);
        self.backend.within(|| {
            let pass = match self.reserve(batch)? {
                Reserved::Pass(pass) => pass,
                Reserved::Halves(halves) => {
                    return self.pool_halves(&halves, spans, width, keep_running);
                }
            };
            let states = self.forward(&pass, keep_running, &mut |_, _, _| {});
            states.map(|states| self.backend.pool(&pass, &states, spans, width)).transpose()
        })
    }

    fn turn(&self, priority: Priority) -> Option<Turn> {
        self.backend.turn(priority)
    }
}

impl<B: Backend> Encoder<B> {
    /// As [`Forward::pool_while`], for a batch that was cut in two.
    fn pool_halves(
        &self,
        halves: &[Batch; 2],
        spans: &[Range<usize>],
        width: usize,
        keep_running: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<Option<Vec<f32>>> {
        let cut = halves[0].tokens();
        let before = |span: &Range<usize>| span.start.min(cut)..span.end.min(cut);
        let after = |span: &Range<usize>| span.start.max(cut) - cut..span.end.max(cut) - cut;
        let spans = [spans.iter().map(before).collect(), spans.iter().map(after).collect()];
        let mut sums: Option<Vec<f32>> = None;
        for (half, spans) in halves.iter().zip::<[Vec<Range<usize>>; 2]>(spans) {
            let Some(part) = self.pool_while(half, &spans, width, keep_running)? else {
                return Ok(None);
            };
            match &mut sums {
                None => sums = Some(part),
                Some(sums) => sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part),
            }
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests;
