//! The forward pass: one text for every backend.

use crate::backend::{Backend, Shape};
use crate::batch::Batch;
use crate::config::EncoderConfig;
use crate::table::Table;
use crate::weights::{EncoderWeights, LayerWeights};
use kokeshi_kernels::layer_norm::Norm;
use kokeshi_kernels::turns::{Priority, Turn};
use std::fmt::Debug;
use std::ops::Range;

/// A loaded encoder.
///
/// A sequence gives the same bits alone and in any batch, at any place in it, with any number of
/// threads.
pub trait Forward: Debug + Send + Sync {
    /// The encoder's shape.
    fn config(&self) -> &EncoderConfig;

    /// Bytes that the weights take: packed layers, and the embedding table with all pages of its
    /// file that the system may keep in memory.
    fn len_bytes(&self) -> usize;

    /// Last-layer states of all tokens, `[tokens, hidden]`.
    ///
    /// # Panics
    ///
    /// If a token id is outside the vocabulary, an adapter index outside the tasks, or a sequence
    /// longer than `max_tokens`.
    fn hidden_states(&self, batch: &Batch) -> Vec<f32>;

    /// Sums of the last-layer states over token ranges of the whole batch, `[spans, hidden]`.
    ///
    /// # Panics
    ///
    /// As [`Forward::hidden_states`], or if a span lies outside the batch.
    fn pool(&self, batch: &Batch, spans: &[Range<usize>]) -> Vec<f32> {
        self.pool_while(batch, spans, &mut || true).unwrap_or_default()
    }

    /// As [`Forward::pool`]; asks `go_on` before every layer, and gives the batch up with `None` as
    /// soon as the answer is no.
    ///
    /// # Panics
    ///
    /// As [`Forward::pool`].
    fn pool_while(
        &self,
        batch: &Batch,
        spans: &[Range<usize>],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Vec<f32>>;

    /// Waits until the calling thread may run passes with `priority`, and lets it until the turn is
    /// dropped. Without a turn passes are bulk. `None` where the device knows no priorities.
    fn turn(&self, _priority: Priority) -> Option<Turn> {
        None
    }
}

/// Token states between two steps of the forward pass, for tests that look inside.
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
    table: Table,
    emb_norm: Norm,
    layers: Vec<Layer<B>>,
}

#[derive(Debug)]
struct Layer<B: Backend> {
    qkv: B::Linear,
    qk_norms: Option<[Norm; 2]>,
    out: B::Linear,
    attn_norm: Norm,
    second_attn_norm: Option<Norm>,
    up: B::Linear,
    down: B::Linear,
    ffn_norm: Norm,
}

impl<B: Backend> Encoder<B> {
    pub(crate) fn new(config: &EncoderConfig, backend: B, weights: EncoderWeights) -> Self {
        let layer = |layer: LayerWeights| Layer {
            qkv: backend.linear(layer.qkv),
            qk_norms: layer.qk_norms,
            out: backend.linear(layer.out),
            attn_norm: layer.attn_norm,
            second_attn_norm: layer.second_attn_norm,
            up: backend.linear(layer.up),
            down: backend.linear(layer.down),
            ffn_norm: layer.ffn_norm,
        };
        let layers = weights.layers.into_iter().map(layer).collect();
        let config = config.clone();
        Self { config, backend, table: weights.table, emb_norm: weights.emb_norm, layers }
    }

    /// Runs all layers, or stops before one that `go_on` does not want. `observe` is shown the states
    /// after each step, with the layer's index.
    pub(crate) fn forward(
        &self,
        batch: &Batch,
        go_on: &mut dyn FnMut() -> bool,
        observe: &mut dyn FnMut(usize, Point, &B::States),
    ) -> Option<B::States> {
        let longest = batch.sequences().map(|sequence| sequence.len()).max().unwrap_or(0);
        assert!(longest <= self.config.max_tokens, "a sequence of {longest} tokens is too long");
        let (b, shape) = (&self.backend, &Shape::new(&self.config, batch));
        let mut x = b.embed(&self.table, batch.ids(), shape);
        observe(0, Point::Embedded, &x);
        b.norm(&mut x, &self.emb_norm);
        observe(0, Point::EmbNorm, &x);
        for (i, layer) in self.layers.iter().enumerate() {
            if !go_on() {
                return None;
            }
            let mut seen = |point, x: &B::States| observe(i, point, x);
            x = layer.forward(b, shape, x, &mut seen);
        }
        Some(x)
    }
}

impl<B: Backend> Layer<B> {
    fn forward(
        &self,
        b: &B,
        shape: &Shape<'_>,
        mut x: B::States,
        seen: &mut dyn FnMut(Point, &B::States),
    ) -> B::States {
        let mut qkv = b.project(&x, &self.qkv, shape);
        seen(Point::Qkv, &qkv);
        if let Some(norms) = &self.qk_norms {
            b.norm_qk(&mut qkv, norms);
            seen(Point::QkNorm, &qkv);
        }
        let context = b.attend(&qkv, shape);
        drop(qkv);
        seen(Point::Context, &context);
        let mut attended = b.project(&context, &self.out, shape);
        seen(Point::AttnOut, &attended);
        b.add_norm(&mut attended, &x, &self.attn_norm);
        seen(Point::AttnNorm, &attended);
        if let Some(norm) = &self.second_attn_norm {
            // The layer's input is added a second time.
            b.add_norm(&mut attended, &x, norm);
            seen(Point::SecondAttnNorm, &attended);
        }
        let up = b.project(&attended, &self.up, shape);
        seen(Point::Activated, &up);
        x = b.project(&up, &self.down, shape);
        seen(Point::Down, &x);
        b.add_norm(&mut x, &attended, &self.ffn_norm);
        seen(Point::FfnNorm, &x);
        x
    }
}

impl<B: Backend> Forward for Encoder<B> {
    fn config(&self) -> &EncoderConfig {
        &self.config
    }

    fn len_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.out, &l.up, &l.down]);
        self.table.len_bytes() + layers.map(|l| self.backend.len_bytes(l)).sum::<usize>()
    }

    fn hidden_states(&self, batch: &Batch) -> Vec<f32> {
        let states = self.forward(batch, &mut || true, &mut |_, _, _| {});
        states.map(|states| self.backend.download(&states)).unwrap_or_default()
    }

    fn pool_while(
        &self,
        batch: &Batch,
        spans: &[Range<usize>],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Vec<f32>> {
        let states = self.forward(batch, go_on, &mut |_, _, _| {})?;
        Some(self.backend.pool(&states, self.config.hidden, spans))
    }

    fn turn(&self, priority: Priority) -> Option<Turn> {
        self.backend.turn(priority)
    }
}

#[cfg(test)]
mod tests;
