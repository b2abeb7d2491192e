//! Principal components: the directions in which rows differ most.

use crate::compute::Compute;
use crate::matrix::Matrix;
use kokeshi_kernels::random::Random;

/// Number of axes of a map.
pub(crate) const AXES: usize = 2;
/// Number of directions that are iterated: more than [`AXES`], so that the axes converge faster.
const DIRECTIONS: usize = 8;
/// Maximum number of rows that the directions are computed from.
const ROWS: usize = 10_000;
/// Maximum number of rounds.
const ROUNDS: usize = 500;
/// Change of a direction, as 1 − |cos|, below which the rounds end.
const CONVERGED: f64 = 1e-10;
/// Number of rows or columns per task.
const BLOCK: usize = 64;

/// Principal components.
#[derive(Clone, Debug)]
pub struct Pca {
    mean: Vec<f64>,
    /// `[AXES][dimensions]`, of unit length; zero if the rows do not differ in a further direction.
    axes: Vec<Vec<f64>>,
    /// The share of the variance along each axis.
    pub shares: [f64; AXES],
}

impl Pca {
    /// The first two components of `rows`, or of a sample if there are many.
    pub fn of(compute: &Compute, rows: &Matrix) -> Self {
        let (_, rows) = rows.sample(ROWS);
        let dimensions = rows.dimensions();
        let mean = mean(&rows);
        let covariance = covariance(compute, &rows, &mean);
        let trace: f64 = (0..dimensions).map(|i| covariance[i][i]).sum();
        let directions = DIRECTIONS.min(dimensions);
        let mut axes = orthonormal(start(directions, dimensions));
        for _ in 0..ROUNDS {
            let next = orthonormal(
                axes.iter()
                    .map(|axis| covariance.iter().map(|row| dot(row, axis)).collect())
                    .collect(),
            );
            let changes = axes.iter().zip(&next).take(AXES).map(|(a, b)| 1.0 - dot(a, b).abs());
            let change = changes.fold(0.0, f64::max);
            axes = next;
            if change < CONVERGED {
                break;
            }
        }
        axes.resize(AXES.max(axes.len()), vec![0.0; dimensions]);
        axes.truncate(AXES);
        axes.iter_mut().for_each(|axis| fix_sign(axis));
        let share = |axis: &[f64]| {
            let along: Vec<f64> = covariance.iter().map(|row| dot(row, axis)).collect();
            if trace > 0.0 { dot(&along, axis) / trace } else { 0.0 }
        };
        Self { shares: std::array::from_fn(|i| share(&axes[i])), mean, axes }
    }

    /// The coordinates of `rows` along the axes.
    pub fn project(&self, compute: &Compute, rows: &Matrix) -> Vec<[f32; AXES]> {
        let blocks = compute.blocks(rows.len(), BLOCK, |range| {
            let coordinates = |row: usize| {
                let centred: Vec<f64> =
                    rows.row(row).iter().zip(&self.mean).map(|(x, m)| f64::from(*x) - m).collect();
                std::array::from_fn(|i| dot(&centred, &self.axes[i]) as f32)
            };
            range.map(coordinates).collect::<Vec<_>>()
        });
        blocks.into_iter().flatten().collect()
    }
}

/// The mean row, `[dimensions]`.
fn mean(rows: &Matrix) -> Vec<f64> {
    let mut mean = vec![0.0; rows.dimensions()];
    for row in 0..rows.len() {
        mean.iter_mut().zip(rows.row(row)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    mean.iter_mut().for_each(|sum| *sum /= rows.len().max(1) as f64);
    mean
}

/// The covariance (times the number of rows), `[dimensions][dimensions]`, from dot products of the
/// centred columns. The kernels need rows of unit length, so the norms are multiplied in
/// afterwards.
fn covariance(compute: &Compute, rows: &Matrix, mean: &[f64]) -> Vec<Vec<f64>> {
    let dimensions = rows.dimensions();
    let (mut columns, mut lengths) = (Matrix::new(rows.len()), Vec::new());
    for (column, mean) in mean.iter().enumerate() {
        let centred: Vec<f32> =
            (0..rows.len()).map(|row| (f64::from(rows.row(row)[column]) - mean) as f32).collect();
        lengths.push(centred.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt());
        // This cannot fail: all columns have the same length.
        let _ = columns.push(&centred);
    }
    let blocks = compute.blocks(dimensions, BLOCK, |range| {
        let row = |i: usize| {
            let products = columns.products(compute, columns.padded(i));
            let products = products.iter().zip(&lengths);
            products.map(|(product, length)| f64::from(*product) * length * lengths[i]).collect()
        };
        range.map(row).collect::<Vec<Vec<f64>>>()
    });
    blocks.into_iter().flatten().collect()
}

/// Random directions, `[count][dimensions]`.
fn start(count: usize, dimensions: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(1);
    (0..count).map(|_| (0..dimensions).map(|_| random.unit() - 0.5).collect()).collect()
}

/// Gram–Schmidt orthonormalization, applied twice to limit rounding errors. An axis that depends
/// linearly on those before it becomes zero.
fn orthonormal(mut axes: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for i in 0..axes.len() {
        let (before, rest) = axes.split_at_mut(i);
        let axis = &mut rest[0];
        let length = dot(axis, axis).sqrt();
        for other in before.iter().chain(before.iter()) {
            let along = dot(axis, other);
            axis.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let left = dot(axis, axis).sqrt();
        let scale = if left > 1e-9 * length { 1.0 / left } else { 0.0 };
        axis.iter_mut().for_each(|x| *x *= scale);
    }
    axes
}

/// Chooses the sign of an axis that makes its largest value positive.
fn fix_sign(axis: &mut [f64]) {
    let largest = axis.iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a });
    if largest.is_some_and(|largest| largest < 0.0) {
        axis.iter_mut().for_each(|x| *x = -*x);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute() -> Compute {
        Compute::new(Some(2), None).expect("threads")
    }

    #[test]
    fn rows_with_a_known_covariance_have_its_axes() {
        // Points of the unit sphere around e3 that spread along (e0 + e1)/√2 and half as far along
        // e2.
        let mut rows = Matrix::new(4);
        for (along, across) in [(0.4, 0.0), (-0.4, 0.0), (0.0, 0.2), (0.0, -0.2)] {
            let side = along / f32::sqrt(2.0);
            let rest: f32 = 1.0 - along * along - across * across;
            rows.push(&[side, side, across, rest.sqrt()]).expect("a row");
        }
        let pca = Pca::of(&compute(), &rows);
        let near = |a: &[f64], b: [f64; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        let half = 0.5_f64.sqrt();
        assert!(near(&pca.axes[0], [half, half, 0.0, 0.0]), "{:?}", pca.axes);
        assert!(near(&pca.axes[1], [0.0, 0.0, 1.0, 0.0]), "{:?}", pca.axes);
        assert!((pca.shares[0] / pca.shares[1] - 4.0).abs() < 1e-3, "{:?}", pca.shares);
        let points = pca.project(&compute(), &rows);
        for (point, expected) in
            points.iter().zip([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.2], [0.0, -0.2]])
        {
            assert!(point.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{points:?}");
        }
    }

    #[test]
    fn equal_rows_have_equal_coordinates() {
        for vector in [&[1.0_f32][..], &[0.6, 0.8]] {
            let rows = Matrix::of(&[vector, vector, vector]).expect("rows");
            let pca = Pca::of(&compute(), &rows);
            assert_eq!(pca.shares, [0.0; 2]);
            assert!(pca.project(&compute(), &rows).iter().flatten().all(|x| x.abs() < 1e-6));
        }
    }
}
