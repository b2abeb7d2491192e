//! Finds the parts of the network among a checkpoint's tensors, by their canonical names. A tensor
//! that is missing, unused, or of another shape than the configuration says is an error.

use crate::adapter::Adapter;
use crate::checkpoint::Checkpoint;
use crate::config::{EncoderConfig, Modules, Scheme};
use crate::error::{Error, Result};
use crate::lora::{Update, bank, stack};
use crate::matrix::StoredMatrix;
use crate::named::NamedTensors;
use crate::names::{Layout, canonical, canonical_peft};
use crate::table::{Table, TableAdapter};
use kokeshi_kernels::gemm::{Activation, LoraBank};
use kokeshi_kernels::layer_norm::Norm;
use std::ops::Range;

/// All weights of an encoder, still in the checkpoint's files.
#[derive(Debug)]
pub(crate) struct EncoderWeights {
    pub(crate) table: Table,
    pub(crate) emb_norm: Norm,
    pub(crate) layers: Vec<LayerWeights>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) qkv: LinearWeights,          // [3 * hidden, hidden]
    pub(crate) qk_norms: Option<[Norm; 2]>, // over all heads together
    pub(crate) out: LinearWeights,          // [hidden, hidden]
    pub(crate) attn_norm: Norm,
    pub(crate) second_attn_norm: Option<Norm>,
    pub(crate) up: LinearWeights, // [ffn_hidden, hidden]; twice the rows if gated, gates first
    pub(crate) down: LinearWeights, // [hidden, ffn_hidden]
    pub(crate) ffn_norm: Norm,
}

/// A linear layer.
#[derive(Debug)]
pub(crate) struct LinearWeights {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Vec<f32>, // [rows], or empty
    pub(crate) lora: Option<LoraBank>,
    pub(crate) activation: Option<Activation>,
}

/// A weight of `[rows, inputs]`: ranges of rows of stored matrices, one after the other.
#[derive(Debug)]
pub(crate) struct Matrix {
    parts: Vec<(StoredMatrix, Range<usize>)>,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
}

impl Matrix {
    fn new(parts: Vec<(StoredMatrix, Range<usize>)>, inputs: usize) -> Self {
        Self { rows: parts.iter().map(|(_, rows)| rows.len()).sum(), parts, inputs }
    }

    /// The part that contains row `row`, and the row's index in it.
    fn part(&self, mut row: usize) -> Option<(&StoredMatrix, usize)> {
        for (stored, rows) in &self.parts {
            if row < rows.len() {
                return Some((stored, rows.start + row));
            }
            row -= rows.len();
        }
        None
    }

    /// Widens row `row` into `to`.
    pub(crate) fn read_row(&self, row: usize, to: &mut [f32]) {
        if let Some((stored, row)) = self.part(row) {
            stored.read_row(row, to);
        }
    }

    /// Writes the integers of row `row` to `to`, without the row's scale.
    pub(crate) fn read_integers(&self, row: usize, to: &mut [f32]) {
        if let Some((StoredMatrix::Integers(integers), row)) = self.part(row) {
            integers.read_integers(row, to);
        }
    }

    /// The scale of each row, if every row consists of integers with one scale.
    pub(crate) fn row_scales(&self) -> Option<Vec<f32>> {
        let scales = |(stored, rows): &(StoredMatrix, Range<usize>)| match stored {
            StoredMatrix::Integers(integers) => integers.row_scales(rows.clone()),
            StoredMatrix::Floats(_) => None,
        };
        self.parts.iter().map(scales).collect::<Option<Vec<_>>>().map(|scales| scales.concat())
    }

    /// Whether every element is stored as bf16.
    pub(crate) fn is_bf16(&self) -> bool {
        self.parts.iter().all(|(stored, _)| stored.is_bf16())
    }

    /// Returns the pages of the files to the system once the elements have been copied.
    pub(crate) fn release(&self) {
        self.parts.iter().for_each(|(stored, _)| stored.release());
    }
}

/// Finds the parts of the network in a checkpoint.
pub(crate) fn read_weights(checkpoint: &Checkpoint) -> Result<EncoderWeights> {
    let mut loader = Loader::new(checkpoint)?;
    let config = &checkpoint.config;
    let weights = EncoderWeights {
        table: loader.table()?,
        emb_norm: loader.norm("emb_ln")?,
        layers: (0..config.layers).map(|i| loader.layer(i)).collect::<Result<_>>()?,
    };
    loader.finish()?;
    Ok(weights)
}

struct Loader<'a> {
    config: &'a EncoderConfig,
    layout: Layout,
    base: NamedTensors,
    adapters: Vec<(&'a Adapter, NamedTensors)>,
    checkpoint: &'a Checkpoint,
    /// The configuration's schemes that no weight has followed yet.
    pending: Vec<Scheme>,
}

