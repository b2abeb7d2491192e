//! Near duplicates: each vector is a leader, or so close to one that it is left out.
//!
//! Near duplicates are found by leaders (Hartigan 1975), not as connected components: the ends of a
//! chain of small changes may have nothing in common, but a vector is never farther from its leader
//! than the threshold. Only leaders are kept, in half precision, and vectors are compared with
//! them.
//!
//! A vector is compared with all leaders while these are few. When there are many, they are divided
//! into cells around centres of k-means, and a vector is compared with the leaders of the nearest
//! cells. [`Leaders::audit`] measures what that misses.

mod cell;

use crate::cluster::{coarse_centres, nearest};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use cell::{Cell, to_f16, to_f32};
use kokeshi_kernels::scan::{F16_ROW, dot_f16};

/// Maximum number of leaders without cells: a vector is compared with all of them.
const MAX_EXACT: usize = 1 << 15;
/// Factor by which the number of leaders grows before they are divided into cells again.
const GROWTH: usize = 4;
/// Number of cells per square root of the number of leaders.
const CELLS: f64 = 4.0;
/// Number of cells that a vector is compared with.
const PROBES: usize = 16;
/// Number of sampled leaders per centre, from which the centres are computed.
const PER_CENTRE: usize = 20;
/// Rounds of k-means.
const ROUNDS: usize = 6;
/// Number of rows of a cell without a centre.
const PLAIN_CELL: usize = 1024;
/// Number of rows per task.
const BLOCK: usize = 64;
/// Maximum number of queries that one task compares with a cell.
const QUERIES_PER_TASK: usize = 256;

/// The leader of a vector that is not a leader itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The caller's name of the leader.
    pub leader: usize,
    /// The cosine to the leader.
    pub cosine: f32,
}

impl Match {
    /// The nearer of both; of equally near ones, the leader with the smaller name, whatever its
    /// cell.
    fn nearer(self, other: Self) -> Self {
        let other_wins = (other.cosine, self.leader) > (self.cosine, other.leader);
        if other_wins { other } else { self }
    }
}

/// How many leaders should not be leaders, because an earlier leader was in a cell that they were
/// not compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Leaders that were compared with all leaders before them.
    pub checked: usize,
    /// Those of them that should not be leaders.
    pub missed: usize,
}

/// The leaders of a stream of vectors.
#[derive(Debug)]
pub struct Leaders {
    compute: Compute,
    threshold: f32,
    dimensions: usize,
    /// Whether to compare with all leaders, however many there are.
    exact: bool,
    /// Maximum number of bytes of the leaders.
    limit: usize,
    cells: Vec<Cell>,
    /// The centre of each cell; `None` for cells without centres.
    centres: Option<Matrix>,
    count: usize,
    /// Number of leaders at which they are divided into cells again.
    next_division: usize,
}

impl Leaders {
    /// An empty set of leaders. A vector of `dimensions` becomes a leader unless its cosine to one
    /// is at least `threshold`. The leaders may take `limit` bytes. With `exact`, vectors are
    /// always compared with all leaders.
    pub fn new(
        compute: &Compute,
        dimensions: usize,
        threshold: f32,
        exact: bool,
        limit: usize,
    ) -> Self {
        let compute = compute.clone();
        let (cells, centres) = (Vec::new(), None);
        Self {
            compute,
            threshold,
            dimensions,
            exact,
            limit,
            cells,
            centres,
            count: 0,
            next_division: MAX_EXACT,
        }
    }

    /// Number of leaders.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no leaders.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the leaders take.
    pub fn len_bytes(&self) -> usize {
        self.cells.iter().map(Cell::len_bytes).sum()
    }

    /// Whether a vector is compared with only some of the leaders.
    pub fn is_approximate(&self) -> bool {
        self.centres.is_some()
    }

