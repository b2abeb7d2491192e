//! The forward pass against the goldens of the published implementation (f32): every layout, every
//! backend, every instruction set, every task, every length.

use kokeshi_model::{Batch, Checkpoint, Device, Forward, Level, Precision, load};
use kokeshi_testkit::{Goldens, assert_close, fixture, json, max_abs_diff};
use std::ops::Range;

/// Limits for implementations in f32 that differ only in the order of their sums (specification,
/// section 13).
const HIDDEN: f32 = 3e-5;
const NORMALIZED: f32 = 3e-6;

const TASKS: [&str; 5] =
    ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"];

fn open(folder: &str, device: Device) -> Box<dyn Forward> {
    let checkpoint = Checkpoint::open(&fixture(folder)).expect("the fixture opens");
    load(&checkpoint, &device).expect("the fixture loads")
}

fn cpu(threads: Option<usize>, level: Option<Level>) -> Device {
    Device::Cpu { threads, level, precision: Some(Precision::F32) }
}

fn devices() -> Vec<Device> {
    let cpu = |level| [1, 3].map(|threads| cpu(Some(threads), Some(level)));
    let exact = Level::available().flat_map(cpu).chain([Device::Reference]);
    exact.chain(cards(&[Precision::F32])).collect()
}

/// Without the feature `cuda`, no card.
#[cfg(not(feature = "cuda"))]
fn cards(_precisions: &[Precision]) -> Vec<Device> {
    Vec::new()
}

/// The first card in each of `precisions`; without a card none, and the reason is printed.
#[cfg(feature = "cuda")]
#[expect(clippy::print_stdout, reason = "why nothing was checked, for people")]
fn cards(precisions: &[Precision]) -> Vec<Device> {
    match kokeshi_model::cards() {
        Ok(_) => {
            let device = |&precision| Device::Cuda { ordinal: 0, precision: Some(precision) };
            precisions.iter().map(device).collect()
        }
        Err(error) => {
            println!("skipped on a card: {error}");
            Vec::new()
        }
    }
}

fn ragged(family: &str) -> Vec<Vec<u32>> {
    let cases = json(&format!("{family}/golden/cases.json"));
    serde_json::from_value(cases["ragged"]["ids"].clone()).expect("rows of ids")
}

fn batch<'a>(rows: impl IntoIterator<Item = &'a Vec<u32>>, adapter: Option<usize>) -> Batch {
    let mut batch = Batch::new();
    rows.into_iter().for_each(|ids| batch.push(ids, adapter));
    batch
}

fn adapters() -> impl Iterator<Item = (Option<usize>, &'static str)> {
    let tasks = TASKS.iter().enumerate().map(|(i, task)| (Some(i), *task));
    std::iter::once((None, "none")).chain(tasks)
}

/// Runs the ragged rows of a fixture family as one batch, with each task.
#[expect(clippy::print_stdout, reason = "what was measured, for people")]
fn check_ragged(family: &str, layout: &str, device: Device) {
    let goldens = Goldens::open(&format!("{family}/golden/golden.safetensors"));
    let encoder = open(&format!("{family}/{layout}"), device);
    let (rows, hidden) = (ragged(family), encoder.config().hidden);
    let (mut worst_state, mut worst_unit) = (0.0_f32, 0.0_f32);
    for (adapter, task) in adapters() {
        let batch = batch(&rows, adapter);
        let sequences: Vec<Range<usize>> = batch.sequences().collect();
        let states = encoder.hidden_states(&batch).expect("states");
        let sums = encoder.pool(&batch, &sequences).expect("sums");
        for (i, sequence) in sequences.iter().enumerate() {
            let case = format!("{layout}, {device:?}, {task}, row {i}");
            let key = format!("ragged/{task}/hidden/{i}");
            if goldens.has(&key) {
                let got = &states[sequence.start * hidden..sequence.end * hidden];
                worst_state = worst_state.max(max_abs_diff(got, &goldens.get(&key).values));
                assert_close(&case, got, &goldens.get(&key).values, HIDDEN);
            }
            let sum = &sums[i * hidden..][..hidden];
            let mean: Vec<f32> = sum.iter().map(|x| x / sequence.len() as f32).collect();
            let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
            let unit: Vec<f32> = mean.iter().map(|x| x / norm).collect();
            assert_close(&case, &mean, goldens.get(&format!("ragged/{task}/mean")).row(i), HIDDEN);
            let want = goldens.get(&format!("ragged/{task}/norm")).row(i);
            worst_unit = worst_unit.max(max_abs_diff(&unit, want));
            assert_close(&case, &unit, want, NORMALIZED);
        }
    }
    println!(
        "{family}/{layout}, {device:?}: states {worst_state:.1e}, unit vectors {worst_unit:.1e}"
    );
}

