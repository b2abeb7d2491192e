//! Near duplicates: each vector is one of the leaders, or so near to one that it is left out.
//!
//! Leaders (Hartigan 1975) and no connected components: in a chain of small changes the ends of a
//! component may have nothing in common, while a vector is never farther from its leader than the
//! threshold. Only leaders are held and compared with, in half precision.
//!
//! While leaders are few, every vector is compared with all of them. When there are many, they lie in
//! cells about centres of k-means, and a vector is compared with those in the nearest cells; what
//! that misses is measured by [`Leaders::audit`].

use crate::cluster::{coarse, nearest};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use half::f16;
use half::slice::HalfFloatSliceExt;
use kokeshi_kernels::scan::{F16_ROW, dot_f16};

/// Leaders that are compared with one by one; beyond, there are cells.
const EXACT: usize = 1 << 15;
/// How many times as many leaders as when the cells were made make them be made anew.
const GROWTH: usize = 4;
/// Cells are this many times the root of the number of leaders; each vector looks into so many.
const CELLS: f64 = 4.0;
const PROBES: usize = 16;
/// Leaders that centres are computed from, for each of them, and rounds.
const PER_CENTRE: usize = 20;
const ROUNDS: usize = 6;
/// Rows of a cell that was not made about a centre.
const PLAIN_CELL: usize = 1024;
/// Rows of a task, and queries of a task that compares them with a cell.
const BLOCK: usize = 64;
const VISITORS: usize = 256;

/// The leader of a vector that is none itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// What the caller calls it.
    pub leader: usize,
    /// The cosine to it.
    pub cosine: f32,
}

impl Match {
    /// The nearer of both; of equals the first, wherever its cell lies.
    fn nearer(self, other: Self) -> Self {
        let other_wins = (other.cosine, self.leader) > (self.cosine, other.leader);
        if other_wins { other } else { self }
    }
}

/// How many leaders have a leader before them that the cells have hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Leaders that were compared with all others.
    pub checked: usize,
    /// Those that should be none.
    pub missed: usize,
}

/// Leaders so far.
#[derive(Debug)]
pub struct Leaders {
    compute: Compute,
    threshold: f32,
    dimensions: usize,
    /// Compare with all leaders, however many they are.
    exact: bool,
    /// Bytes that leaders may take.
    limit: usize,
    cells: Vec<Cell>,
    /// The centre of each cell, if there are centres.
    centres: Option<Matrix>,
    count: usize,
    /// Number of leaders that makes cells be made anew.
    full: usize,
}

/// Leaders that are compared with together.
#[derive(Debug, Default)]
struct Cell {
    names: Vec<usize>,
    /// `[names, width]`, in half precision
    rows: Vec<u16>,
}

impl Leaders {
    /// None yet. Vectors of `dimensions` whose cosine to a leader is `threshold` or more are not
    /// leaders; those may take `limit` bytes. `exact` compares with all of them always.
    pub fn new(
        compute: &Compute,
        dimensions: usize,
        threshold: f32,
        exact: bool,
        limit: usize,
    ) -> Self {
        let compute = compute.clone();
        let (cells, centres) = (Vec::new(), None);
        Self { compute, threshold, dimensions, exact, limit, cells, centres, count: 0, full: EXACT }
    }

