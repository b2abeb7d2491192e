//! Every step of the forward pass against the intermediate results of the published implementation:
//! when a golden of the whole pass fails, these tests show which step is wrong.

use super::*;
use crate::backend::{Cpu, Reference};
use crate::checkpoint::Checkpoint;
use crate::table::Table;
use crate::weights::{LinearWeights, read_weights};
use kokeshi_kernels::Level;
use kokeshi_kernels::Precision;
use kokeshi_testkit::{Golden, Goldens, assert_close, fixture, json};

const TOLERANCE: f32 = 3e-5;

fn golden(goldens: &Goldens, task: &str, layer: usize, point: Point) -> Golden {
    let named = |name: &str| goldens.get(&format!("debug/{task}/{name}")).clone();
    let in_layer = |name: &str| named(&format!("l{layer}.{name}"));
    match point {
        Point::Embedded => named("emb_ln_in"),
        Point::EmbNorm => named("emb_ln_out"),
        Point::Qkv => {
            side_by_side([in_layer("q_before_rope"), in_layer("k_before_rope"), in_layer("v")])
        }
        Point::Context => in_layer("attn_ctx"),
        Point::AttnOut => in_layer("attn_out"),
        Point::AttnNorm => in_layer("norm1_out"),
        Point::Activated => in_layer("gelu_out"),
        Point::Down => in_layer("fc2_out"),
        Point::FfnNorm => in_layer("norm2_out"),
        Point::QkNorm | Point::SecondAttnNorm => panic!("{point:?} is not a step of v3"),
    }
}

/// Matrices of the same height, side by side.
fn side_by_side(parts: [Golden; 3]) -> Golden {
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
            let case = format!("{:?}, {task}, layer {layer}, {point:?}", encoder.backend);
            let got = encoder.backend.download(&pass, x).expect("states");
            assert_close(&case, &got, &want.values, TOLERANCE);
            points += 1;
        });
        assert!(states.is_some());
        assert_eq!(points, 2 + 7 * checkpoint.config.layers, "every step was checked");
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

/// The reference backend with memory for `tokens` tokens, and pooling that can fail.
#[derive(Debug)]
struct Small {
    tokens: usize,
    fails: bool,
}

impl Backend for Small {
    type Linear = <Reference as Backend>::Linear;
    type Norm = Norm;
    type Table = Table;
    type States = Vec<f64>;
    type Pass<'a> = BatchLayout<'a>;

    fn describe(&self) -> String {
        Reference.describe()
    }

    fn linear(&self, weights: LinearWeights) -> Result<Self::Linear> {
        Reference.linear(weights)
    }

    fn norm(&self, norm: Norm) -> Result<Norm> {
        Reference.norm(norm)
    }

    fn table(&self, table: Table) -> Result<Table> {
        Reference.table(table)
    }

    fn len_bytes(&self, linear: &Self::Linear) -> usize {
        Reference.len_bytes(linear)
    }

    fn table_len_bytes(&self, table: &Table) -> usize {
        Reference.table_len_bytes(table)
    }

    fn pass<'a>(&'a self, batch: BatchLayout<'a>) -> Result<BatchLayout<'a>> {
        let tokens = batch.ids.len();
        if tokens > self.tokens { Err(Error::DeviceMemory { tokens, bytes: 1 }) } else { Ok(batch) }
    }

    fn embed(&self, pass: &BatchLayout<'_>, table: &Table) -> Vec<f64> {
        Reference.embed(pass, table)
    }

    fn project(
        &self,
        pass: &BatchLayout<'_>,
        x: &Vec<f64>,
        linear: &Self::Linear,
        next: Option<&Self::Linear>,
    ) -> Vec<f64> {
        Reference.project(pass, x, linear, next)
    }

    fn norm_qk(&self, pass: &BatchLayout<'_>, qkv: &mut Vec<f64>, norms: &[Norm; 2]) {
        Reference.norm_qk(pass, qkv, norms);
    }

    fn attend(&self, pass: &BatchLayout<'_>, qkv: &Vec<f64>) -> Vec<f64> {
        Reference.attend(pass, qkv)
    }

    fn add_norm(
        &self,
        pass: &BatchLayout<'_>,
        x: &mut Vec<f64>,
        residual: Option<&Vec<f64>>,
        norm: &Norm,
        next: Option<&Self::Linear>,
    ) {
        Reference.add_norm(pass, x, residual, norm, next);
    }

    fn pool(
        &self,
        pass: &BatchLayout<'_>,
        x: &Vec<f64>,
        spans: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>> {
        if self.fails { Err(device_error()) } else { Reference.pool(pass, x, spans, width) }
    }

    fn download(&self, pass: &BatchLayout<'_>, x: &Vec<f64>) -> Result<Vec<f32>> {
        Reference.download(pass, x)
    }
}

/// An error of a device, other than a lack of memory.
fn device_error() -> Error {
    #[cfg(feature = "cuda")]
    let error = kokeshi_cuda::Error::Blas { code: "the card fell off the bus".to_owned() }.into();
    #[cfg(not(feature = "cuda"))]
    let error = Error::NoCuda;
    error
}

fn small(tokens: usize, fails: bool) -> Encoder<Small> {
    let checkpoint = Checkpoint::open(&fixture("v3-tiny/original")).expect("the fixture opens");
    let weights = read_weights(&checkpoint).expect("the fixture loads");
    Encoder::new(&checkpoint.config, Small { tokens, fails }, weights).expect("the fixture loads")
}

#[test]
fn a_batch_that_does_not_fit_is_halved_until_it_does() {
    let mut batch = Batch::new();
    for (i, len) in [3, 40, 7, 1, 24, 9].into_iter().enumerate() {
        let ids: Vec<u32> = (0..len).map(|token| 5 + token * 7 % 90).collect();
        batch.push(&ids, (i % 6).checked_sub(1));
    }
    let spans = [0..3, 3..43, 10..20, 51..75, 75..84, 5..5];
    let whole = small(1000, false);
    let (sums, states) = (whole.pool(&batch, &spans), whole.hidden_states(&batch));
    let (sums, states) = (sums.expect("sums"), states.expect("states"));
    for tokens in [83, 50, 41, 40] {
        let halved = small(tokens, false);
        assert_eq!(halved.pool(&batch, &spans).expect("sums"), sums, "{tokens}");
        assert_eq!(halved.hidden_states(&batch).expect("states"), states, "{tokens}");
        let narrow = halved.pool_while(&batch, &spans, 5, &mut || true).expect("sums");
        let want: Vec<f32> = sums.chunks(64).flat_map(|row| &row[..5]).copied().collect();
        assert_eq!(narrow, Some(want), "{tokens}");
    }
    let crossing = small(41, false).pool(&batch, std::slice::from_ref(&(0..84))).expect("a sum");
    let want = whole.pool(&batch, std::slice::from_ref(&(0..84))).expect("a sum");
    assert_close("a span that crosses the cuts", &crossing, &want, 1e-4);
    let error = small(39, false).pool(&batch, &spans).expect_err("40 tokens do not fit");
    assert!(matches!(error, Error::DeviceMemory { tokens: 40, .. }), "{error}");
}

#[test]
fn the_error_of_a_failed_device_is_returned() {
    let mut batch = Batch::new();
    batch.push(&[5, 6, 7], None);
    let error = small(100, true).pool(&batch, std::slice::from_ref(&(0..3))).expect_err("it fails");
    assert_eq!(error.to_string(), device_error().to_string());
}
