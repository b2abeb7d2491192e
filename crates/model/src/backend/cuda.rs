//! NVIDIA cards: weights, states and positions are on the card, and only sums are copied back.

use super::{Backend, BatchLayout};
use crate::alibi::alibi_slopes;
use crate::config::{EncoderConfig, Position};
use crate::error::{Error, Result};
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_cuda::{Arena, Attention, DType, Embedding, Gate, Gpu, Layer, PackedBatch, States};
use kokeshi_kernels::Precision;
use kokeshi_kernels::gemm::Activation;
use kokeshi_kernels::layer_norm::Norm;
use kokeshi_kernels::rope::RopeTable;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The CUDA backend. Forward passes take turns: one fills the card.
#[derive(Debug)]
pub(crate) struct Cuda {
    gpu: Gpu,
    arena: Arena,
    attention: Attention,
    /// Elements after each row of states: as many as the widest low-rank tail of a layer has.
    tail: AtomicUsize,
    turn: Mutex<()>,
}

/// A linear layer and its activation.
#[derive(Debug)]
pub(crate) struct Linear {
    linear: kokeshi_cuda::Linear,
    activation: Option<Activation>,
}

/// A forward pass. It owns the card until it ends.
pub(crate) struct Pass<'a> {
    config: &'a EncoderConfig,
    batch: PackedBatch,
    tail: usize,
    /// The first error. No operation runs after it.
    error: RefCell<Option<kokeshi_cuda::Error>>,
    _turn: MutexGuard<'a, ()>,
}

/// The type of states and weights on a card that computes in `precision`.
///
/// # Errors
///
/// [`Error::Precision`] if cards do not compute in it.
pub fn card_dtype(precision: Precision) -> Result<DType> {
    match precision {
        Precision::F32 => Ok(DType::F32),
        Precision::F16 => Ok(DType::F16),
        Precision::Bf16 => Ok(DType::Bf16),
        Precision::Int8 => {
            Err(Error::Precision { precision, device: "a card", supported: "f32, f16 and bf16" })
        }
    }
}

/// The precision of card `ordinal` if none is requested: bf16 if its tensor cores multiply it, else
/// f16.
///
/// # Errors
///
/// If the card cannot be used.
pub fn default_card_precision(ordinal: usize) -> Result<Precision> {
    Ok(match kokeshi_cuda::best_dtype(ordinal)? {
        DType::F32 => Precision::F32,
        DType::F16 => Precision::F16,
        DType::Bf16 => Precision::Bf16,
    })
}

/// Uploads the tables of positions that attention reads.
fn upload_position(config: &EncoderConfig, gpu: &Gpu) -> Result<kokeshi_cuda::Position> {
    match config.position {
        Position::Rope { theta } => {
            let positions = config.max_tokens;
            let table = RopeTable::new(positions, config.head_dim(), theta);
            let rows = || (0..positions).map(|position| table.at(position));
            let cos: Vec<f32> = rows().flat_map(|(cos, _)| cos).copied().collect();
            let sin: Vec<f32> = rows().flat_map(|(_, sin)| sin).copied().collect();
            let (cos, sin) = (gpu.upload(&cos)?, gpu.upload(&sin)?);
            Ok(kokeshi_cuda::Position::Rope { cos, sin, positions })
        }
        Position::Alibi => {
            let slopes = alibi_slopes(config.heads).into_iter();
            let slopes: Vec<f32> = slopes.map(|slope| slope * std::f32::consts::LOG2_E).collect();
            Ok(kokeshi_cuda::Position::Alibi { slopes: gpu.upload(&slopes)? })
        }
    }
}

impl Cuda {
    /// # Errors
    ///
    /// If the card cannot be used, or does not support this model.
    pub(crate) fn new(
        config: &EncoderConfig,
        ordinal: usize,
        precision: Precision,
    ) -> Result<Self> {
        Self::with_gpu(config, Gpu::open(ordinal, card_dtype(precision)?)?)
    }

