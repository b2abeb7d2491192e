//! Sums of token states over spans.

use crate::grid::{even_ends, grid};
use crate::threads::Threads;
use std::ops::Range;

/// Writes the sum of the first `width` columns of each span of `x` (`[tokens, hidden]`) to `out`
/// (`[spans, width]`): the same bits for every width. An empty span sums to zero. Sums are f64:
/// 8192 states added in f32 would lose up to three decimal digits.
///
/// # Panics
///
/// If a span is outside `x`, `width` is more than `hidden`, or `out` has another shape.
pub fn sum_spans(
    threads: &Threads,
    x: &[f32],
    [hidden, width]: [usize; 2],
    spans: &[Range<usize>],
    out: &mut [f32],
) {
    assert_eq!(out.len(), spans.len() * width);
    assert!(width <= hidden, "{width} of {hidden} columns");
    let rows: Vec<usize> = (1..=spans.len()).collect();
    let cols = even_ends(width, width.div_ceil(threads.count()).next_multiple_of(16));
    threads.run(grid(out, width, &rows, &cols), |mut rect, _| {
        let (span, cols) = (rect.rows().start, rect.cols());
        let mut sums = vec![0.0_f64; cols.len()];
        for token in spans[span].clone() {
            for (sum, x) in sums.iter_mut().zip(&x[token * hidden..][cols.clone()]) {
                *sum += f64::from(*x);
            }
        }
        for (to, sum) in rect.row_mut(span).iter_mut().zip(sums) {
            *to = sum as f32;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_the_first_columns_may_overlap_be_empty_and_be_in_any_order() {
        let hidden = 19;
        let x: Vec<f32> = (0..10 * hidden).map(|i| i as f32).collect();
        let spans = [3..7, 0..10, 5..5, 9..10];
        for (count, width) in [(1, hidden), (3, hidden), (1, 7), (3, 17), (3, 0)] {
            let threads = Threads::new(count).expect("threads start");
            let mut out = vec![f32::NAN; spans.len() * width];
            sum_spans(&threads, &x, [hidden, width], &spans, &mut out);
            for (s, span) in spans.iter().enumerate() {
                for c in 0..width {
                    let want: f32 = span.clone().map(|t| x[t * hidden + c]).sum();
                    assert_eq!(out[s * width + c], want, "span {s}, column {c}");
                }
            }
        }
    }
}
