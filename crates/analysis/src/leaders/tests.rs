//! Comparison of the leaders with their definition.

use super::*;
use kokeshi_kernels::random::Random;

const UNLIMITED: usize = usize::MAX;

fn compute(threads: usize) -> Compute {
    Compute::new(Some(threads), None).expect("threads")
}

/// `count` vectors around `centres` directions, with copies and near copies among them.
fn vectors(count: usize, centres: usize, noise: f32) -> Vec<Vec<f32>> {
    let mut random = Random::new(11);
    let mut normal = |scale: f32| -> Vec<f32> {
        (0..48).map(|_| scale * ((0..6).map(|_| random.unit()).sum::<f64>() - 3.0) as f32).collect()
    };
    let directions: Vec<Vec<f32>> = (0..centres).map(|_| normal(1.0)).collect();
    let about = |i: usize| {
        let direction = &directions[i * 37 % centres];
        direction.iter().zip(normal(noise)).map(|(a, b)| a + b).collect()
    };
    (0..count).map(about).collect()
}

/// The definition, pair by pair.
fn by_definition(rows: &Matrix, threshold: f32) -> Vec<Option<Match>> {
    let round = |row: usize| to_f32(&to_f16(rows.row(row)));
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
        results.extend(leaders.offer(&names, &rows.gather(&names)).expect("matches"));
    }
    results
}

#[test]
fn blocks_of_any_size_match_the_definition() {
    let rows = Matrix::of(&vectors(300, 40, 0.35)).expect("rows");
    let expected = by_definition(&rows, 0.9);
    let kept = expected.iter().filter(|found| found.is_none()).count();
    assert!((50..250).contains(&kept), "{kept}");
    for (block, threads) in [(1, 1), (7, 2), (300, 2), (300, 3)] {
        let mut leaders = Leaders::new(&compute(threads), 48, 0.9, true, UNLIMITED);
        let got = offered(&mut leaders, &rows, block);
        assert_eq!(leaders.len(), kept);
        for (got, want) in got.iter().zip(&expected) {
            assert_eq!(got.map(|found| found.leader), want.map(|found| found.leader), "{block}");
            let cosines = got.zip(*want).map(|(a, b)| (a.cosine - b.cosine).abs());
            assert!(cosines.is_none_or(|difference| difference < 1e-5));
        }
        assert_eq!(leaders.audit(usize::MAX), Audit { checked: kept, missed: 0 });
    }
}

#[test]
fn a_chain_ends_where_a_vector_is_too_far_from_the_leader() {
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
fn cells_find_nearly_all_and_the_audit_counts_the_misses() {
    let rows = Matrix::of(&vectors(6000, 1500, 0.25)).expect("rows");
    let mut exact = Leaders::new(&compute(2), 48, 0.9, true, UNLIMITED);
    let want = offered(&mut exact, &rows, 256);
    let mut cells = Leaders::new(&compute(2), 48, 0.9, false, UNLIMITED);
    cells.next_division = 300;
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
fn reaching_the_memory_limit_is_an_error() {
    let rows = Matrix::of(&[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).expect("rows");
    let mut leaders = Leaders::new(&compute(1), 2, 0.9, false, 100);
    let error = leaders.offer(&[0, 1, 2], &rows).expect_err("full");
    assert_eq!(error.to_string(), "2 vectors take 144 bytes and reach the memory limit");
    let narrow = Matrix::of(&[[1.0]]).expect("a row");
    assert!(matches!(leaders.offer(&[3], &narrow), Err(Error::Width { expected: 2, got: 1 })));
}