    /// The nearest leader of each of `rows` among the leaders before it. A row without one becomes
    /// a leader itself, under its name in `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Width`] if the rows have another width, [`Error::Memory`] if the leaders reach
    /// their limit.
    pub fn offer(&mut self, names: &[usize], rows: &Matrix) -> Result<Vec<Option<Match>>> {
        if rows.dimensions() != self.dimensions {
            return Err(Error::Width { expected: self.dimensions, got: rows.dimensions() });
        }
        if self.count >= self.next_division && !self.exact {
            self.divide();
        }
        let queries = self.queries(rows);
        let homes = self.homes(rows);
        let mut best = self.among_leaders(&queries, &homes, |_, _| true);
        let open: Vec<usize> = (0..rows.len()).filter(|&row| best[row].is_none()).collect();
        let near = self.among_rows(&queries, &open);
        let mut is_leader = vec![false; rows.len()];
        for (row, near) in near.into_iter().enumerate() {
            for (other, cosine) in near.into_iter().filter(|(other, _)| is_leader[*other]) {
                if best[row].is_none_or(|best| cosine > best.cosine) {
                    best[row] = Some(Match { leader: names[other], cosine });
                }
            }
            is_leader[row] = best[row].is_none();
        }
        for row in open.into_iter().filter(|&row| is_leader[row]) {
            self.add(names[row], &to_f16(&queries[row]), homes.get(row).and_then(|h| h.first()))?;
        }
        Ok(best)
    }

    /// Compares about `count` leaders, evenly spread, with all leaders before them.
    pub fn audit(&self, count: usize) -> Audit {
        let all: Vec<(usize, usize)> = (self.cells.iter().enumerate())
            .flat_map(|(cell, leaders)| (0..leaders.names.len()).map(move |index| (cell, index)))
            .collect();
        let step = (all.len() / count.max(1)).max(1);
        let sample: Vec<(usize, usize)> = all.into_iter().step_by(step).collect();
        let width = self.width();
        let name = |&(cell, index): &(usize, usize)| self.cells[cell].names[index];
        let query = |&(cell, index): &(usize, usize)| {
            to_f32(&self.cells[cell].rows[index * width..][..width])
        };
        let queries: Vec<Vec<f32>> = sample.iter().map(query).collect();
        let names: Vec<usize> = sample.iter().map(name).collect();
        let matches = self.among_leaders(&queries, &[], |query, leader| leader < names[query]);
        Audit { checked: names.len(), missed: matches.into_iter().flatten().count() }
    }

    /// Values of a row, padding included.
    fn width(&self) -> usize {
        self.dimensions.next_multiple_of(F16_ROW)
    }

    /// Rows in the form that the kernel compares with leaders: padded and rounded like leaders, so
    /// that a pair has the same cosine whichever of the two is the leader.
    fn queries(&self, rows: &Matrix) -> Vec<Vec<f32>> {
        let width = self.width();
        let query = |row: usize| {
            let mut padded = rows.row(row).to_vec();
            padded.resize(width, 0.0);
            to_f32(&to_f16(&padded))
        };
        (0..rows.len()).map(query).collect()
    }

    /// The cells that each row is compared with, the nearest first; an empty list if each row is
    /// compared with all cells.
    fn homes(&self, rows: &Matrix) -> Vec<Vec<usize>> {
        let Some(centres) = &self.centres else { return Vec::new() };
        let probes = PROBES.min(centres.len());
        let blocks = self.compute.blocks(rows.len(), BLOCK, |range| {
            let cells = |row: usize| {
                let products = centres.products(&self.compute, rows.padded(row));
                let mut cells: Vec<usize> = (0..centres.len()).collect();
                let by_product = |a: &usize, b: &usize| products[*b].total_cmp(&products[*a]);
                cells.select_nth_unstable_by(probes - 1, by_product);
                cells.truncate(probes);
                cells.sort_by(by_product);
                cells
            };
            range.map(cells).collect::<Vec<_>>()
        });
        blocks.into_iter().flatten().collect()
    }

