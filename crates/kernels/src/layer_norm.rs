//! LayerNorm over rows, with the residual sum that always comes before it.

use crate::isa::{Isa, Kernel, Level};

/// Gain and bias of a LayerNorm, `[hidden]` each.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Multiplier.
    pub gain: Vec<f32>,
    /// Summand.
    pub bias: Vec<f32>,
    /// Added to the variance, inside the square root.
    pub eps: f32,
}

/// `x ← (x + residual − mean) / √(variance + eps) · gain + bias` for each row of `[rows, hidden]`;
/// the variance is the biased one. Without `residual` the rows are normalised alone.
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
                add(v, row, &residual[i * hidden..][..hidden]);
            }
            normalise(v, row, self.norm);
        }
    }
}

#[inline(always)]
fn add<I: Isa>(v: I, row: &mut [f32], other: &[f32]) {
    for (x, y) in row.chunks_mut(I::LANES).zip(other.chunks(I::LANES)) {
        if x.len() == I::LANES {
            v.store(v.add(v.load(x), v.load(y)), x);
        } else {
            v.store_partial(v.add(v.load_partial(x), v.load_partial(y)), x);
        }
    }
}

/// Two passes: the sum of squared deviations does not cancel as `E[x²] − E[x]²` does.
#[inline(always)]
fn normalise<I: Isa>(v: I, row: &mut [f32], norm: &Norm) {
    let count = row.len() as f32;
    let whole = row.len() - row.len() % I::LANES;
    let mut sums = v.splat(0.0);
    for x in row[..whole].chunks_exact(I::LANES) {
        sums = v.add(sums, v.load(x));
    }
    let mean = (v.sum(sums) + row[whole..].iter().sum::<f32>()) / count;
    let center = v.splat(mean);
    let mut squares = v.splat(0.0);
    for x in row[..whole].chunks_exact(I::LANES) {
        let d = v.sub(v.load(x), center);
        squares = v.mul_add(d, d, squares);
    }
    let tail: f32 = row[whole..].iter().map(|x| (x - mean) * (x - mean)).sum();
    let variance = (v.sum(squares) + tail) / count;
    let scale = 1.0 / (variance + norm.eps).sqrt();
    let scales = v.splat(scale);
    for (i, x) in row.chunks_mut(I::LANES).enumerate() {
        let at = i * I::LANES;
        let (gain, bias) = (&norm.gain[at..at + x.len()], &norm.bias[at..at + x.len()]);
        if x.len() == I::LANES {
            let d = v.mul(v.sub(v.load(x), center), scales);
            v.store(v.mul_add(d, v.load(gain), v.load(bias)), x);
        } else {
            let d = v.mul(v.sub(v.load_partial(x), center), scales);
            v.store_partial(v.mul_add(d, v.load_partial(gain), v.load_partial(bias)), x);
        }
    }
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
        let normalised = summed.chunks(hidden).flat_map(|row| {
            let mean = row.iter().sum::<f64>() / hidden as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / hidden as f64;
            let scale = 1.0 / (variance + f64::from(norm.eps)).sqrt();
            row.iter().enumerate().map(move |(i, x)| {
                (x - mean) * scale * f64::from(norm.gain[i]) + f64::from(norm.bias[i])
            })
        });
        normalised.collect()
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
                        // One lone value: x − mean is 0 up to eps; else a few roundings of |x| < 5.
                        assert!(error < 1e-5, "{level:?}, hidden {hidden}, at {i}: {error:e}");
                    }
                }
            }
        }
    }
}
