//! Every step of the forward pass against the intermediate results of the published implementation:
//! when a golden of the whole fails, these tell where.

use super::*;
use crate::backend::{Cpu, Reference};
use crate::checkpoint::Checkpoint;
use crate::weights::read_weights;
use kokeshi_kernels::Level;
use kokeshi_kernels::attention::Precision;
use kokeshi_testkit::{Golden, Goldens, assert_close, fixture, json};

const TOLERANCE: f32 = 3e-5;

fn golden(goldens: &Goldens, task: &str, layer: usize, point: Point) -> Golden {
    let named = |name: &str| goldens.get(&format!("debug/{task}/{name}")).clone();
    let in_layer = |name: &str| named(&format!("l{layer}.{name}"));
    match point {
        Point::Embedded => named("emb_ln_in"),
        Point::EmbNorm => named("emb_ln_out"),
        Point::Qkv => beside([in_layer("q_before_rope"), in_layer("k_before_rope"), in_layer("v")]),
        Point::Context => in_layer("attn_ctx"),
        Point::AttnOut => in_layer("attn_out"),
        Point::AttnNorm => in_layer("norm1_out"),
        Point::Activated => in_layer("gelu_out"),
        Point::Down => in_layer("fc2_out"),
        Point::FfnNorm => in_layer("norm2_out"),
        Point::QkNorm | Point::SecondAttnNorm => panic!("{point:?} is no step of v3"),
    }
}

/// Matrices of the same height, side by side.
fn beside(parts: [Golden; 3]) -> Golden {
    let height = parts[0].shape[0];
    let row = |i: usize| parts.iter().flat_map(move |part| part.row(i).to_vec());
    let values: Vec<f32> = (0..height).flat_map(row).collect();
    Golden { shape: vec![height, values.len() / height], values }
}

fn check<B: Backend>(checkpoint: &Checkpoint, backend: B) {
    let goldens = Goldens::open("v3-tiny/golden/golden.safetensors");
    let cases = json("v3-tiny/golden/cases.json");
    let ids: Vec<u32> =
        serde_json::from_value(cases["debug"]["ids"].clone()).expect("a list of ids");
    let weights = read_weights(checkpoint).expect("the fixture loads");
    let encoder = Encoder::new(&checkpoint.config, backend, weights).expect("the fixture loads");
    for (task, adapter) in [("none", None), ("text-matching", Some(4))] {
        let mut batch = Batch::new();
        batch.push(&ids, adapter);
        let mut points = 0;
        let pass = encoder.pass(&batch).expect("memory");
        let states = encoder.forward(&pass, &mut || true, &mut |layer, point, x| {
            let want = golden(&goldens, task, layer, point);
            let at = format!("{:?}, {task}, layer {layer}, {point:?}", encoder.backend);
            let got = encoder.backend.download(&pass, x).expect("states");
            assert_close(&at, &got, &want.values, TOLERANCE);
            points += 1;
        });
        assert!(states.is_some());
        assert_eq!(points, 2 + 7 * checkpoint.config.layers, "every step was looked at");
    }
}

#[test]
fn every_step_follows_the_published_implementation() {
    let checkpoint = Checkpoint::open(&fixture("v3-tiny/original")).expect("the fixture opens");
    check(&checkpoint, Reference);
    for level in Level::available() {
        check(
            &checkpoint,
            Cpu::new(&checkpoint.config, level, Precision::F32, 2).expect("threads start"),
        );
    }
}
