//! Vectors of one width, each padded with zeros to a multiple of the number of elements that the
//! kernels read at once.

use crate::compute::Compute;
use crate::error::{Error, Result};
use kokeshi_kernels::scan::{F32_ROW, dot_f32};

/// Rows of unit length.
#[derive(Clone, Debug)]
pub struct Matrix {
    dimensions: usize,
    /// Values of a row, padding included.
    width: usize,
    /// `[rows, width]`
    data: Vec<f32>,
}

impl Matrix {
    /// A matrix without rows, of `dimensions` (at least one).
    pub fn new(dimensions: usize) -> Self {
        let dimensions = dimensions.max(1);
        Self { dimensions, width: dimensions.next_multiple_of(F32_ROW), data: Vec::new() }
    }

    /// A matrix with the rows `vectors`, each scaled to unit length.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without vectors, [`Error::Width`] if they differ in width.
    pub fn of<V: AsRef<[f32]>>(vectors: &[V]) -> Result<Self> {
        let first = vectors.first().ok_or(Error::Empty)?;
        let mut matrix = Self::new(first.as_ref().len());
        vectors.iter().try_for_each(|vector| matrix.push(vector.as_ref()))?;
        Ok(matrix)
    }

    /// Appends `vector`, scaled to unit length; a zero vector stays zero.
    ///
    /// # Errors
    ///
    /// [`Error::Width`] if it has another width.
    pub fn push(&mut self, vector: &[f32]) -> Result<()> {
        if vector.len() != self.dimensions {
            return Err(Error::Width { expected: self.dimensions, got: vector.len() });
        }
        let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        self.data.extend(vector.iter().map(|x| (f64::from(*x) * scale) as f32));
        self.data.resize(self.data.len().next_multiple_of(self.width), 0.0);
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values of a row, without padding.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The row at `index`, `[dimensions]`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.padded(index)[..self.dimensions]
    }

    /// The first `dimensions` values of each of `vectors`, scaled to unit length.
    ///
    /// # Errors
    ///
    /// As [`Self::of`]; [`Error::Width`] if a vector has fewer values.
    pub fn cut<V: AsRef<[f32]>>(vectors: &[V], dimensions: usize) -> Result<Self> {
        let cut = |vector: &V| {
            let vector = vector.as_ref();
            let got = vector.len();
            let error = Error::Width { expected: dimensions, got };
            vector.get(..dimensions).map(<[f32]>::to_vec).ok_or(error)
        };
        Self::of(&vectors.iter().map(cut).collect::<Result<Vec<_>>>()?)
    }

    /// The cosine of each row to the row of `other` with the same number.
    ///
    /// # Errors
    ///
    /// [`Error::Width`] if `other` has another width.
    pub fn row_cosines(&self, other: &Self) -> Result<Vec<f64>> {
        if self.dimensions != other.dimensions {
            return Err(Error::Width { expected: self.dimensions, got: other.dimensions });
        }
        let cosine = |row: usize| {
            let pairs = self.row(row).iter().zip(other.row(row));
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        Ok((0..self.len().min(other.len())).map(cosine).collect())
    }

    /// The row at `index` with its padding, `[width]`.
    pub(crate) fn padded(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }

    /// The rows at `indices`.
    pub(crate) fn gather(&self, indices: &[usize]) -> Self {
        let data = indices.iter().flat_map(|&index| self.padded(index)).copied().collect();
        Self { dimensions: self.dimensions, width: self.width, data }
    }

    /// At most `limit` (at least one) evenly spread rows, and their indices.
    pub fn sample(&self, limit: usize) -> (Vec<usize>, Self) {
        let (len, limit) = (self.len(), limit.max(1));
        let count = len.min(limit);
        let indices: Vec<usize> = (0..count).map(|i| i * len / count).collect();
        let rows = self.gather(&indices);
        (indices, rows)
    }

    /// The dot products of `query`, which is padded, with every row.
    pub(crate) fn products(&self, compute: &Compute, query: &[f32]) -> Vec<f32> {
        let mut products = vec![0.0; self.len()];
        dot_f32(compute.level, query, &self.data, &mut products);
        products
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_unit_length_and_one_width() {
        let mut matrix = Matrix::of(&[[3.0, 4.0], [0.0, 0.0]]).expect("rows");
        assert_eq!((matrix.row(0), matrix.row(1)), (&[0.6, 0.8][..], &[0.0, 0.0][..]));
        assert_eq!(matrix.push(&[1.0]).expect_err("narrow").to_string(), {
            "a vector has 1 dimensions instead of 2"
        });
        assert_eq!((matrix.len(), matrix.padded(1).len()), (2, F32_ROW));
        assert_eq!(matrix.gather(&[1, 0]).row(1), [0.6, 0.8]);
    }

    #[test]
    fn vectors_are_cut_before_they_are_scaled() {
        let vectors = [[3.0, 4.0, 12.0], [0.0, 2.0, 1.0]];
        let cut = Matrix::cut(&vectors, 2).expect("rows");
        assert_eq!((cut.row(0), cut.row(1)), (&[0.6, 0.8][..], &[0.0, 1.0][..]));
        assert!(matches!(Matrix::cut(&vectors, 4), Err(Error::Width { expected: 4, got: 3 })));
        let other = Matrix::of(&[[1.0, 0.0], [0.0, -1.0]]).expect("rows");
        let cosines = cut.row_cosines(&other).expect("one width");
        assert!((cosines[0] - 0.6).abs() < 1e-7 && cosines[1] == -1.0, "{cosines:?}");
        assert!(cut.row_cosines(&Matrix::new(3)).is_err());
    }

    #[test]
    fn a_sample_is_spread_over_all_rows() {
        let matrix = Matrix::of(&[[1.0]; 10]).expect("rows");
        assert_eq!(matrix.sample(3).0, [0, 3, 6]);
        assert_eq!(matrix.sample(99).0.len(), 10);
    }
}