impl<'a> Loader<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let named = |adapter: &'a Adapter| {
            let names = NamedTensors::new(&adapter.folder, &adapter.tensors, canonical_peft)?;
            Ok((adapter, names))
        };
        Ok(Self {
            config: &checkpoint.config,
            layout: checkpoint.layout(),
            base: NamedTensors::new(&checkpoint.location, &checkpoint.tensors, canonical)?,
            adapters: checkpoint.adapters.iter().map(named).collect::<Result<_>>()?,
            checkpoint,
            pending: checkpoint.schemes.clone().unwrap_or_default(),
        })
    }

    fn layer(&mut self, i: usize) -> Result<LayerWeights> {
        let EncoderConfig { hidden, ffn_hidden, .. } = *self.config;
        let path = |module: &str| format!("encoder.layers.{i}.{module}");
        let post_norm = self.layout == Layout::BertQkPostNorm;
        let qk_norms = [path("mixer.norm_q"), path("mixer.norm_k")];
        Ok(LayerWeights {
            qkv: self.qkv(&path("mixer"))?,
            qk_norms: match &qk_norms {
                [q, k] if post_norm => Some([self.norm(q)?, self.norm(k)?]),
                _ => None,
            },
            out: self.linear(&path("mixer.out_proj"), [hidden, hidden])?,
            attn_norm: self.norm(&path("norm1"))?,
            second_attn_norm: post_norm.then(|| self.norm(&path("second_norm1"))).transpose()?,
            up: self.up(&path("mlp.fc1"))?,
            down: self.linear(&path("mlp.fc2"), [hidden, ffn_hidden])?,
            ffn_norm: self.norm(&path("norm2"))?,
        })
    }

    /// The first feed-forward projection, with its activation. A gated one has no bias, and gates
    /// come first: the qk-post-norm layout stores them second.
    fn up(&mut self, module: &str) -> Result<LinearWeights> {
        let EncoderConfig { hidden, ffn_hidden, activation, .. } = *self.config;
        if !activation.is_gated() {
            let linear = self.linear(module, [ffn_hidden, hidden])?;
            return Ok(LinearWeights { activation: Some(activation), ..linear });
        }
        let stored = self.matrix(module, [2 * ffn_hidden, hidden], Modules::Linear)?;
        let (mut gates, mut values) = (0..ffn_hidden, ffn_hidden..2 * ffn_hidden);
        if self.layout == Layout::BertQkPostNorm {
            std::mem::swap(&mut gates, &mut values);
        }
        let matrix = Matrix::new(vec![(stored.clone(), gates), (stored, values)], hidden);
        Ok(LinearWeights { matrix, bias: Vec::new(), lora: None, activation: Some(activation) })
    }

    fn norm(&mut self, module: &str) -> Result<Norm> {
        let shape = [self.config.hidden];
        Ok(Norm {
            gain: self.base.take(module, "weight", &shape)?.to_vec(),
            bias: self.base.take(module, "bias", &shape)?.to_vec(),
            eps: self.config.norm_eps,
        })
    }

    fn linear(&mut self, module: &str, [outputs, inputs]: [usize; 2]) -> Result<LinearWeights> {
        let updates = self.updates(module, [outputs, inputs])?;
        let stored = self.matrix(module, [outputs, inputs], Modules::Linear)?;
        Ok(LinearWeights {
            matrix: Matrix::new(vec![(stored, 0..outputs)], inputs),
            bias: self.base.take(module, "bias", &[outputs])?.to_vec(),
            lora: bank(updates, [outputs, inputs]),
            activation: None,
        })
    }

    /// The fused projection to q, k and v, which some layouts store separately.
    fn qkv(&mut self, mixer: &str) -> Result<LinearWeights> {
        let hidden = self.config.hidden;
        let shape = [3 * hidden, hidden];
        let fused = format!("{mixer}.Wqkv");
        let split = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{mixer}.{part}"));
        if self.layout == Layout::Original {
            return self.linear(&fused, shape);
        }
        // Base weights and adapters may differ in form: PEFT adapters cover q, k and v one by one
        // even where the weights are fused.
        let mut updates = self.updates(&fused, shape)?;
        for (task, (adapter, names)) in self.adapters.iter_mut().enumerate() {
            if updates[task].is_none() {
                let parts =
                    split.each_ref().map(|part| names.update(adapter, part, [hidden, hidden]));
                let [q, k, v] = parts;
                updates[task] = stack([q?, k?, v?], hidden);
            }
        }
        let fused = [fused];
        let modules = if self.layout == Layout::NativeFused { &fused[..] } else { &split[..] };
        let rows = 3 * hidden / modules.len();
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for module in modules {
            parts.push((self.matrix(module, [rows, hidden], Modules::Linear)?, 0..rows));
            bias.extend(self.base.take(module, "bias", &[rows])?.to_vec());
        }
        let matrix = Matrix::new(parts, hidden);
        Ok(LinearWeights { matrix, bias, lora: bank(updates, shape), activation: None })
    }

    /// The low-rank update of each task on `module`.
    fn updates(
        &mut self,
        module: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Vec<Option<Update>>> {
        if self.layout != Layout::Original {
            let update = |(adapter, names): &mut (&Adapter, NamedTensors)| {
                names.update(adapter, module, [outputs, inputs])
            };
            return self.adapters.iter_mut().map(update).collect();
        }
        let (tasks, rank) = (self.config.tasks.len(), self.config.lora_rank);
        if tasks == 0 || rank == 0 {
            return Ok(Vec::new());
        }
        let a = self.base.take(module, "lora_A", &[tasks, rank, inputs])?.to_vec();
        let b = self.base.take(module, "lora_B", &[tasks, outputs, rank])?.to_vec();
        let pairs = a.chunks_exact(rank * inputs).zip(b.chunks_exact(outputs * rank));
        let scale = self.config.lora_scale;
        Ok(pairs.map(|(a, b)| Some(Update::new(rank, a.to_vec(), b, scale))).collect())
    }

    fn table(&mut self) -> Result<Table> {
        let EncoderConfig { vocab, token_types, hidden, .. } = *self.config;
        let (words, types) = ("embeddings.word_embeddings", "embeddings.token_type_embeddings");
        let word_adapters = self.table_adapters(words, vocab)?;
        let type_adapters = self.table_adapters(types, token_types)?;
        let word = self.matrix(words, [vocab, hidden], Modules::Embedding)?;
        let token_type = self.matrix(types, [token_types, hidden], Modules::Embedding)?;
        Ok(Table::new(word, word_adapters, &Table::new(token_type, type_adapters, &[]).rows(0)))
    }

    /// The low-rank update of each task on an embedding of `rows` rows.
    fn table_adapters(&mut self, module: &str, rows: usize) -> Result<Vec<Option<TableAdapter>>> {
        let hidden = self.config.hidden;
        if self.layout != Layout::Original {
            let update = |(adapter, names): &mut (&Adapter, NamedTensors)| {
                names.table_update(adapter, module, rows, hidden)
            };
            return self.adapters.iter_mut().map(update).collect();
        }
        let (tasks, rank) = (self.config.tasks.len(), self.config.lora_rank);
        if tasks == 0 || rank == 0 {
            return Ok(Vec::new());
        }
        let a = self.base.take(module, "lora_A", &[tasks, rows, rank])?;
        let b = self.base.take(module, "lora_B", &[tasks, rank, hidden])?.to_vec();
        let b = b.chunks_exact(rank * hidden).enumerate();
        let adapter = |(task, b): (usize, &[f32])| TableAdapter {
            a: a.clone(),
            start: task * rows * rank,
            row_stride: rank,
            rank_stride: 1,
            b: b.iter().map(|x| x * self.config.lora_scale).collect(),
        };
        Ok(b.map(|task| Some(adapter(task))).collect())
    }

    /// The weight of a module, which must be what the configuration says, if it says anything.
    fn matrix(&mut self, module: &str, shape: [usize; 2], kind: Modules) -> Result<StoredMatrix> {
        let stored = self.base.take_matrix(module, shape)?;
        let (StoredMatrix::Integers(integers), Some(schemes)) = (&stored, &self.checkpoint.schemes)
        else {
            return Ok(stored);
        };
        let follows = |scheme: &Scheme| scheme.applies_to(kind) && integers.follows(scheme);
        if !schemes.iter().any(follows) {
            let found = integers.scheme();
            let reason = format!("{found} is not what `quantization_config` describes");
            return Err(Error::Quantized {
                name: integers.values.name.to_string(),
                path: integers.values.path().to_owned(),
                reason,
            });
        }
        self.pending.retain(|scheme| !follows(scheme));
        Ok(stored)
    }

    fn finish(self) -> Result<()> {
        if let Some(scheme) = self.pending.first() {
            let checkpoint = self.checkpoint.location.clone();
            return Err(Error::NotQuantized { checkpoint, scheme: scheme.to_string() });
        }
        let adapters = self.adapters.into_iter().map(|(_, names)| names);
        std::iter::once(self.base).chain(adapters).try_for_each(NamedTensors::finish)
    }
}