    pub(crate) fn with_gpu(config: &EncoderConfig, gpu: Gpu) -> Result<Self> {
        let (hidden, head_dim) = (config.hidden, config.head_dim());
        let rotary = matches!(config.position, Position::Rope { .. });
        gpu.check_shape([hidden, config.ffn_hidden, head_dim], rotary)?;
        let position = upload_position(config, &gpu)?;
        let attention = Attention { heads: config.heads, head_dim, position };
        let (arena, tail, turn) = (Arena::default(), AtomicUsize::new(0), Mutex::default());
        Ok(Self { gpu, arena, attention, tail, turn })
    }

    /// Starts an operation that writes rows of `width` elements, and returns them.
    fn output(
        &self,
        pass: &Pass<'_>,
        width: usize,
        work: impl FnOnce(&mut States) -> kokeshi_cuda::Result<()>,
    ) -> States {
        let mut out = States::none();
        self.run(pass, || {
            out = self.arena.take(&self.gpu, pass.batch.rows(), width, pass.tail)?;
            work(&mut out)
        });
        out
    }

    /// Starts an operation, unless an earlier one has failed or the batch is empty.
    fn run(&self, pass: &Pass<'_>, work: impl FnOnce() -> kokeshi_cuda::Result<()>) {
        if pass.error.borrow().is_none() && pass.batch.rows() > 0 {
            *pass.error.borrow_mut() = work().err();
        }
    }
}

impl Backend for Cuda {
    type Linear = Linear;
    type Norm = kokeshi_cuda::Norm;
    type Table = Embedding;
    type States = States;
    type Pass<'a> = Pass<'a>;

    fn describe(&self) -> String {
        let card = self.gpu.card();
        format!("cuda:{} ({}, {})", card.ordinal, card.name, self.gpu.dtype().name())
    }

    fn linear(&self, weights: LinearWeights) -> Result<Linear> {
        let LinearWeights { matrix, bias, lora, activation } = weights;
        let (down, up, rank) = match &lora {
            Some(bank) => (&bank.down[..], &bank.up[..], bank.rank),
            None => (&[][..], &[][..], 0),
        };
        let (outputs, inputs) = (matrix.rows, matrix.inputs);
        let layer = Layer { outputs, inputs, bias: &bias, down, up, rank };
        self.tail.fetch_max(layer.tail(), Ordering::Relaxed);
        let linear = self.gpu.linear(&layer, &mut |row, to| matrix.read_row(row, to))?;
        matrix.release();
        Ok(Linear { linear, activation })
    }

    fn norm(&self, norm: Norm) -> Result<kokeshi_cuda::Norm> {
        let (gain, bias) = (self.gpu.upload(&norm.gain)?, self.gpu.upload(&norm.bias)?);
        Ok(kokeshi_cuda::Norm { gain, bias, eps: norm.eps, width: norm.gain.len() })
    }

    fn table(&self, table: Table) -> Result<Embedding> {
        let (gpu, hidden, vocab) = (&self.gpu, table.hidden(), table.vocab());
        let word =
            gpu.upload_rows(vocab, [hidden; 2], &mut |row, to| table.gather_word(row, to))?;
        let (rank, a, b) = table.low_rank();
        let shift = table.shift().concat();
        let shifts = table.shift().len();
        let [a, b, shift] = [a, b, shift].map(|values| gpu.upload(&values));
        table.release();
        Ok(Embedding { word, a: a?, b: b?, shift: shift?, vocab, rank, shifts, hidden })
    }

    fn len_bytes(&self, linear: &Linear) -> usize {
        linear.linear.len_bytes()
    }

    fn table_len_bytes(&self, table: &Embedding) -> usize {
        [&table.word, &table.a, &table.b, &table.shift].map(kokeshi_cuda::Memory::len).iter().sum()
    }

