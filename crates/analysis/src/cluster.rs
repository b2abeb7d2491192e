//! k-means on the unit sphere: each row belongs to the centre with the largest cosine.

use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::silhouette::silhouette;
use kokeshi_kernels::random::Random;

/// Rows that the starts are tried on, at most.
const START_ROWS: usize = 20_000;
/// Starts of which the best goes on with all rows.
const STARTS: usize = 8;
/// Rounds of a start, and of all rows. Few rows still move when they are over.
const START_ROUNDS: usize = 10;
const ROUNDS: usize = 100;
/// Rows that numbers of groups are tried on, and starts of each try.
const TRIAL_ROWS: usize = 4_000;
const TRIAL_STARTS: usize = 4;
/// Most groups that are found without being asked for.
const MOST_FOUND: usize = 40;
/// Rows of a task.
const BLOCK: usize = 512;
const SEED: u64 = 0x6b6f_6b65_7368_6921;

/// Groups of rows, the largest first.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// The direction of each group's mean.
    pub centres: Matrix,
    /// The group of each row.
    pub groups: Vec<usize>,
    /// The cosine of each row to its group's centre.
    pub cosines: Vec<f32>,
}

/// A number of groups that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Number of groups.
    pub groups: usize,
    /// Their mean silhouette.
    pub silhouette: f32,
}

/// `count` groups of `rows`: k-means++ (Arthur and Vassilvitskii 2007) with several starts on a
/// sample, then Lloyd's rounds on all rows from the best of them.
///
/// # Errors
///
/// [`Error::Nothing`] without rows or groups, [`Error::TooManyGroups`] if rows are too much alike.
pub fn cluster(compute: &Compute, rows: &Matrix, count: usize) -> Result<Clusters> {
    run(compute, rows, count, STARTS)
}

/// The number of groups with the largest mean silhouette on a sample of `rows`, and all that were
/// tried: every one up to 10, then ever fewer up to 40. One group if rows are too few or too much
/// alike for two.
///
/// # Errors
///
/// [`Error::Nothing`] without rows.
pub fn choose(compute: &Compute, rows: &Matrix) -> Result<(usize, Vec<Trial>)> {
    if rows.is_empty() {
        return Err(Error::Nothing);
    }
    let sample = rows.gathered(&rows.sample(TRIAL_ROWS));
    let most = MOST_FOUND.min(sample.len().saturating_sub(1));
    let mut trials = Vec::new();
    let mut groups = 2;
    while groups <= most {
        match run(compute, &sample, groups, TRIAL_STARTS) {
            Ok(clusters) => {
                let widths = silhouette(compute, &sample, &clusters.groups, groups);
                let mean = widths.iter().sum::<f32>() / widths.len() as f32;
                trials.push(Trial { groups, silhouette: mean });
            }
            Err(Error::TooManyGroups { .. }) => break,
            Err(other) => return Err(other),
        }
        groups += (groups / 5).max(1);
    }
    let best = trials.iter().reduce(|a, b| if b.silhouette > a.silhouette { b } else { a });
    Ok((best.map_or(1, |best| best.groups), trials))
}

fn run(compute: &Compute, rows: &Matrix, count: usize, starts: usize) -> Result<Clusters> {
    if count == 0 || rows.is_empty() {
        return Err(Error::Nothing);
    }
    let sample = rows.gathered(&rows.sample(START_ROWS));
    let mut random = Random::new(SEED);
    let mut best: Option<(f64, Matrix)> = None;
    for _ in 0..starts {
        let centres = spread(compute, &sample, count, &mut random)?;
        let (centres, near) = settled(compute, &sample, centres, START_ROUNDS);
        let total = near.iter().map(|near| f64::from(near.cosine)).sum::<f64>();
        if best.as_ref().is_none_or(|(largest, _)| total > *largest) {
            best = Some((total, centres));
        }
    }
    let (_, centres) = best.ok_or(Error::Nothing)?;
    let (centres, near) = settled(compute, rows, centres, ROUNDS);
    Ok(by_size(&centres, &near))
}