    /// The nearest leader of each query within the threshold, among the leaders of the query's
    /// cells for which `eligible(query, leader)` is true. A task is a cell with up to
    /// [`QUERIES_PER_TASK`] of its queries, so that the cell's rows are read from memory once for
    /// all of them.
    fn among_leaders(
        &self,
        queries: &[Vec<f32>],
        homes: &[Vec<usize>],
        eligible: impl Fn(usize, usize) -> bool + Sync,
    ) -> Vec<Option<Match>> {
        let mut visitors = vec![Vec::new(); self.cells.len()];
        for query in 0..queries.len() {
            match homes.get(query) {
                Some(cells) => cells.iter().for_each(|&cell| visitors[cell].push(query)),
                None => visitors.iter_mut().for_each(|visitors| visitors.push(query)),
            }
        }
        let tasks: Vec<(&Cell, &[usize])> = (self.cells.iter().zip(&visitors))
            .flat_map(|(cell, visitors)| {
                visitors.chunks(QUERIES_PER_TASK).map(move |part| (cell, part))
            })
            .collect();
        let matches = self.compute.each(tasks, |(cell, visitors)| {
            let mut scores = vec![0.0; cell.names.len()];
            let mut matches = Vec::new();
            for &query in visitors {
                dot_f16(self.compute.level, &queries[query], &cell.rows, &mut scores);
                let near = scores.iter().zip(&cell.names);
                let near = near.map(|(&cosine, &leader)| Match { leader, cosine });
                let near = near
                    .filter(|near| near.cosine >= self.threshold && eligible(query, near.leader));
                matches.extend(near.reduce(Match::nearer).map(|near| (query, near)));
            }
            matches
        });
        let mut best: Vec<Option<Match>> = vec![None; queries.len()];
        for (query, near) in matches.into_iter().flatten() {
            best[query] = Some(best[query].map_or(near, |best| best.nearer(near)));
        }
        best
    }

    /// For each query, the rows of `open` before it that are within the threshold, with their
    /// cosines.
    fn among_rows(&self, queries: &[Vec<f32>], open: &[usize]) -> Vec<Vec<(usize, f32)>> {
        let rows: Vec<u16> = open.iter().flat_map(|&row| to_f16(&queries[row])).collect();
        let blocks = self.compute.blocks(queries.len(), BLOCK, |range| {
            let mut scores = vec![0.0; open.len()];
            let near = |query: usize| {
                let before = open.partition_point(|&other| other < query);
                let (rows, scores) = (&rows[..before * self.width()], &mut scores[..before]);
                dot_f16(self.compute.level, &queries[query], rows, scores);
                let near = open.iter().copied().zip(scores.iter().copied());
                near.filter(|(_, score)| *score >= self.threshold).collect()
            };
            range.map(near).collect::<Vec<Vec<_>>>()
        });
        blocks.into_iter().flatten().collect()
    }

    /// Adds a leader to the cell `home`, or to the last one without a centre.
    fn add(&mut self, name: usize, row: &[u16], home: Option<&usize>) -> Result<()> {
        let bytes = self.count * (2 * row.len() + size_of::<usize>());
        if bytes >= self.limit {
            return Err(Error::Memory { rows: self.count, bytes });
        }
        let cell = match home {
            Some(&cell) => &mut self.cells[cell],
            None => {
                if self.cells.last().is_none_or(|cell| cell.names.len() == PLAIN_CELL) {
                    self.cells.push(Cell::default());
                }
                let last = self.cells.len() - 1;
                &mut self.cells[last]
            }
        };
        cell.push(name, row);
        self.count += 1;
        Ok(())
    }

    /// Divides all leaders into cells around new centres.
    fn divide(&mut self) {
        let count = (CELLS * (self.count as f64).sqrt()) as usize;
        let width = self.width();
        let step = (self.count / (PER_CENTRE * count)).max(1);
        let rows = self.cells.iter().flat_map(|cell| cell.rows.chunks_exact(width));
        let mut sample = Matrix::new(self.dimensions);
        for row in rows.step_by(step) {
            // This cannot fail, here and below: all leaders have the same width.
            let _ = sample.push(&to_f32(row)[..self.dimensions]);
        }
        let centres = coarse_centres(&self.compute, &sample, count, ROUNDS);
        let mut cells: Vec<Cell> = (0..centres.len()).map(|_| Cell::default()).collect();
        for old in std::mem::take(&mut self.cells) {
            let mut matrix = Matrix::new(self.dimensions);
            for row in old.rows.chunks_exact(width) {
                let _ = matrix.push(&to_f32(row)[..self.dimensions]);
            }
            let near = nearest(&self.compute, &matrix, &centres);
            let rows = old.names.iter().zip(old.rows.chunks_exact(width));
            for ((&name, row), near) in rows.zip(near) {
                cells[near.centre].push(name, row);
            }
        }
        self.next_division = self.count * GROWTH;
        (self.cells, self.centres) = (cells, Some(centres));
    }
}

#[cfg(test)]
mod tests;