    /// Number of leaders.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        let cell =
            |cell: &Cell| 2 * cell.rows.capacity() + size_of::<usize>() * cell.names.capacity();
        self.cells.iter().map(cell).sum()
    }

    /// Whether vectors are compared with a part of the leaders only.
    pub fn is_approximate(&self) -> bool {
        self.centres.is_some()
    }

    /// The nearest leader of each of `rows` among those before it; a row that has none is a leader
    /// from now on, by the name that it has in `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Width`] if rows have another width, [`Error::Memory`] if the leaders' memory is full.
    pub fn offer(&mut self, names: &[usize], rows: &Matrix) -> Result<Vec<Option<Match>>> {
        if rows.dimensions() != self.dimensions {
            return Err(Error::Width { wanted: self.dimensions, got: rows.dimensions() });
        }
        if self.count >= self.full && !self.exact {
            self.divide();
        }
        let queries = self.queries(rows);
        let homes = self.homes(rows);
        let mut best = self.among_leaders(&queries, &homes, |_, _| true);
        let open: Vec<usize> = (0..rows.len()).filter(|&row| best[row].is_none()).collect();
        let near = self.among(&queries, &open);
        let mut leads = vec![false; rows.len()];
        for (row, near) in near.into_iter().enumerate() {
            for (other, cosine) in near.into_iter().filter(|(other, _)| leads[*other]) {
                if best[row].is_none_or(|best| cosine > best.cosine) {
                    best[row] = Some(Match { leader: names[other], cosine });
                }
            }
            leads[row] = best[row].is_none();
        }
        for row in open.into_iter().filter(|&row| leads[row]) {
            self.add(names[row], &halves(&queries[row]), homes.get(row).and_then(|h| h.first()))?;
        }
        Ok(best)
    }

    /// Compares about `count` leaders, evenly spread, with all that are before them.
    pub fn audit(&self, count: usize) -> Audit {
        let all: Vec<(usize, usize)> = (self.cells.iter().enumerate())
            .flat_map(|(cell, in_cell)| (0..in_cell.names.len()).map(move |at| (cell, at)))
            .collect();
        let step = (all.len() / count.max(1)).max(1);
        let sample: Vec<(usize, usize)> = all.into_iter().step_by(step).collect();
        let width = self.width();
        let name = |&(cell, at): &(usize, usize)| self.cells[cell].names[at];
        let query =
            |&(cell, at): &(usize, usize)| floats(&self.cells[cell].rows[at * width..][..width]);
        let queries: Vec<Vec<f32>> = sample.iter().map(query).collect();
        let names: Vec<usize> = sample.iter().map(name).collect();
        let found = self.among_leaders(&queries, &[], |query, leader| leader < names[query]);
        Audit { checked: names.len(), missed: found.into_iter().flatten().count() }
    }

    fn width(&self) -> usize {
        self.dimensions.next_multiple_of(F16_ROW)
    }

    /// Rows as the kernel compares them with leaders: with the filling that those have, and rounded
    /// as those are, so that a pair has one cosine whichever of the two is the leader.
    fn queries(&self, rows: &Matrix) -> Vec<Vec<f32>> {
        let width = self.width();
        let query = |row: usize| {
            let mut padded = rows.row(row).to_vec();
            padded.resize(width, 0.0);
            floats(&halves(&padded))
        };
        (0..rows.len()).map(query).collect()
    }

    /// The cells that each row looks into, the nearest first; none stands for all.
    fn homes(&self, rows: &Matrix) -> Vec<Vec<usize>> {
        let Some(centres) = &self.centres else { return Vec::new() };
        let probes = PROBES.min(centres.len());
        let blocks = self.compute.blocks(rows.len(), BLOCK, |range| {
            let near = |row: usize| {
                let products = centres.products(&self.compute, rows.padded(row));
                let mut cells: Vec<usize> = (0..centres.len()).collect();
                let by_product = |a: &usize, b: &usize| products[*b].total_cmp(&products[*a]);
                cells.select_nth_unstable_by(probes - 1, by_product);
                cells.truncate(probes);
                cells.sort_by(by_product);
                cells
            };
            range.map(near).collect::<Vec<_>>()
        });
        blocks.into_iter().flatten().collect()
    }

    /// The nearest leader of each query, if the threshold allows it, among those in the query's cells
    /// for which `counts`. A task is a cell with all queries that look into it, so that its rows are
    /// read from memory once.
    fn among_leaders(
        &self,
        queries: &[Vec<f32>],
        homes: &[Vec<usize>],
        counts: impl Fn(usize, usize) -> bool + Sync,
    ) -> Vec<Option<Match>> {
        let mut visitors = vec![Vec::new(); self.cells.len()];
        for query in 0..queries.len() {
            match homes.get(query) {
                Some(cells) => cells.iter().for_each(|&cell| visitors[cell].push(query)),
                None => visitors.iter_mut().for_each(|visitors| visitors.push(query)),
            }
        }
        let tasks: Vec<(&Cell, &[usize])> = (self.cells.iter().zip(&visitors))
            .flat_map(|(cell, visitors)| visitors.chunks(VISITORS).map(move |part| (cell, part)))
            .collect();
        let found = self.compute.each(tasks, |(cell, visitors)| {
            let mut scores = vec![0.0; cell.names.len()];
            let mut found = Vec::new();
            for &query in visitors {
                dot_f16(self.compute.level, &queries[query], &cell.rows, &mut scores);
                let near = scores.iter().zip(&cell.names);
                let near = near.map(|(&cosine, &leader)| Match { leader, cosine });
                let near =
                    near.filter(|near| near.cosine >= self.threshold && counts(query, near.leader));
                found.extend(near.reduce(Match::nearer).map(|near| (query, near)));
            }
            found
        });
        let mut best: Vec<Option<Match>> = vec![None; queries.len()];
        for (query, found) in found.into_iter().flatten() {
            best[query] = Some(best[query].map_or(found, |best| best.nearer(found)));
        }
        best
    }

    /// For each query those of `open` before it that are near enough.
    fn among(&self, queries: &[Vec<f32>], open: &[usize]) -> Vec<Vec<(usize, f32)>> {
        let rows: Vec<u16> = open.iter().flat_map(|&row| halves(&queries[row])).collect();
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

    /// Puts all leaders into cells about new centres.
    fn divide(&mut self) {
        let count = (CELLS * (self.count as f64).sqrt()) as usize;
        let width = self.width();
        let step = (self.count / (PER_CENTRE * count)).max(1);
        let rows = self.cells.iter().flat_map(|cell| cell.rows.chunks_exact(width));
        let mut sample = Matrix::new(self.dimensions);
        for row in rows.step_by(step) {
            // All leaders have the same width; here and below.
            let _ = sample.push(&floats(row)[..self.dimensions]);
        }
        let centres = coarse(&self.compute, &sample, count, ROUNDS);
        let mut cells: Vec<Cell> = (0..centres.len()).map(|_| Cell::default()).collect();
        for old in std::mem::take(&mut self.cells) {
            let mut matrix = Matrix::new(self.dimensions);
            for row in old.rows.chunks_exact(width) {
                let _ = matrix.push(&floats(row)[..self.dimensions]);
            }
            let near = nearest(&self.compute, &matrix, &centres);
            let rows = old.names.iter().zip(old.rows.chunks_exact(width));
            for ((&name, row), near) in rows.zip(near) {
                cells[near.centre].push(name, row);
            }
        }
        self.full = self.count * GROWTH;
        (self.cells, self.centres) = (cells, Some(centres));
    }
}

