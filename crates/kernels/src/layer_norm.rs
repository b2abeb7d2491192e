//! LayerNorm over rows, with the residual sum before it.

use crate::isa::{Isa, Kernel, Level};
use crate::rows::{map_with, sum};

/// Gain and bias of a LayerNorm, `[hidden]` each.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Multiplier, `[hidden]`.
    pub gain: Vec<f32>,
    /// Summand, `[hidden]`.
    pub bias: Vec<f32>,
    /// Added to the variance, inside the square root.
    pub eps: f32,
}

/// `x ← (x + residual − mean) / √(variance + eps) · gain + bias` for each row of `[rows, hidden]`;
/// the variance is the biased one. Without `residual`, the rows are normalized as they are.
///
/// # Panics
///
/// If the lengths do not agree.
pub fn add_norm(level: Level, x: &mut [f32], residual: Option<&[f32]>, norm: &Norm) {
    let hidden = norm.gain.len();
    assert_eq!(norm.bias.len(), hidden);
    assert!(hidden > 0 && x.len().is_multiple_of(hidden));
    if let Some(residual) = residual {
        assert_eq!(residual.len(), x.len());
    }
    level.run(AddNorm { x, residual, norm });
}

struct AddNorm<'a> {
    x: &'a mut [f32],
    residual: Option<&'a [f32]>,
    norm: &'a Norm,
}

impl Kernel for AddNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, v: I) {
        let hidden = self.norm.gain.len();
        for (i, row) in self.x.chunks_exact_mut(hidden).enumerate() {
            if let Some(residual) = self.residual {
                let residual = &residual[i * hidden..][..hidden];
                map_with(v, row, [residual], |x, [y]| v.add(x, y));
            }
            normalize(v, row, self.norm);
        }
    }
}

/// Two passes: the sum of squared deviations does not cancel as `E[x²] − E[x]²` does.
#[inline(always)]
fn normalize<I: Isa>(v: I, row: &mut [f32], norm: &Norm) {
    let count = row.len() as f32;
    let mean = sum(v, row, |sum, x| v.add(sum, x), |x| x) / count;
    let center = v.splat(mean);
    let add_square = |sum, x| {
        let d = v.sub(x, center);
        v.mul_add(d, d, sum)
    };
    let squares = sum(v, row, add_square, |x| (x - mean) * (x - mean));
    let variance = squares / count;
    let scales = v.splat(1.0 / (variance + norm.eps).sqrt());
    map_with(v, row, [&norm.gain, &norm.bias], |x, [gain, bias]| {
        v.mul_add(v.mul(v.sub(x, center), scales), gain, bias)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn definition(x: &[f32], residual: Option<&[f32]>, norm: &Norm) -> Vec<f64> {
        let hidden = norm.gain.len();
        let summed: Vec<f64> = (0..x.len())
            .map(|i| f64::from(x[i]) + residual.map_or(0.0, |r| f64::from(r[i])))
            .collect();
        let normalized = summed.chunks(hidden).flat_map(|row| {
            let mean = row.iter().sum::<f64>() / hidden as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / hidden as f64;
            let scale = 1.0 / (variance + f64::from(norm.eps)).sqrt();
            row.iter().enumerate().map(move |(i, x)| {
                (x - mean) * scale * f64::from(norm.gain[i]) + f64::from(norm.bias[i])
            })
        });
        normalized.collect()
    }

    #[test]
    fn every_level_follows_the_definition_at_every_tail() {
        let mut random = Random::new(7);
        for hidden in (1..20).chain([31, 32, 33, 64, 257, 1024]) {
            let norm = Norm { gain: random.normal(hidden), bias: random.normal(hidden), eps: 1e-5 };
            let (x, residual) = (random.normal(3 * hidden), random.normal(3 * hidden));
            for level in Level::available() {
                for residual in [None, Some(&residual[..])] {
                    let mut got = x.clone();
                    add_norm(level, &mut got, residual, &norm);
                    for (i, want) in definition(&x, residual, &norm).iter().enumerate() {
                        let error = (f64::from(got[i]) - want).abs();
                        // At width 1, x − mean is 0; otherwise values |x| < 5 are rounded.
                        assert!(error < 1e-5, "{level:?}, hidden {hidden}, at {i}: {error:e}");
                    }
                }
            }
        }
    }
}
