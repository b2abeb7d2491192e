//! The nearest rows of many queries, of rows that need not be in memory at the same time.

use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// Number of queries per task.
const BLOCK: usize = 16;

/// A row and its cosine to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedRow {
    /// Its number among all rows that were added, from 0.
    pub row: usize,
    /// Its cosine to the query.
    pub cosine: f32,
}

/// The nearest rows of each query.
#[derive(Clone, Debug)]
pub struct Rankings {
    queries: Matrix,
    depth: usize,
    rows: usize,
    /// The best rows of each query, the nearest first; of equally near ones the first.
    best: Vec<Vec<RankedRow>>,
}

impl Rankings {
    /// Rankings without rows, which keep the `depth` nearest ones.
    #[must_use]
    pub fn new(queries: Matrix, depth: usize) -> Self {
        let best = vec![Vec::new(); queries.len()];
        Self { queries, depth, rows: 0, best }
    }

    /// Adds rows after those that were added before.
    ///
    /// # Errors
    ///
    /// [`Error::Width`] if they have another width than the queries.
    pub fn add(&mut self, compute: &Compute, rows: &Matrix) -> Result<()> {
        let first = self.rows;
        self.merge(compute, rows, |products| {
            let numbered = products.into_iter().zip(first..);
            numbered.map(|(cosine, row)| RankedRow { row, cosine }).collect()
        })?;
        self.rows += rows.len();
        Ok(())
    }

    /// Adds `rows` as one row, whose cosine is that of the nearest one: a document by its best
    /// chunk.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn add_best(&mut self, compute: &Compute, rows: &Matrix) -> Result<()> {
        let row = self.rows;
        self.merge(compute, rows, |products| {
            let best = products.into_iter().reduce(f32::max);
            best.into_iter().map(|cosine| RankedRow { row, cosine }).collect()
        })?;
        self.rows += 1;
        Ok(())
    }

    /// The nearest rows of the query at `index`, the nearest first.
    #[must_use]
    pub fn of(&self, index: usize) -> &[RankedRow] {
        &self.best[index]
    }

    /// Merges what `ranked` makes of each query's products with `rows` into its ranking.
    fn merge(
        &mut self,
        compute: &Compute,
        rows: &Matrix,
        ranked: impl Fn(Vec<f32>) -> Vec<RankedRow> + Sync,
    ) -> Result<()> {
        let (expected, got) = (self.queries.dimensions(), rows.dimensions());
        if expected != got {
            return Err(Error::Width { expected, got });
        }
        let (queries, old, depth) = (&self.queries, &self.best, self.depth);
        let merged = compute.blocks(queries.len(), BLOCK, |range| {
            let merge = |query: usize| {
                let products = rows.products(compute, queries.padded(query));
                merged(&old[query], ranked(products), depth)
            };
            range.map(merge).collect::<Vec<_>>()
        });
        self.best = merged.into_iter().flatten().collect();
        Ok(())
    }
}

/// The `depth` best of `old`, which are sorted, and of `new`, which have higher numbers.
fn merged(old: &[RankedRow], mut new: Vec<RankedRow>, depth: usize) -> Vec<RankedRow> {
    if let Some(worst) = old.get(depth.saturating_sub(1)) {
        new.retain(|ranked| ranked.cosine > worst.cosine);
    }
    let mut all = old.to_vec();
    all.append(&mut new);
    // Stable, so that the first of equally near rows stays the first.
    all.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    all.truncate(depth);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_kernels::random::Random;

    fn compute(threads: usize) -> Compute {
        Compute::new(Some(threads), None).expect("threads")
    }

    fn matrix(rows: usize, seed: u64) -> Matrix {
        let mut random = Random::new(seed);
        let rows: Vec<Vec<f32>> = (0..rows).map(|_| random.normal(20)).collect();
        Matrix::of(&rows).expect("rows")
    }

    #[test]
    fn rows_in_parts_rank_as_all_at_once_and_as_sorted() {
        let (queries, rows) = (matrix(37, 1), matrix(300, 2));
        let mut whole = Rankings::new(queries.clone(), 7);
        whole.add(&compute(2), &rows).expect("one width");
        let mut parts = Rankings::new(queries.clone(), 7);
        for range in [0..100, 100..101, 101..300] {
            let part = rows.gather(&range.collect::<Vec<_>>());
            parts.add(&compute(1), &part).expect("one width");
        }
        for query in 0..queries.len() {
            assert_eq!(whole.of(query), parts.of(query));
            let product = |row: usize| -> f64 {
                let pairs = queries.row(query).iter().zip(rows.row(row));
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|&a, &b| product(b).total_cmp(&product(a)));
            let got: Vec<usize> = whole.of(query).iter().map(|ranked| ranked.row).collect();
            assert_eq!(got, order[..7]);
        }
    }

    #[test]
    fn the_first_of_equal_rows_is_the_first() {
        let query = Matrix::of(&[[1.0, 0.0]]).expect("a query");
        let mut rankings = Rankings::new(query, 2);
        for _ in 0..2 {
            let rows = Matrix::of(&[[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]]).expect("rows");
            rankings.add(&compute(1), &rows).expect("one width");
        }
        let rows: Vec<usize> = rankings.of(0).iter().map(|ranked| ranked.row).collect();
        assert_eq!(rows, [1, 2]);
        let narrow = Matrix::of(&[[1.0]]).expect("a row");
        assert!(matches!(rankings.add(&compute(1), &narrow), Err(Error::Width { .. })));
    }

    #[test]
    fn a_document_counts_once_by_its_nearest_chunk() {
        let query = Matrix::of(&[[1.0, 0.0]]).expect("a query");
        let mut rankings = Rankings::new(query, 3);
        for chunks in [[[0.6, 0.8], [0.8, 0.6]], [[1.0, 0.0], [0.9, 0.1]], [[0.0, 1.0], [0.1, 1.0]]]
        {
            let chunks = Matrix::of(&chunks).expect("chunks");
            rankings.add_best(&compute(1), &chunks).expect("one width");
        }
        let documents: Vec<usize> = rankings.of(0).iter().map(|ranked| ranked.row).collect();
        assert_eq!(documents, [1, 0, 2]);
        assert_eq!(rankings.of(0)[1].cosine, 0.8);
    }
}
