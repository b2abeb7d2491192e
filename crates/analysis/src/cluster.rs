//! k-means on the unit sphere: each row belongs to the centre with the largest cosine.

use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::silhouette::silhouette;
use kokeshi_kernels::random::Random;

/// Maximum number of rows that starts are compared on.
const START_ROWS: usize = 20_000;
/// Number of starts, of which the best continues with all rows.
const STARTS: usize = 8;
/// Rounds of a start.
const START_ROUNDS: usize = 10;
/// Maximum number of rounds with all rows. After them, few rows still change their group.
const ROUNDS: usize = 100;
/// Maximum number of rows on which numbers of groups are tried.
const TRIAL_ROWS: usize = 4_000;
/// Number of starts of each trial.
const TRIAL_STARTS: usize = 4;
/// Maximum number of groups that is tried.
const MAX_GROUPS: usize = 40;
/// Number of rows per task.
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
/// sample, then Lloyd's algorithm on all rows from the best start.
///
/// # Errors
///
/// [`Error::Empty`] without rows or groups, [`Error::TooManyGroups`] if there are fewer different
/// rows.
pub fn cluster(compute: &Compute, rows: &Matrix, count: usize) -> Result<Clusters> {
    k_means(compute, rows, count, STARTS)
}

/// The number of groups with the largest mean silhouette on a sample of `rows`, and the trials:
/// every number up to 10, then in growing steps up to 40. One group if there are too few different
/// rows for two.
///
/// # Errors
///
/// [`Error::Empty`] without rows.
pub fn choose_groups(compute: &Compute, rows: &Matrix) -> Result<(usize, Vec<Trial>)> {
    if rows.is_empty() {
        return Err(Error::Empty);
    }
    let sample = rows.sample(TRIAL_ROWS).1;
    let limit = MAX_GROUPS.min(sample.len().saturating_sub(1));
    let mut trials = Vec::new();
    let mut groups = 2;
    while groups <= limit {
        match k_means(compute, &sample, groups, TRIAL_STARTS) {
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

/// `count` groups of `rows` from the best of `starts` starts.
fn k_means(compute: &Compute, rows: &Matrix, count: usize, starts: usize) -> Result<Clusters> {
    if count == 0 || rows.is_empty() {
        return Err(Error::Empty);
    }
    let sample = rows.sample(START_ROWS).1;
    let mut random = Random::new(SEED);
    let mut best: Option<(f64, Matrix)> = None;
    for _ in 0..starts {
        let centres = initial_centres(compute, &sample, count, &mut random)?;
        let (centres, nearest) = lloyd(compute, &sample, centres, START_ROUNDS);
        let total = nearest.iter().map(|nearest| f64::from(nearest.cosine)).sum::<f64>();
        if best.as_ref().is_none_or(|(largest, _)| total > *largest) {
            best = Some((total, centres));
        }
    }
    let (_, centres) = best.ok_or(Error::Empty)?;
    let (centres, nearest) = lloyd(compute, rows, centres, ROUNDS);
    Ok(by_size(&centres, &nearest))
}

/// At most `count` centres of `rows`, from a few `rounds` that start at evenly spread rows:
/// accurate enough to divide many rows into cells, but not to describe groups.
pub(crate) fn coarse_centres(
    compute: &Compute,
    rows: &Matrix,
    count: usize,
    rounds: usize,
) -> Matrix {
    let start = rows.sample(count).1;
    lloyd(compute, rows, start, rounds).0
}

/// The centre nearest to a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nearest {
    pub(crate) centre: usize,
    pub(crate) cosine: f32,
}

/// The centre nearest to each of `rows`; the first of equally near ones.
pub(crate) fn nearest(compute: &Compute, rows: &Matrix, centres: &Matrix) -> Vec<Nearest> {
    let blocks = compute.blocks(rows.len(), BLOCK, |range| {
        let nearest = |row: usize| {
            let products = centres.products(compute, rows.padded(row));
            let all = products.into_iter().enumerate();
            let all = all.map(|(centre, cosine)| Nearest { centre, cosine });
            all.reduce(|a, b| if b.cosine > a.cosine { b } else { a })
        };
        range.filter_map(nearest).collect::<Vec<_>>()
    });
    blocks.into_iter().flatten().collect()
}

/// `count` rows by k-means++: each is drawn in proportion to the squared distance to the nearest
/// row drawn before it, which is 2 − 2 cos on the unit sphere.
///
/// # Errors
///
/// [`Error::TooManyGroups`] if there are fewer different rows.
fn initial_centres(
    compute: &Compute,
    rows: &Matrix,
    count: usize,
    random: &mut Random,
) -> Result<Matrix> {
    let mut chosen = vec![random.below(rows.len())];
    let mut distances = vec![f32::INFINITY; rows.len()];
    while chosen.len() < count {
        let last = rows.padded(chosen[chosen.len() - 1]);
        let products = rows.products(compute, last);
        for (distance, product) in distances.iter_mut().zip(products) {
            // A row this close is a copy: rounding may separate equal rows by as much.
            let new = if product > 1.0 - 1e-6 { 0.0 } else { 1.0 - product };
            *distance = distance.min(new);
        }
        let next = random.weighted(&distances);
        let distinct = chosen.len();
        chosen.push(next.ok_or(Error::TooManyGroups { groups: count, distinct })?);
    }
    Ok(rows.gather(&chosen))
}

/// Lloyd's algorithm from `centres` until no row changes its group, at most `rounds` rounds.
/// Returns the centres and the nearest centre of each row.
fn lloyd(
    compute: &Compute,
    rows: &Matrix,
    mut centres: Matrix,
    rounds: usize,
) -> (Matrix, Vec<Nearest>) {
    let mut current = nearest(compute, rows, &centres);
    for _ in 0..rounds {
        refill(&mut current, centres.len());
        centres = means(compute, rows, &current, centres.len());
        let next = nearest(compute, rows, &centres);
        let unchanged = next.iter().zip(&current).all(|(next, now)| next.centre == now.centre);
        current = next;
        if unchanged {
            break;
        }
    }
    (centres, current)
}

/// Gives each empty group the row that is farthest from its own centre.
fn refill(nearest: &mut [Nearest], groups: usize) {
    let mut sizes = sizes(nearest, groups);
    for group in 0..groups {
        if sizes[group] == 0 {
            let candidates = nearest.iter_mut().filter(|row| sizes[row.centre] > 1);
            if let Some(row) = candidates.min_by(|a, b| a.cosine.total_cmp(&b.cosine)) {
                sizes[row.centre] -= 1;
                *row = Nearest { centre: group, cosine: 1.0 };
                sizes[group] = 1;
            }
        }
    }
}

/// Number of rows of each group.
fn sizes(nearest: &[Nearest], groups: usize) -> Vec<usize> {
    let mut sizes = vec![0; groups];
    nearest.iter().for_each(|row| sizes[row.centre] += 1);
    sizes
}

/// The directions of the groups' means.
fn means(compute: &Compute, rows: &Matrix, nearest: &[Nearest], groups: usize) -> Matrix {
    let groups_of: Vec<usize> = nearest.iter().map(|row| row.centre).collect();
    let sums = sums(compute, rows, &groups_of, groups);
    let mut centres = Matrix::new(rows.dimensions());
    for sum in sums {
        let sum: Vec<f32> = sum.into_iter().map(|x| x as f32).collect();
        // This cannot fail: all sums have the width of the rows.
        let _ = centres.push(&sum);
    }
    centres
}

/// The sum of each group's rows, `[groups][dimensions]`.
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

/// The non-empty groups, the largest first.
fn by_size(centres: &Matrix, nearest: &[Nearest]) -> Clusters {
    let sizes = sizes(nearest, centres.len());
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&group| sizes[group] > 0).collect();
    order.sort_by_key(|&group| std::cmp::Reverse(sizes[group]));
    let mut ranks = vec![0; sizes.len()];
    order.iter().enumerate().for_each(|(rank, &group)| ranks[group] = rank);
    Clusters {
        centres: centres.gather(&order),
        groups: nearest.iter().map(|row| ranks[row.centre]).collect(),
        cosines: nearest.iter().map(|row| row.cosine).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(threads: usize) -> Compute {
        Compute::new(Some(threads), None).expect("threads")
    }

    /// `per` rows around each of `directions` axes, and the axis of each row.
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
    fn separate_groups_are_found_and_counted() {
        let (rows, truth) = blobs(7, 40, 0.5);
        let (count, trials) = choose_groups(&compute(2), &rows).expect("trials");
        assert_eq!(count, 7, "{trials:?}");
        let clusters = cluster(&compute(2), &rows, count).expect("clusters");
        let mut names = [None; 7];
        for (group, axis) in clusters.groups.iter().zip(truth) {
            assert_eq!(*names[axis].get_or_insert(*group), *group);
        }
        assert!(clusters.cosines.iter().all(|&cosine| cosine > 0.6));
    }

    #[test]
    fn the_result_does_not_depend_on_the_number_of_threads() {
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
    fn copies_do_not_form_groups() {
        let rows = Matrix::of(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).expect("rows");
        let error = cluster(&compute(1), &rows, 3).expect_err("two vectors").to_string();
        assert_eq!(error, "3 groups were requested, but only 2 vectors are different");
        assert_eq!(choose_groups(&compute(1), &rows).expect("trials").0, 2);
        let alike = Matrix::of(&[[1.0, 0.0]; 5]).expect("rows");
        assert_eq!(choose_groups(&compute(1), &alike).expect("trials").0, 1);
        let alone = cluster(&compute(1), &alike, 1).expect("one group");
        assert_eq!(alone.groups, [0; 5]);
    }

    #[test]
    fn an_empty_group_gets_the_row_that_fits_worst() {
        let mut nearest =
            [(0, 0.9), (0, 0.2), (1, 0.1)].map(|(centre, cosine)| Nearest { centre, cosine });
        refill(&mut nearest, 3);
        assert_eq!(nearest.map(|row| row.centre), [0, 2, 1]);
    }
}