/// About `count` centres of `rows` by few rounds from rows that are evenly spread: enough to divide
/// many rows into cells, not to describe groups.
pub(crate) fn coarse(compute: &Compute, rows: &Matrix, count: usize, rounds: usize) -> Matrix {
    let start = rows.gathered(&rows.sample(count));
    settled(compute, rows, start, rounds).0
}

/// The centre nearest to a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    pub(crate) centre: usize,
    pub(crate) cosine: f32,
}

/// The nearest of `centres` to each of `rows`; of equals, the first.
pub(crate) fn nearest(compute: &Compute, rows: &Matrix, centres: &Matrix) -> Vec<Near> {
    let blocks = compute.blocks(rows.len(), BLOCK, |range| {
        let near = |row: usize| {
            let products = centres.products(compute, rows.padded(row));
            let all = products.into_iter().enumerate();
            let all = all.map(|(centre, cosine)| Near { centre, cosine });
            all.reduce(|a, b| if b.cosine > a.cosine { b } else { a })
        };
        range.filter_map(near).collect::<Vec<_>>()
    });
    blocks.into_iter().flatten().collect()
}

/// `count` rows, each drawn with the square of its distance to those before it: on the unit sphere
/// that is 2 − 2 cos.
fn spread(compute: &Compute, rows: &Matrix, count: usize, random: &mut Random) -> Result<Matrix> {
    let mut chosen = vec![random.below(rows.len())];
    let mut distances = vec![f32::INFINITY; rows.len()];
    while chosen.len() < count {
        let last = rows.padded(chosen[chosen.len() - 1]);
        let products = rows.products(compute, last);
        for (distance, product) in distances.iter_mut().zip(products) {
            // Below what rounding leaves of equal rows, a row is a copy.
            let away = if product > 1.0 - 1e-6 { 0.0 } else { 1.0 - product };
            *distance = distance.min(away);
        }
        let next = random.weighted(&distances);
        let distinct = chosen.len();
        chosen.push(next.ok_or(Error::TooManyGroups { groups: count, distinct })?);
    }
    Ok(rows.gathered(&chosen))
}

/// Lloyd's rounds until no row changes its group, `rounds` at most.
fn settled(
    compute: &Compute,
    rows: &Matrix,
    mut centres: Matrix,
    rounds: usize,
) -> (Matrix, Vec<Near>) {
    let mut near = nearest(compute, rows, &centres);
    for _ in 0..rounds {
        refill(&mut near, centres.len());
        centres = means(compute, rows, &near, centres.len());
        let next = nearest(compute, rows, &centres);
        let still = next.iter().zip(&near).all(|(next, near)| next.centre == near.centre);
        near = next;
        if still {
            break;
        }
    }
    (centres, near)
}

/// Gives each empty group the row that is farthest from its own centre.
fn refill(near: &mut [Near], groups: usize) {
    let mut sizes = vec![0_usize; groups];
    near.iter().for_each(|near| sizes[near.centre] += 1);
    for group in 0..groups {
        if sizes[group] == 0 {
            let taken = near.iter_mut().filter(|near| sizes[near.centre] > 1);
            if let Some(row) = taken.min_by(|a, b| a.cosine.total_cmp(&b.cosine)) {
                sizes[row.centre] -= 1;
                *row = Near { centre: group, cosine: 1.0 };
                sizes[group] = 1;
            }
        }
    }
}

/// The directions of the groups' means.
fn means(compute: &Compute, rows: &Matrix, near: &[Near], groups: usize) -> Matrix {
    let groups_of: Vec<usize> = near.iter().map(|near| near.centre).collect();
    let sums = sums(compute, rows, &groups_of, groups);
    let mut centres = Matrix::new(rows.dimensions());
    for sum in sums {
        let sum: Vec<f32> = sum.into_iter().map(|x| x as f32).collect();
        // All sums have the width of the rows.
        let _ = centres.push(&sum);
    }
    centres
}