    fn pass<'a>(&'a self, batch: BatchLayout<'a>) -> Result<Pass<'a>> {
        let BatchLayout { config, ids, sequences, adapters } = batch;
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (tail, element) = (self.tail.load(Ordering::Relaxed), self.gpu.dtype().len_bytes());
        let len_bytes = |width: usize| ids.len() * (width + tail) * element;
        let gated = config.activation.is_gated();
        let wide = if gated { 2 * config.ffn_hidden } else { config.ffn_hidden };
        // Three of width `hidden` (the layer's input, the attention's result and one more), one of
        // the widest rows, and one of gated activations.
        let narrow = [len_bytes(config.hidden); 3];
        let wide = [len_bytes(wide.max(3 * config.hidden))];
        let gates = gated.then_some(len_bytes(config.ffn_hidden));
        let sizes: Vec<usize> = narrow.into_iter().chain(wide).chain(gates).collect();
        let packed = self
            .arena
            .reserve(&self.gpu, &sizes)
            .and_then(|()| self.gpu.pack_batch(ids, &adapters, &sequences, config.head_dim()));
        let packed = packed.map_err(|error| match error {
            kokeshi_cuda::Error::Memory { .. } => {
                Error::DeviceMemory { tokens: ids.len(), bytes: sizes.iter().sum() }
            }
            other => other.into(),
        })?;
        Ok(Pass { config, batch: packed, tail, error: RefCell::default(), _turn: turn })
    }

    fn embed(&self, pass: &Pass<'_>, table: &Embedding) -> States {
        self.output(pass, table.hidden, |x| self.gpu.embed(&pass.batch, table, x))
    }

    fn project(
        &self,
        pass: &Pass<'_>,
        x: &States,
        linear: &Linear,
        next: Option<&Linear>,
    ) -> States {
        let next = next.map(|next| (&next.linear, &pass.batch));
        let outputs = linear.linear.outputs();
        let mut y =
            self.output(pass, outputs, |y| self.gpu.project(x, &pass.batch, &linear.linear, y));
        let activation = match linear.activation {
            None => return y,
            Some(Activation::Gelu) => {
                self.run(pass, || self.gpu.gelu(&mut y, next));
                return y;
            }
            Some(Activation::GeGlu) => Gate::GeGlu,
            Some(Activation::ReGlu) => Gate::ReGlu,
        };
        self.output(pass, outputs / 2, |gated| self.gpu.gate(activation, &y, gated))
    }

    fn norm_qk(&self, pass: &Pass<'_>, qkv: &mut States, norms: &[kokeshi_cuda::Norm; 2]) {
        for (part, norm) in norms.iter().enumerate() {
            self.run(pass, || self.gpu.add_norm(qkv, part, None, norm, None));
        }
    }

    fn attend(&self, pass: &Pass<'_>, qkv: &States) -> States {
        self.output(pass, pass.config.hidden, |out| {
            self.gpu.attend(qkv, &pass.batch, &self.attention, out)
        })
    }

    fn add_norm(
        &self,
        pass: &Pass<'_>,
        x: &mut States,
        residual: Option<&States>,
        norm: &kokeshi_cuda::Norm,
        next: Option<&Linear>,
    ) {
        let next = next.map(|next| (&next.linear, &pass.batch));
        self.run(pass, || self.gpu.add_norm(x, 0, residual, norm, next));
    }

    fn pool(
        &self,
        pass: &Pass<'_>,
        x: &States,
        spans: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>> {
        match pass.error.take() {
            Some(error) => Err(error.into()),
            None if pass.batch.rows() == 0 => Ok(vec![0.0; spans.len() * width]),
            None => Ok(self.gpu.pool(x, width, spans)?),
        }
    }

    fn download(&self, pass: &Pass<'_>, x: &States) -> Result<Vec<f32>> {
        match pass.error.take() {
            Some(error) => Err(error.into()),
            None if pass.batch.rows() == 0 => Ok(Vec::new()),
            None => Ok(self.gpu.read(x)?),
        }
    }
}