#[test]
fn every_layout_follows_the_published_implementation() {
    for layout in ["original", "original_f32", "native", "native_split"] {
        check_ragged("v3-tiny", layout, Device::EXACT);
    }
}

#[test]
fn every_device_follows_the_published_implementation() {
    for device in devices() {
        check_ragged("v3-tiny", "original", device);
    }
}

#[test]
fn heads_of_the_released_width_follow_the_published_implementation() {
    for level in Level::available() {
        check_ragged("v3-head64", "original", cpu(None, Some(level)));
    }
    for card in cards(&[Precision::F32]) {
        check_ragged("v3-head64", "original", card);
    }
}

#[test]
fn sixteen_bits_on_a_card_stay_close_to_f32() {
    for device in cards(&[Precision::F16, Precision::Bf16]) {
        for family in ["v3-tiny", "v3-head64"] {
            let worst = cosines(family, device).into_iter().fold(1.0, f64::min);
            println!("{family}, {device:?}: {worst:.6}");
            assert!(worst >= 0.9998, "{family}, {device:?}: {worst}");
        }
    }
}

#[test]
fn a_sequence_gives_the_same_bits_on_a_card_alone_and_in_any_batch() {
    for device in cards(&[Precision::F32, Precision::F16, Precision::Bf16]) {
        let (encoder, rows) = (open("v3-head64/original", device), ragged("v3-head64"));
        let hidden = encoder.config().hidden;
        let mut batch = Batch::new();
        rows.iter().enumerate().for_each(|(i, ids)| batch.push(ids, (i % 6).checked_sub(1)));
        let spans: Vec<Range<usize>> = batch.sequences().collect();
        let together = encoder.pool(&batch, &spans).expect("sums");
        for (i, (ids, want)) in rows.iter().zip(together.chunks(hidden)).enumerate() {
            let mut batch = Batch::new();
            batch.push(ids, (i % 6).checked_sub(1));
            let all = 0..ids.len();
            let got = encoder.pool(&batch, std::slice::from_ref(&all)).expect("sums");
            assert_eq!(got, want, "{device:?}, row {i}");
        }
    }
}

