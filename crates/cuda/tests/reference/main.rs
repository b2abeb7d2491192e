//! Every operation against its definition in f64, with every code that the card runs. Without a
//! card the tests print why they check nothing.

mod activation;
mod attention;
mod embed;
mod linear;
mod norm;
mod pool;

use half::{bf16, f16};
use kokeshi_cuda::{Arena, Card, Code, DType, Gpu, States, cards};
use kokeshi_testkit::Random;

/// Values from -1 to 1 that the dtype holds exactly.
fn values(random: &mut Random, dtype: DType, count: usize) -> Vec<f32> {
    (0..count).map(|_| round(dtype, random.signed_unit())).collect()
}

fn round(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::F32 => x,
        DType::F16 => f16::from_f32(x).to_f32(),
        DType::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

/// Largest error of a result of magnitude 1 that is rounded once to the dtype.
fn ulp(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 3e-6,
        DType::F16 => 1e-3,
        DType::Bf16 => 8e-3,
    }
}

#[expect(clippy::print_stdout, reason = "why nothing was checked, for people")]
fn card() -> Option<Card> {
    match cards() {
        Ok(cards) => cards.into_iter().next(),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// The first card, opened with every code and dtype that it supports.
fn gpus() -> Vec<Gpu> {
    let Some(card) = card() else { return Vec::new() };
    let mut gpus = Vec::new();
    for code in Code::of(card.capability) {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            match Gpu::with_code(card.clone(), dtype, code) {
                Ok(gpu) => gpus.push(gpu),
                Err(error) => assert!(
                    dtype == DType::Bf16 && code == Code::Portable70,
                    "{code:?}, {dtype:?}: {error}"
                ),
            }
        }
    }
    gpus
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "what was measured, for people")]
fn check(gpu: &Gpu, what: &str, got: &[f32], want: &[f64], scale: f64) {
    assert_eq!(got.len(), want.len(), "{gpu:?}, {what}");
    let error = |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs() / want.abs().max(1.0);
    let worst = got
        .iter()
        .zip(want)
        .map(error)
        .fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
    println!("{gpu:?}, {what}: {worst:.1e}");
    let bound = ulp(gpu.dtype()) * scale;
    assert!(worst <= bound, "{gpu:?}, {what}: {worst:.2e}, bound {bound:.2e}");
}

fn write(gpu: &Gpu, values: &[f32], width: usize, tail: usize) -> States {
    gpu.write(&Arena::default(), values, width, tail).expect("states on the card")
}

fn take(gpu: &Gpu, rows: usize, width: usize, tail: usize) -> States {
    // Filled with NaN, so that an element that is not written shows.
    write(gpu, &vec![f32::NAN; rows * width], width, tail)
}
