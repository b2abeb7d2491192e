//! t-SNE: maps on which neighbours stay neighbours.

use crate::compute::Compute;
use crate::matrix::Matrix;
use bhtsne::{Neighbor, tSNE};
use kokeshi_kernels::random::Random;

/// Effective number of neighbours of a row; lower if there are few rows.
const PERPLEXITY: f32 = 30.0;
/// Accuracy of the forces between distant rows (Barnes and Hut).
const THETA: f32 = 0.5;
/// Number of rows per task.
const BLOCK: usize = 64;
/// Minimum number of rows: the smallest perplexity is 1, which needs three neighbours.
const MIN_ROWS: usize = 5;

/// Positions of `rows` by t-SNE (van der Maaten 2014) from their exact nearest neighbours by
/// cosine. `start` has the initial positions, such as the principal components, and is returned
/// unchanged if there are too few rows.
pub fn tsne(compute: &Compute, rows: &Matrix, start: &[[f32; 2]]) -> Vec<[f32; 2]> {
    if rows.len() < MIN_ROWS || rows.len() != start.len() {
        return start.to_vec();
    }
    let perplexity = PERPLEXITY.min((rows.len() - 1) as f32 / 3.0).floor().max(1.0);
    let count = (3 * perplexity as usize).min(rows.len() - 1);
    let neighbours = neighbours(compute, rows, count);
    // The library's sums depend on how work is divided among threads; with one thread they do not.
    let Ok(single) = Compute::new(Some(1), Some(compute.level)) else { return start.to_vec() };
    let positions = single.each(vec![()], |()| {
        let indices: Vec<usize> = (0..rows.len()).collect();
        let mut map: tSNE<'_, f32, usize> = tSNE::new(&indices);
        map.perplexity(perplexity).initial_embedding(initial_positions(start));
        map.barnes_hut_with_neighbors(THETA, &neighbours);
        map.embedding()
    });
    positions.concat().as_chunks().0.to_vec()
}

/// The `count` nearest rows of each row, with their distances.
fn neighbours(compute: &Compute, rows: &Matrix, count: usize) -> Vec<Vec<Neighbor<f32>>> {
    let blocks = compute.blocks(rows.len(), BLOCK, |range| {
        let near = |row: usize| {
            let products = rows.products(compute, rows.padded(row));
            let mut others: Vec<usize> = (0..rows.len()).filter(|&other| other != row).collect();
            let by_cosine = |a: &usize, b: &usize| products[*b].total_cmp(&products[*a]);
            if count < others.len() {
                others.select_nth_unstable_by(count, by_cosine);
                others.truncate(count);
            }
            others.sort_by(by_cosine);
            let distance = |index: usize| (2.0 - 2.0 * products[index]).max(0.0).sqrt();
            let others = others.into_iter();
            others.map(|index| Neighbor { index, distance: distance(index) }).collect()
        };
        range.map(near).collect::<Vec<Vec<_>>>()
    });
    blocks.into_iter().flatten().collect()
}

/// `start` scaled to a standard deviation of 1e-4 along the first axis, as is usual for t-SNE, plus
/// noise of a hundredth of that, because equal positions would never separate.
fn initial_positions(start: &[[f32; 2]]) -> Vec<f32> {
    let squares: f32 = start.iter().map(|[x, _]| x * x).sum();
    let deviation = (squares / start.len() as f32).sqrt();
    let scale = if deviation > 0.0 { 1e-4 / deviation } else { 0.0 };
    let mut random = Random::new(2);
    let moved = start.iter().flatten().map(|x| x * scale + 1e-6 * (random.unit() as f32 - 0.5));
    moved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pca::Pca;

    #[test]
    fn separate_groups_are_separate_on_a_reproducible_map() {
        let compute = Compute::new(Some(2), None).expect("threads");
        let (mut random, mut rows) = (Random::new(5), Matrix::new(12));
        for i in 0..120 {
            let mut vector: Vec<f32> = (0..12).map(|_| random.unit() as f32 * 0.3).collect();
            vector[i % 3] += 1.0;
            rows.push(&vector).expect("a row");
        }
        let start = Pca::of(&compute, &rows).project(&compute, &rows);
        let map = tsne(&compute, &rows, &start);
        assert_eq!(tsne(&compute, &rows, &start), map);
        let distance = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        for (i, &position) in map.iter().enumerate() {
            let others = (0..map.len()).filter(|&other| other != i);
            let next = others
                .min_by(|&a, &b| distance(position, map[a]).total_cmp(&distance(position, map[b])));
            assert_eq!(next.expect("a neighbour") % 3, i % 3);
        }
    }

    #[test]
    fn few_rows_and_equal_rows_have_a_map() {
        let compute = Compute::new(Some(1), None).expect("threads");
        for count in [1, 4, 5, 6, 40] {
            let rows = Matrix::of(&vec![[0.6, 0.8]; count]).expect("rows");
            let map = tsne(&compute, &rows, &vec![[0.0, 0.0]; count]);
            assert_eq!(map.len(), count);
            assert!(map.iter().flatten().all(|x| x.is_finite()), "{count}: {map:?}");
        }
    }
}