/// The sum of each group's rows.
pub(crate) fn sums(
    compute: &Compute,
    rows: &Matrix,
    groups_of: &[usize],
    groups: usize,
) -> Vec<Vec<f64>> {
    let mut members = vec![Vec::new(); groups];
    groups_of.iter().enumerate().for_each(|(row, &group)| members[group].push(row));
    compute.each(members, |members| {
        let mut sum = vec![0.0; rows.dimensions()];
        for row in members {
            sum.iter_mut().zip(rows.row(row)).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        sum
    })
}

fn by_size(centres: &Matrix, near: &[Near]) -> Clusters {
    let mut sizes = vec![0_usize; centres.len()];
    near.iter().for_each(|near| sizes[near.centre] += 1);
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&group| sizes[group] > 0).collect();
    order.sort_by_key(|&group| std::cmp::Reverse(sizes[group]));
    let mut places = vec![0; sizes.len()];
    order.iter().enumerate().for_each(|(place, &group)| places[group] = place);
    Clusters {
        centres: centres.gathered(&order),
        groups: near.iter().map(|near| places[near.centre]).collect(),
        cosines: near.iter().map(|near| near.cosine).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(threads: usize) -> Compute {
        Compute::new(Some(threads), None).expect("threads")
    }

    /// `per` rows about each of `directions` axes, the later ones fewer.
    fn blobs(directions: usize, per: usize, noise: f64) -> (Matrix, Vec<usize>) {
        let mut random = Random::new(7);
        let (mut rows, mut truth) = (Matrix::new(24), Vec::new());
        for i in 0..directions * per {
            let axis = i % directions;
            let mut vector: Vec<f32> =
                (0..24).map(|_| (noise * (random.unit() - 0.5)) as f32).collect();
            vector[axis] += 1.0;
            rows.push(&vector).expect("a row");
            truth.push(axis);
        }
        (rows, truth)
    }

    #[test]
    fn groups_that_lie_apart_are_found_and_counted() {
        let (rows, truth) = blobs(7, 40, 0.5);
        let (count, trials) = choose(&compute(2), &rows).expect("trials");
        assert_eq!(count, 7, "{trials:?}");
        let clusters = cluster(&compute(2), &rows, count).expect("clusters");
        let mut names = [None; 7];
        for (group, axis) in clusters.groups.iter().zip(truth) {
            assert_eq!(*names[axis].get_or_insert(*group), *group);
        }
        assert!(clusters.cosines.iter().all(|&cosine| cosine > 0.6));
    }

    #[test]
    fn the_result_does_not_depend_on_threads_and_is_the_same_every_time() {
        let (rows, _) = blobs(5, 300, 1.5);
        let first = cluster(&compute(1), &rows, 6).expect("clusters");
        for threads in [1, 2, 3] {
            let again = cluster(&compute(threads), &rows, 6).expect("clusters");
            assert_eq!(
                (again.groups, again.cosines),
                (first.groups.clone(), first.cosines.clone())
            );
        }
    }

    #[test]
    fn the_largest_group_is_the_first() {
        let mut rows = Matrix::new(2);
        for i in 0..10 {
            rows.push(if i % 5 == 0 { &[1.0, 0.1] } else { &[0.0, 1.0] }).expect("a row");
        }
        let clusters = cluster(&compute(1), &rows, 2).expect("clusters");
        assert_eq!(clusters.groups, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn copies_are_no_groups() {
        let rows = Matrix::of(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).expect("rows");
        let error = cluster(&compute(1), &rows, 3).expect_err("two vectors").to_string();
        assert_eq!(error, "3 groups were asked for, but there are only 2 different vectors");
        assert_eq!(choose(&compute(1), &rows).expect("trials").0, 2);
        let alike = Matrix::of(&[[1.0, 0.0]; 5]).expect("rows");
        assert_eq!(choose(&compute(1), &alike).expect("trials").0, 1);
        let alone = cluster(&compute(1), &alike, 1).expect("one group");
        assert_eq!(alone.groups, [0; 5]);
    }

    #[test]
    fn an_empty_group_takes_the_row_that_fits_worst() {
        let mut near =
            [(0, 0.9), (0, 0.2), (1, 0.1)].map(|(centre, cosine)| Near { centre, cosine });
        refill(&mut near, 3);
        assert_eq!(near.map(|near| near.centre), [0, 2, 1]);
    }
}