impl Cell {
    /// Grows by a quarter: doubling would leave up to half of the memory unused.
    fn push(&mut self, name: usize, row: &[u16]) {
        if self.rows.capacity() - self.rows.len() < row.len() {
            let more = (self.names.len() / 4).max(4);
            self.rows.reserve_exact(more * row.len());
            self.names.reserve_exact(more);
        }
        self.names.push(name);
        self.rows.extend_from_slice(row);
    }
}

fn halves(row: &[f32]) -> Vec<u16> {
    row.iter().map(|x| f16::from_f32(*x).to_bits()).collect()
}

fn floats(row: &[u16]) -> Vec<f32> {
    let halves: Vec<f16> = row.iter().map(|bits| f16::from_bits(*bits)).collect();
    let mut floats = vec![0.0; row.len()];
    halves.convert_to_f32_slice(&mut floats);
    floats
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_kernels::random::Random;

    const UNLIMITED: usize = usize::MAX;

    fn compute(threads: usize) -> Compute {
        Compute::new(Some(threads), None).expect("threads")
    }

    /// `count` vectors about `centres` directions, copies and near copies among them.
    fn vectors(count: usize, centres: usize, noise: f32) -> Vec<Vec<f32>> {
        let mut random = Random::new(11);
        let mut normal = |scale: f32| -> Vec<f32> {
            (0..48)
                .map(|_| scale * ((0..6).map(|_| random.unit()).sum::<f64>() - 3.0) as f32)
                .collect()
        };
        let directions: Vec<Vec<f32>> = (0..centres).map(|_| normal(1.0)).collect();
        let about = |i: usize| {
            let direction = &directions[i * 37 % centres];
            direction.iter().zip(normal(noise)).map(|(a, b)| a + b).collect()
        };
        (0..count).map(about).collect()
    }

    /// The definition, one pair after the other.
    fn plain(rows: &Matrix, threshold: f32) -> Vec<Option<Match>> {
        let round = |row: usize| floats(&halves(rows.row(row)));
        let mut results: Vec<Option<Match>> = Vec::new();
        for row in 0..rows.len() {
            let earlier = (0..row).filter(|&other| results[other].is_none());
            let near = earlier.map(|leader| {
                let cosine = round(row).iter().zip(round(leader)).map(|(a, b)| a * b).sum();
                Match { leader, cosine }
            });
            results.push(near.filter(|near| near.cosine >= threshold).reduce(Match::nearer));
        }
        results
    }

    fn offered(leaders: &mut Leaders, rows: &Matrix, block: usize) -> Vec<Option<Match>> {
        let mut results = Vec::new();
        for start in (0..rows.len()).step_by(block) {
            let names: Vec<usize> = (start..rows.len().min(start + block)).collect();
            results.extend(leaders.offer(&names, &rows.gathered(&names)).expect("room"));
        }
        results
    }

    #[test]
    fn blocks_of_any_size_give_what_the_definition_gives() {
        let rows = Matrix::of(&vectors(300, 40, 0.35)).expect("rows");
        let want = plain(&rows, 0.9);
        let kept = want.iter().filter(|found| found.is_none()).count();
        assert!((50..250).contains(&kept), "{kept}");
        for (block, threads) in [(1, 1), (7, 2), (300, 2), (300, 3)] {
            let mut leaders = Leaders::new(&compute(threads), 48, 0.9, true, UNLIMITED);
            let got = offered(&mut leaders, &rows, block);
            assert_eq!(leaders.len(), kept);
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(
                    got.map(|found| found.leader),
                    want.map(|found| found.leader),
                    "{block}"
                );
                let cosines = got.zip(*want).map(|(a, b)| (a.cosine - b.cosine).abs());
                assert!(cosines.is_none_or(|away| away < 1e-5));
            }
            assert_eq!(leaders.audit(usize::MAX), Audit { checked: kept, missed: 0 });
        }
    }

    #[test]
    fn a_chain_is_cut_where_its_end_is_too_far_from_the_leader() {
        let angle = |degrees: f32| {
            let angle = degrees.to_radians();
            [angle.cos(), angle.sin()]
        };
        let rows = Matrix::of(&[0.0, 20.0, 40.0, 60.0].map(angle)).expect("rows");
        let mut leaders = Leaders::new(&compute(1), 2, 0.9, false, UNLIMITED);
        let found = offered(&mut leaders, &rows, 4);
        assert_eq!(
            found.iter().map(|f| f.map(|f| f.leader)).collect::<Vec<_>>(),
            [None, Some(0), None, Some(2)]
        );
    }

    #[test]
    fn cells_find_nearly_all_and_say_what_they_miss() {
        let rows = Matrix::of(&vectors(6000, 1500, 0.25)).expect("rows");
        let mut exact = Leaders::new(&compute(2), 48, 0.9, true, UNLIMITED);
        let want = offered(&mut exact, &rows, 256);
        let mut cells = Leaders::new(&compute(2), 48, 0.9, false, UNLIMITED);
        cells.full = 300;
        let got = offered(&mut cells, &rows, 256);
        assert!(cells.is_approximate() && !exact.is_approximate());
        assert!(cells.centres.as_ref().is_some_and(|centres| centres.len() > PROBES));
        let dropped = |found: &[Option<Match>]| found.iter().flatten().count();
        assert!(dropped(&want) > 1000, "{}", dropped(&want));
        assert!(dropped(&got) * 100 >= dropped(&want) * 97, "{} {}", dropped(&got), dropped(&want));
        let audit = cells.audit(usize::MAX);
        assert_eq!(audit.checked, cells.len());
        assert!(audit.missed >= cells.len().saturating_sub(exact.len()), "{audit:?}");
        assert!(got.iter().flatten().all(|found| got[found.leader].is_none()));
    }

    #[test]
    fn memory_has_an_end_that_is_told() {
        let rows = Matrix::of(&[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).expect("rows");
        let mut leaders = Leaders::new(&compute(1), 2, 0.9, false, 100);
        let error = leaders.offer(&[0, 1, 2], &rows).expect_err("full");
        assert_eq!(error.to_string(), "2 vectors take 144 bytes, all that they may");
        let narrow = Matrix::of(&[[1.0]]).expect("a row");
        assert!(matches!(leaders.offer(&[3], &narrow), Err(Error::Width { wanted: 2, got: 1 })));
    }
}
