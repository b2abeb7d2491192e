//! The specification: plain loops, f64 sums, no threads. Every other backend is tested against it,
//! and it is tested against the goldens of the published implementation.

use super::{Backend, BatchLayout};
use crate::alibi::alibi_slopes;
use crate::config::Position;
use crate::error::Result;
use crate::table::Table;
use crate::weights::LinearWeights;
use kokeshi_kernels::gemm::{Activation, LoraBank};
use kokeshi_kernels::layer_norm::Norm;
use std::ops::Range;

/// The reference backend.
#[derive(Debug)]
pub(crate) struct Reference;

/// A linear layer as stored in the checkpoint, widened to f32.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Vec<f32>, // [outputs, inputs]
    bias: Vec<f32>,   // [outputs], or empty
    lora: Option<LoraBank>,
    activation: Option<Activation>,
    inputs: usize,
}

impl Backend for Reference {
    type Linear = Linear;
    type Norm = Norm;
    type Table = Table;
    type States = Vec<f64>;
    type Pass<'a> = BatchLayout<'a>;

    fn describe(&self) -> String {
        "reference".to_owned()
    }

    fn linear(&self, weights: LinearWeights) -> Result<Linear> {
        let inputs = weights.matrix.inputs;
        let mut weight = vec![0.0; weights.matrix.rows * inputs];
        for (i, row) in weight.chunks_exact_mut(inputs).enumerate() {
            weights.matrix.read_row(i, row);
        }
        let LinearWeights { bias, lora, activation, .. } = weights;
        Ok(Linear { weight, bias, lora, activation, inputs })
    }

    fn norm(&self, norm: Norm) -> Result<Norm> {
        Ok(norm)
    }

    fn table(&self, table: Table) -> Result<Table> {
        Ok(table)
    }

    fn len_bytes(&self, linear: &Linear) -> usize {
        let lora = linear.lora.as_ref().map_or(0, LoraBank::len_bytes);
        size_of_val(&linear.weight[..]) + size_of_val(&linear.bias[..]) + lora
    }

    fn table_len_bytes(&self, table: &Table) -> usize {
        table.len_bytes()
    }

    fn check_table(&self, table: &Table) -> Result<()> {
        table.check()
    }

    fn pass<'a>(&'a self, batch: BatchLayout<'a>) -> Result<BatchLayout<'a>> {
        Ok(batch)
    }

    fn embed(&self, batch: &BatchLayout<'_>, table: &Table) -> Vec<f64> {
        let mut row = vec![0.0; table.hidden()];
        let mut x = Vec::new();
        for (&id, &adapter) in batch.ids.iter().zip(&batch.adapters) {
            table.gather(id as usize, adapter, &mut row);
            x.extend(row.iter().map(|&x| f64::from(x)));
        }
        x
    }

    fn project(
        &self,
        batch: &BatchLayout<'_>,
        x: &Vec<f64>,
        linear: &Linear,
        _next: Option<&Linear>,
    ) -> Vec<f64> {
        let rows = x.chunks_exact(linear.inputs).zip(&batch.adapters);
        rows.flat_map(|(x, &adapter)| activate(linear.activation, linear.apply(x, adapter)))
            .collect()
    }

    fn norm_qk(&self, _pass: &BatchLayout<'_>, qkv: &mut Vec<f64>, norms: &[Norm; 2]) {
        let hidden = norms[0].gain.len();
        for token in qkv.chunks_exact_mut(3 * hidden) {
            for (row, norm) in token.chunks_exact_mut(hidden).zip(norms) {
                normalize(row, norm);
            }
        }
    }

    fn attend(&self, batch: &BatchLayout<'_>, qkv: &Vec<f64>) -> Vec<f64> {
        let mut out = vec![0.0; qkv.len() / 3];
        for sequence in &batch.sequences {
            for head in 0..batch.config.heads {
                attend_head(qkv, batch, sequence.clone(), head, &mut out);
            }
        }
        out
    }

    fn add_norm(
        &self,
        _pass: &BatchLayout<'_>,
        x: &mut Vec<f64>,
        residual: Option<&Vec<f64>>,
        norm: &Norm,
        _next: Option<&Linear>,
    ) {
        x.iter_mut().zip(residual.into_iter().flatten()).for_each(|(x, residual)| *x += residual);
        x.chunks_exact_mut(norm.gain.len()).for_each(|row| normalize(row, norm));
    }

