//! Fixtures, goldens, tolerances, seeded random numbers, replies of servers and real servers for
//! the tests of this workspace.
//!
//! This crate is for tests only: a missing or malformed fixture causes a panic that names it.

pub mod proxy;
pub mod reply;
#[expect(clippy::print_stderr, reason = "tests print why they are skipped")]
pub mod servers;

pub use kokeshi_kernels::random::Random;
#[cfg(feature = "postgres")]
pub use {pgvector, postgres};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The path of a file or folder below the workspace's `fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// The bytes of a fixture.
///
/// # Panics
///
/// If the fixture cannot be read.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|e| panic!("fixture {name}: {e}"))
}

/// A fixture that is JSON.
///
/// # Panics
///
/// If the fixture cannot be read or is not JSON.
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).unwrap_or_else(|e| panic!("fixture {name}: {e}"))
}

/// Expected tensors, by name, from a reference implementation.
#[derive(Clone, Debug)]
pub struct Goldens {
    file: String,
    tensors: HashMap<String, Golden>,
    ids: HashMap<String, Vec<u32>>,
}

/// One expected tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

impl Golden {
    /// Row `index` of a matrix.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn row(&self, index: usize) -> &[f32] {
        let width = *self.shape.last().expect("a golden with at least one dimension");
        &self.values[index * width..][..width]
    }
}

impl Goldens {
    /// Reads all F32 tensors and I64 token ids of a safetensors fixture.
    ///
    /// # Panics
    ///
    /// If the fixture cannot be read or is not a safetensors file.
    pub fn open(name: &str) -> Self {
        let bytes = bytes(name);
        let file = SafeTensors::deserialize(&bytes)
            .unwrap_or_else(|e| panic!("fixture {name} is not a safetensors file: {e}"));
        let (mut tensors, mut ids) = (HashMap::new(), HashMap::new());
        for (key, tensor) in file.iter() {
            match tensor.dtype() {
                Dtype::F32 => {
                    let (shape, values) = (tensor.shape().to_vec(), floats(tensor.data()));
                    tensors.insert(key.to_owned(), Golden { shape, values });
                }
                Dtype::I64 => {
                    ids.insert(key.to_owned(), token_ids(tensor.data()));
                }
                _ => {}
            }
        }
        Self { file: name.to_owned(), tensors, ids }
    }

    /// The tensor called `name`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn get(&self, name: &str) -> &Golden {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no F32 tensor {name}", self.file))
    }

    /// The token ids called `name`.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        let ids = self.ids.get(name);
        ids.unwrap_or_else(|| panic!("{} has no I64 tensor {name}", self.file)).clone()
    }

    /// Whether there is a tensor called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// Little-endian f32 values.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty(), "F32 data is a multiple of 4 bytes");
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Rows of `width` values, each scaled to unit length.
pub fn unit_rows(values: &[f32], width: usize) -> Vec<f32> {
    let unit = |row: &[f32]| {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(move |x| x / norm).collect::<Vec<_>>()
    };
    values.chunks(width).flat_map(unit).collect()
}

/// Little-endian i64 token ids.
fn token_ids(bytes: &[u8]) -> Vec<u32> {
    let (values, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "I64 data is a multiple of 8 bytes");
    let id = |&bytes| u32::try_from(i64::from_le_bytes(bytes)).expect("token ids fit 32 bits");
    values.iter().map(id).collect()
}

/// The largest |a − b|; infinite if the lengths differ or a difference is NaN.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f32 {
    largest_difference(a, b).map_or(0.0, |(_, difference)| difference)
}

/// Fails unless `got` equals `want` within `tolerance`, element by element.
///
/// # Panics
///
/// With `name`, the index of the largest difference and both values there.
#[track_caller]
pub fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}: lengths differ");
    let Some((at, difference)) = largest_difference(got, want) else { return };
    assert!(
        difference <= tolerance,
        "{name}: element {at} of {} is {}, want {}: off by {difference:e}, tolerance {tolerance:e}",
        got.len(),
        got[at],
        want[at],
    );
}

/// The index of the largest difference of two slices, and that difference.
fn largest_difference(a: &[f32], b: &[f32]) -> Option<(usize, f32)> {
    if a.len() != b.len() {
        return Some((a.len().min(b.len()), f32::INFINITY));
    }
    let difference = |(a, b): (&f32, &f32)| {
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    };
    a.iter().zip(b).map(difference).enumerate().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Sets a flag when it is dropped, also by a panic: a thread that works until then would otherwise
/// keep a failed test from ending.
pub struct SetOnDrop<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goldens_come_with_shape_and_values() {
        let goldens = Goldens::open("v3-tiny/golden/golden.safetensors");
        let mean = goldens.get("ragged/none/mean");
        assert_eq!(mean.shape, [9, 64]);
        assert_eq!(mean.values.len(), 9 * 64);
        assert_eq!(mean.row(8), &mean.values[8 * 64..]);
    }

    #[test]
    fn the_largest_difference_comes_with_its_index() {
        assert_eq!(largest_difference(&[1.0, 2.0, 3.0], &[1.0, 2.5, 2.9]), Some((1, 0.5)));
        assert_eq!(max_abs_diff(&[], &[]), 0.0);
    }

    #[test]
    fn each_row_is_scaled_separately() {
        assert_eq!(unit_rows(&[3.0, 4.0, 0.0, -2.0], 2), [0.6, 0.8, 0.0, -1.0]);
    }

    #[test]
    fn nan_and_unequal_lengths_are_never_close() {
        assert_eq!(max_abs_diff(&[f32::NAN], &[f32::NAN]), f32::INFINITY);
        assert_eq!(max_abs_diff(&[1.0], &[1.0, 2.0]), f32::INFINITY);
    }

    #[test]
    #[should_panic(expected = "vector: element 1 of 2 is 2, want 2.5")]
    fn a_difference_beyond_the_tolerance_fails_with_its_index() {
        assert_close("vector", &[1.0, 2.0], &[1.0, 2.5], 0.1);
    }
}