#[test]
fn all_layouts_give_the_same_states() {
    let batch = batch(&ragged("v3-tiny"), Some(1));
    let want = open("v3-tiny/original", Device::EXACT).hidden_states(&batch).expect("states");
    for layout in ["original_f32", "native", "native_split"] {
        let got = open(&format!("v3-tiny/{layout}"), Device::EXACT)
            .hidden_states(&batch)
            .expect("states");
        assert_eq!(got, want, "{layout}: the same values in other files");
    }
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_in_any_batch_on_any_number_of_threads() {
    let rows = ragged("v3-tiny");
    for level in Level::available() {
        let alone = open("v3-tiny/original", cpu(Some(1), Some(level)));
        let together = open("v3-tiny/original", cpu(Some(4), Some(level)));
        // Every task in one batch, in an order other than that of the lengths.
        let order: Vec<usize> = (0..rows.len()).map(|i| (i * 4 + 3) % rows.len()).collect();
        let adapter = |i: usize| (i % 6).checked_sub(1);
        let mut batch = Batch::new();
        order.iter().for_each(|&i| batch.push(&rows[i], adapter(i)));
        let hidden = together.config().hidden;
        let states = together.hidden_states(&batch).expect("states");
        for (&i, sequence) in order.iter().zip(batch.sequences()) {
            let got = &states[sequence.start * hidden..sequence.end * hidden];
            let mut single = Batch::new();
            single.push(&rows[i], adapter(i));
            assert_eq!(got, alone.hidden_states(&single).expect("states"), "{level:?}, row {i}");
        }
    }
}

#[test]
fn one_span_over_all_tokens_is_the_sum_of_all_states() {
    let encoder = open("v3-tiny/original", Device::EXACT);
    let batch = batch(&ragged("v3-tiny"), None);
    let hidden = encoder.config().hidden;
    let states = encoder.hidden_states(&batch).expect("states");
    let all = 0..batch.tokens();
    let sums = encoder.pool(&batch, &[all, 5..5]).expect("sums");
    for c in 0..hidden {
        let want: f64 = states.iter().skip(c).step_by(hidden).map(|&x| f64::from(x)).sum();
        assert_eq!(sums[c], want as f32, "column {c}");
        assert_eq!(sums[hidden + c], 0.0, "an empty span");
    }
}

#[test]
fn sums_of_fewer_columns_have_the_same_bits() {
    for device in devices() {
        let encoder = open("v3-tiny/original", device);
        let batch = batch(&ragged("v3-tiny")[..6], Some(2));
        let hidden = encoder.config().hidden;
        let spans: Vec<Range<usize>> = batch.sequences().chain(std::iter::once(5..5)).collect();
        let whole = encoder.pool(&batch, &spans).expect("sums");
        for width in [1, 7, 32, hidden] {
            let sums = encoder.pool_while(&batch, &spans, width, &mut || true);
            let want: Vec<f32> =
                whole.chunks(hidden).flat_map(|row| &row[..width]).copied().collect();
            assert_eq!(sums.expect("sums"), Some(want), "{device:?}, {width} columns");
        }
    }
}

#[test]
fn an_empty_batch_gives_nothing() {
    for device in devices() {
        let encoder = open("v3-tiny/original", device);
        assert!(encoder.hidden_states(&Batch::new()).expect("states").is_empty());
        assert!(encoder.pool(&Batch::new(), &[]).expect("sums").is_empty());
        let sums = encoder.pool_while(&Batch::new(), &[0..0, 0..0], 5, &mut || true);
        assert_eq!(sums.expect("sums"), Some(vec![0.0; 10]));
    }
}

/// The cosine of each row's mean state with that of the f32 forward pass.
fn cosines(family: &str, device: Device) -> Vec<f64> {
    let rows = ragged(family);
    let exact = open(&format!("{family}/original"), Device::EXACT);
    let rounded = open(&format!("{family}/original"), device);
    let hidden = exact.config().hidden;
    let mut batch = Batch::new();
    rows.iter().enumerate().for_each(|(i, ids)| batch.push(ids, (i % 6).checked_sub(1)));
    let sequences: Vec<_> = batch.sequences().collect();
    let (a, b) = (
        exact.pool(&batch, &sequences).expect("sums"),
        rounded.pool(&batch, &sequences).expect("sums"),
    );
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.chunks_exact(hidden).zip(b.chunks_exact(hidden)).map(cosine).collect()
}

#[test]
fn bf16_products_stay_close_to_f32() {
    for level in Level::available() {
        for family in ["v3-tiny", "v3-head64"] {
            let device =
                Device::Cpu { threads: None, level: Some(level), precision: Some(Precision::Bf16) };
            let worst = cosines(family, device).into_iter().fold(1.0, f64::min);
            println!("{family}, {level:?}: {worst:.6}");
            assert!(worst >= 0.9998, "{family}, {level:?}: {worst}");
        }
    }
}