    fn pool(
        &self,
        batch: &BatchLayout<'_>,
        x: &Vec<f64>,
        spans: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>> {
        let hidden = batch.config.hidden;
        let sum =
            |span: &Range<usize>, c| span.clone().map(|t| x[t * hidden + c]).sum::<f64>() as f32;
        Ok(spans.iter().flat_map(|span| (0..width).map(move |c| sum(span, c))).collect())
    }

    fn download(&self, _pass: &BatchLayout<'_>, x: &Vec<f64>) -> Result<Vec<f32>> {
        Ok(x.iter().map(|&x| x as f32).collect())
    }
}

impl Linear {
    /// `W x + bias + B (A x)` with A and B of `adapter`, for one token.
    fn apply(&self, x: &[f64], adapter: Option<usize>) -> Vec<f64> {
        let mut y: Vec<f64> =
            self.weight.chunks_exact(self.inputs).map(|row| dot(row, x)).collect();
        y.iter_mut().zip(&self.bias).for_each(|(y, bias)| *y += f64::from(*bias));
        if let (Some(bank), Some(task)) = (&self.lora, adapter) {
            let a = &bank.down[task * bank.rank * self.inputs..][..bank.rank * self.inputs];
            let b = &bank.up[task * bank.rank * y.len()..][..bank.rank * y.len()];
            for (a, b) in a.chunks_exact(self.inputs).zip(b.chunks_exact(y.len())) {
                let down = dot(a, x);
                y.iter_mut().zip(b).for_each(|(y, b)| *y += down * f64::from(*b));
            }
        }
        y
    }
}

fn dot(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
}

fn normalize(row: &mut [f64], norm: &Norm) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + f64::from(norm.eps)).sqrt();
    for ((x, gain), bias) in row.iter_mut().zip(&norm.gain).zip(&norm.bias) {
        *x = (*x - mean) * scale * f64::from(*gain) + f64::from(*bias);
    }
}

fn activate(activation: Option<Activation>, row: Vec<f64>) -> Vec<f64> {
    let (gates, values) = row.split_at(row.len() / 2);
    let gated =
        |gate: fn(f64) -> f64| gates.iter().zip(values).map(|(g, v)| gate(*g) * v).collect();
    match activation {
        None => row,
        Some(Activation::Gelu) => row.into_iter().map(gelu).collect(),
        Some(Activation::GeGlu) => gated(gelu),
        Some(Activation::ReGlu) => gated(|x| x.max(0.0)),
    }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// softmax(q kᵀ / √head_dim + bias) v of one head of one sequence; q and k are rotated, or the bias
/// is that of ALiBi.
fn attend_head(
    qkv: &[f64],
    batch: &BatchLayout<'_>,
    sequence: Range<usize>,
    head: usize,
    out: &mut [f64],
) {
    let (hidden, dim) = (batch.config.hidden, batch.config.head_dim());
    let vector =
        |which: usize, token: usize| &qkv[(3 * token + which) * hidden + head * dim..][..dim];
    let at_position = |which: usize, token: usize| match batch.config.position {
        Position::Rope { theta } => rotate(vector(which, token), token - sequence.start, theta),
        Position::Alibi => vector(which, token).to_vec(),
    };
    let slope = match batch.config.position {
        Position::Rope { .. } => 0.0,
        Position::Alibi => f64::from(alibi_slopes(batch.config.heads)[head]),
    };
    let keys: Vec<Vec<f64>> = sequence.clone().map(|token| at_position(1, token)).collect();
    for token in sequence.clone() {
        let query = at_position(0, token);
        let score = |(position, key): (usize, &Vec<f64>)| {
            let product = query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
            product / (dim as f64).sqrt() - slope * token.abs_diff(position) as f64
        };
        let scores: Vec<f64> = sequence.clone().zip(&keys).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let to = &mut out[token * hidden + head * dim..][..dim];
        for (weight, token) in weights.iter().zip(sequence.clone()) {
            to.iter_mut().zip(vector(2, token)).for_each(|(to, v)| *to += weight / total * v);
        }
    }
}

/// Rotates component `j` with `j + dim/2` by `position · theta^(−2j / dim)`. The angle is rounded
/// to f32 at the same points as in the published implementation, because that is part of its
/// result.
fn rotate(x: &[f64], position: usize, theta: f32) -> Vec<f64> {
    let half = x.len() / 2;
    let mut rotated = vec![0.0; x.len()];
    for j in 0..half {
        let frequency = 1.0 / theta.powf((2 * j) as f32 / x.len() as f32);
        let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
        rotated[j] = x[j] * cos - x[j + half] * sin;
        rotated[j + half] = x[j + half] * cos + x[j] * sin;
    }
    rotated
}
