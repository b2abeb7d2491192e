//! Rank correlation.

/// Spearman's rank correlation of two rows of values, from -1 to 1: the correlation (Pearson's) of
/// their ranks, where equal values share the mean of their ranks. `None` if the rows differ in
/// length, have fewer than two values, or if all values of one are equal.
#[must_use]
pub fn spearman(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    pearson(&ranks(first), &ranks(second))
}

/// The rank of each value, from 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // The mean of start + 1, …, start + len.
        let mean = start as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&at| ranks[at] = mean);
        start += equal.len();
    }
    ranks
}

/// The covariance over the product of both standard deviations; `None` if one of these is 0.
fn pearson(first: &[f64], second: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_first, mean_second) = (mean(first), mean(second));
    let (mut products, mut squares) = (0.0, [0.0, 0.0]);
    for (x, y) in first.iter().zip(second) {
        let (x, y) = (x - mean_first, y - mean_second);
        products += x * y;
        squares[0] += x * x;
        squares[1] += y * y;
    }
    let deviations = (squares[0] * squares[1]).sqrt();
    (deviations > 0.0).then(|| products / deviations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected;

    #[test]
    fn correlations_are_those_of_scipy() {
        let cases = expected::array("spearman");
        assert_eq!(cases.len(), 5);
        for case in cases {
            let (x, y) = (expected::numbers(&case["x"]), expected::numbers(&case["y"]));
            let got = spearman(&x, &y).expect("a correlation");
            assert!((got - expected::number(&case["rho"])).abs() < 1e-12, "{got}: {case}");
        }
    }

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[-0.0, 0.0]), [1.5, 1.5]);
    }

    #[test]
    fn rows_without_an_order_have_no_correlation() {
        assert_eq!(spearman(&[], &[]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[1.0]), None);
    }
}
