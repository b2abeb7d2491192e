//! The check of results before anything is timed.

use super::floor::Cost;
use super::load;
use super::workload::Sample;
use crate::failure::hinted;
use crate::layout::counted;
use kokeshi::{Checkpoint, Device, Precision, cosine};
use kokeshi_model::Forward;
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Multiplications and additions for the plain loops of the reference: a few seconds.
const REFERENCE_FLOPS: f64 = 1e10;

/// A comparison that passed.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// Number of texts whose results were compared.
    pub(super) texts: usize,
    /// Number of their tokens.
    pub(super) tokens: usize,
    /// What they were compared with.
    pub(super) against: &'static str,
    #[serde(flatten)]
    pub(super) agreement: Agreement,
}

/// How close two results are, and the bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub(super) enum Agreement {
    /// Largest difference of two elements, relative to the largest element.
    RelativeDifference { value: f32, at_most: f32 },
    /// Lowest cosine of two vectors.
    Cosine { value: f32, at_least: f32 },
}

/// Compares a few texts on `forward`, as part of a larger batch, with the same texts alone on the
/// reference device. The larger the model, the shorter the texts.
///
/// # Errors
///
/// If the results differ by more than the precision explains.
pub(super) fn run(
    checkpoint: &Checkpoint,
    forward: &dyn Forward,
    cost: &Cost,
    precision: Precision,
) -> anyhow::Result<Check> {
    let tokens = REFERENCE_FLOPS / cost.flops_per_token();
    let Sample { texts, among_others } = Sample::new(checkpoint.config(), tokens as usize);
    let spans: Vec<Range<usize>> = texts.sequences().collect();
    let want = load(checkpoint, &Device::Reference)?.pool(&texts, &spans)?;
    let got = forward.pool(&among_others, &spans)?;
    let agreement = Agreement::new(&got, &want, checkpoint.config().hidden, precision);
    if !agreement.holds() {
        return Err(hinted(
            format!("results differ from the reference: {agreement}; nothing was timed"),
            "try another --simd-level or --precision; please report this as a bug",
        ));
    }
    Ok(Check { texts: spans.len(), tokens: texts.tokens(), against: "the reference", agreement })
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { texts, tokens, against, agreement } = self;
        let (texts, tokens) = (counted(*texts, "text"), counted(*tokens, "token"));
        write!(f, "{texts}, {tokens}, against {against}: {agreement}")
    }
}

impl Agreement {
    /// Compares vectors of `hidden` elements. NaN agrees with nothing.
    fn new(got: &[f32], want: &[f32], hidden: usize, precision: Precision) -> Self {
        let pairs = got.iter().zip(want);
        let complete = got.len() == want.len() && pairs.clone().all(|(a, b)| (a - b).is_finite());
        match precision {
            Precision::F32 => {
                let largest = want.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
                let difference = pairs.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
                let value = if complete { difference / largest } else { f32::INFINITY };
                Self::RelativeDifference { value, at_most: 3e-5 }
            }
            Precision::Bf16 | Precision::F16 | Precision::Int8 => {
                let vectors = got.chunks(hidden).zip(want.chunks(hidden));
                let at_least = if precision == Precision::Int8 { 0.995 } else { 0.9998 };
                let lowest = vectors.map(|(a, b)| cosine(a, b)).fold(1.0, f32::min);
                Self::Cosine { value: if complete { lowest } else { -1.0 }, at_least }
            }
        }
    }

    fn holds(&self) -> bool {
        match self {
            Self::RelativeDifference { value, at_most } => value <= at_most,
            Self::Cosine { value, at_least } => value >= at_least,
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RelativeDifference { value, at_most } => {
                write!(f, "relative difference {value:.1e}, at most {at_most:.0e}")
            }
            Self::Cosine { value, at_least } => {
                write!(f, "lowest cosine {value:.6}, at least {at_least}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANT: [f32; 6] = [100.0, -50.0, 25.0, -80.0, 60.0, 1.0];

    /// Whether `WANT` passes in f32 and in bf16 after `change`.
    fn passes(change: impl Fn(&mut Vec<f32>)) -> [bool; 2] {
        let mut got = WANT.to_vec();
        change(&mut got);
        [Precision::F32, Precision::Bf16].map(|p| Agreement::new(&got, &WANT, 3, p).holds())
    }

    #[test]
    fn rounding_passes_and_a_wrong_element_does_not() {
        assert_eq!(passes(|_| ()), [true, true]);
        assert_eq!(passes(|got| got[5] += 0.002), [true, true]);
        assert_eq!(passes(|got| got[5] += 0.004), [false, true]);
        assert_eq!(passes(|got| got[1] = 50.0), [false, false]);
        assert_eq!(passes(|got| got.swap(3, 4)), [false, false]);
    }

    #[test]
    fn missing_elements_and_nan_agree_with_nothing() {
        assert_eq!(passes(|got| got[0] = f32::NAN), [false, false]);
        assert_eq!(passes(|got| got[5] = f32::INFINITY), [false, false]);
        assert_eq!(passes(|got| got.truncate(3)), [false, false]);
        let nothing = Agreement::new(&[0.0; 3], &[0.0; 3], 3, Precision::F32);
        assert!(!nothing.holds(), "{nothing:?}");
    }
}
