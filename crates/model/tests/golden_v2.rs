//! The v2 family against its goldens (a reference in f64 on the weights as stored): both layouts,
//! both gates, every stored type, every device, every length.

use kokeshi_model::{Batch, Checkpoint, Device, Forward, Level, Precision, load};
use kokeshi_testkit::{Goldens, assert_close, fixture, json, max_abs_diff};

const FIXTURES: [&str; 4] = ["std_wordpiece", "code_bpe", "std_zh_f16", "code_reglu_bf16"];
/// The limits that the specification suggests for f32: tanh GELU would be off by 4e-5, every other
/// mistake that was tried by 7e-3 or more.
const HIDDEN: f32 = 2e-5;
const NORMALIZED: f32 = 2e-6;

fn open(name: &str, device: Device) -> Box<dyn Forward> {
    let checkpoint = Checkpoint::open(&fixture(&format!("v2-tiny/{name}"))).expect("it opens");
    load(&checkpoint, &device).expect("it loads")
}

fn cpu(threads: Option<usize>, level: Option<Level>) -> Device {
    Device::Cpu { threads, level, precision: Some(Precision::F32) }
}

fn devices() -> impl Iterator<Item = Device> {
    let cpus = Level::available().map(|level| cpu(Some(3), Some(level)));
    cpus.chain([Device::Reference]).chain(card())
}

/// The first card, if there is one.
#[cfg(feature = "cuda")]
fn card() -> Option<Device> {
    let cards = kokeshi_model::cards().ok();
    cards.map(|_| Device::Cuda { ordinal: 0, precision: Some(Precision::F32) })
}

#[cfg(not(feature = "cuda"))]
fn card() -> Option<Device> {
    None
}

/// The token ids of every golden sequence.
fn sequences(name: &str, goldens: &Goldens) -> Vec<Vec<u32>> {
    let golden = json(&format!("v2-tiny/{name}/golden.json"));
    let lengths = golden["lengths"].as_array().expect("lengths");
    let ids = (0..lengths.len()).map(|i| goldens.ids(&format!("ids.{i:02}")));
    ids.zip(lengths)
        .inspect(|(ids, len)| assert_eq!(Some(ids.len() as u64), len.as_u64()))
        .map(|(ids, _)| ids)
        .collect()
}

#[test]
fn every_fixture_follows_the_reference_on_every_device_at_every_length() {
    for name in FIXTURES {
        let goldens = Goldens::open(&format!("v2-tiny/{name}/golden.safetensors"));
        let sequences = sequences(name, &goldens);
        for device in devices() {
            let encoder = open(name, device);
            let hidden = encoder.config().hidden;
            let mut batch = Batch::new();
            sequences.iter().for_each(|ids| batch.push(ids, Some(0)));
            let (mut worst_state, mut worst_unit) = (0.0_f32, 0.0_f32);
            let states = encoder.hidden_states(&batch).expect("states");
            for (i, sequence) in batch.sequences().enumerate() {
                let case = format!("{name}, {device:?}, sequence {i}");
                let got = &states[sequence.start * hidden..sequence.end * hidden];
                let want = &goldens.get(&format!("hidden.{i:02}")).values;
                worst_state = worst_state.max(max_abs_diff(got, want));
                assert_close(&case, got, want, HIDDEN);
                let sums = encoder.pool(&batch, std::slice::from_ref(&sequence)).expect("sums");
                let mean: Vec<f32> = sums.iter().map(|x| x / sequence.len() as f32).collect();
                let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
                let unit: Vec<f32> = mean.iter().map(|x| x / norm).collect();
                assert_close(&case, &mean, &goldens.get(&format!("mean.{i:02}")).values, HIDDEN);
                let want = &goldens.get(&format!("embedding.{i:02}")).values;
                worst_unit = worst_unit.max(max_abs_diff(&unit, want));
                assert_close(&case, &unit, want, NORMALIZED);
            }
            println!("{name}, {device:?}: states {worst_state:.1e}, unit vectors {worst_unit:.1e}");
        }
    }
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_in_a_batch() {
    for name in FIXTURES {
        let goldens = Goldens::open(&format!("v2-tiny/{name}/golden.safetensors"));
        let mut sequences = sequences(name, &goldens);
        sequences.reverse();
        let together = open(name, cpu(Some(4), None));
        let alone = open(name, cpu(Some(1), None));
        let hidden = together.config().hidden;
        let mut batch = Batch::new();
        sequences.iter().for_each(|ids| batch.push(ids, None));
        let states = together.hidden_states(&batch).expect("states");
        for (ids, sequence) in sequences.iter().zip(batch.sequences()) {
            let mut single = Batch::new();
            single.push(ids, Some(0));
            let got = &states[sequence.start * hidden..sequence.end * hidden];
            assert_eq!(
                got,
                alone.hidden_states(&single).expect("states"),
                "{name}: the one task changes nothing"
            );
        }
    }
}
