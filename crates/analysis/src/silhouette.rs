//! Silhouettes: how much nearer each row is to its own group than to the nearest other group.

use crate::cluster::sums;
use crate::compute::Compute;
use crate::matrix::Matrix;

/// Number of rows per task.
const BLOCK: usize = 512;

/// The silhouette (Rousseeuw 1987) of every row, from −1 to 1, with 1 − cos as the distance; 0 for
/// a row that is alone in its group, or if there is only one group.
///
/// The values are exact and take rows × groups dot products, not rows²: the mean of 1 − cos over a
/// group is 1 minus the dot product with the mean of its rows.
pub fn silhouette(
    compute: &Compute,
    rows: &Matrix,
    groups_of: &[usize],
    groups: usize,
) -> Vec<f32> {
    let mut sizes = vec![0_usize; groups];
    groups_of.iter().for_each(|&group| sizes[group] += 1);
    let sums = sums(compute, rows, groups_of, groups);
    let blocks = compute.blocks(rows.len(), BLOCK, |range| {
        let width = |row: usize| {
            let (own, vector) = (groups_of[row], rows.row(row));
            if sizes[own] < 2 {
                return 0.0;
            }
            let product = |sum: &[f64]| {
                sum.iter().zip(vector).map(|(sum, x)| sum * f64::from(*x)).sum::<f64>()
            };
            let itself: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
            let others = (sizes[own] - 1) as f64;
            let within = 1.0 - (product(&sums[own]) - itself) / others;
            let next = (0..groups).filter(|&group| group != own && sizes[group] > 0);
            let next = next.map(|group| 1.0 - product(&sums[group]) / sizes[group] as f64);
            let between = next.fold(f64::INFINITY, f64::min);
            let largest = within.max(between);
            if !between.is_finite() || largest <= 0.0 {
                return 0.0;
            }
            ((between - within) / largest) as f32
        };
        range.map(width).collect::<Vec<_>>()
    });
    blocks.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_kernels::random::Random;

    /// The definition, pair by pair.
    fn by_definition(rows: &Matrix, groups_of: &[usize], groups: usize) -> Vec<f32> {
        let distance = |a: usize, b: usize| {
            let products = rows.row(a).iter().zip(rows.row(b));
            1.0 - products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
        };
        let mean = |row: usize, group: usize| {
            let members = (0..rows.len()).filter(|&i| groups_of[i] == group && i != row);
            let all: Vec<f64> = members.map(|other| distance(row, other)).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        let width = |row: usize| {
            let a = mean(row, groups_of[row]);
            let others = (0..groups).filter(|&group| group != groups_of[row]);
            let b = others.map(|group| mean(row, group)).fold(f64::INFINITY, f64::min);
            if a.is_nan() { 0.0 } else { ((b - a) / a.max(b)) as f32 }
        };
        (0..rows.len()).map(width).collect()
    }

    #[test]
    fn sums_of_groups_give_the_same_silhouettes_as_all_pairs() {
        let (mut random, mut rows) = (Random::new(3), Matrix::new(9));
        for _ in 0..60 {
            let vector: Vec<f32> = (0..9).map(|_| random.unit() as f32 - 0.3).collect();
            rows.push(&vector).expect("a row");
        }
        // The last group has one row.
        let groups_of: Vec<usize> = (0..60).map(|i| if i == 17 { 3 } else { i % 3 }).collect();
        let compute = Compute::new(Some(2), None).expect("threads");
        let got = silhouette(&compute, &rows, &groups_of, 4);
        let expected = by_definition(&rows, &groups_of, 4);
        assert_eq!(got[17], 0.0);
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }

    #[test]
    fn one_group_has_silhouettes_of_zero() {
        let rows = Matrix::of(&[[1.0, 0.0], [0.0, 1.0]]).expect("rows");
        let compute = Compute::new(Some(1), None).expect("threads");
        assert_eq!(silhouette(&compute, &rows, &[0, 0], 1), [0.0, 0.0]);
    }
}
