//! Writes a checkpoint of integers with scales, under the names of compressed-tensors: linear
//! layers with eight bits and a scale per row, the embedding table with eight bits likewise or with
//! four and a scale per group of columns. Everything else stays as it is stored; heads that no
//! embedding uses are left out.

use crate::adapter::{self, Adapter};
use crate::checkpoint::Checkpoint;
use crate::config::{Modules, add_quantization};
use crate::error::{Error, Result};
use crate::names::{self, canonical, is_head};
use crate::tensor::Tensor;
use crate::weights::read_weights;
use half::f16;
use rayon::prelude::*;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bits of the embedding table's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableBits {
    /// With a scale per group of at most 32 columns.
    Four,
    /// With a scale per row.
    Eight,
}

/// Writes `config.json`, `model.safetensors` and folders of adapters of the quantized checkpoint to
/// `folder`, which exists. A few megabytes of the weights are in memory at a time. `progress` is
/// called with the bytes of weights written and the total.
///
/// # Errors
///
/// If the checkpoint is damaged or quantized already, a weight is not finite, or a file cannot be
/// written.
pub fn quantize(
    checkpoint: &Checkpoint,
    folder: &Path,
    table_bits: TableBits,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    // Every error of the source is found before anything is written.
    read_weights(checkpoint)?;
    if checkpoint.is_quantized() {
        return Err(Error::AlreadyQuantized { checkpoint: checkpoint.location.clone() });
    }
    let group = group(checkpoint.config().hidden);
    let parts = parts(checkpoint, table_bits, group)?;
    let json = add_quantization(&checkpoint.location, &checkpoint.json, table_bits, group)?;
    let path = folder.join("config.json");
    fs::write(&path, json).map_err(|e| Error::io("write", &path, e))?;
    checkpoint.adapters.iter().try_for_each(|adapter| copy_adapter(adapter, folder))?;
    write_weights(&folder.join("model.safetensors"), &parts, progress)
}

fn copy_adapter(adapter: &Adapter, folder: &Path) -> Result<()> {
    let to = folder.join(adapter.folder.file_name().unwrap_or_default());
    fs::create_dir_all(&to).map_err(|e| Error::io("write", &to, e))?;
    for file in [adapter::CONFIG, adapter::WEIGHTS] {
        let (from, to) = (adapter.folder.join(file), to.join(file));
        fs::copy(&from, &to).map_err(|e| Error::io("write", &to, e))?;
    }
    Ok(())
}

/// Columns that share a scale of four bits: the largest of these sizes that divides a row.
fn group(hidden: usize) -> usize {
    [32, 24, 16, 8].into_iter().find(|group| hidden.is_multiple_of(*group)).unwrap_or(hidden)
}

/// A tensor to be written.
struct Part<'a> {
    name: String,
    source: &'a Tensor,
    content: Content,
}

/// What it contains of its source.
#[derive(Clone, Copy)]
enum Content {
    /// All, as it is.
    Copy,
    /// Integers of eight bits, or their scales.
    Bytes,
    ByteScales,
    /// Integers of four bits, of groups of so many columns, or their scales.
    Nibbles(usize),
    NibbleScales(usize),
    /// Rows and columns.
    Shape,
}

impl TableBits {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Eight, Self::Four];

    /// The number, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Four => "4",
            Self::Eight => "8",
        }
    }
}

impl Part<'_> {
    fn dtype(&self) -> &'static str {
        match self.content {
            Content::Copy => self.source.elements.name(),
            Content::Bytes => "I8",
            Content::ByteScales => "F32",
            Content::Nibbles(_) => "I32",
            Content::NibbleScales(_) => "F16",
            Content::Shape => "I64",
        }
    }

    /// Bytes of an element.
    fn element_bytes(&self) -> usize {
        match self.content {
            Content::Copy => self.source.elements.len_bytes(),
            Content::Bytes => 1,
            Content::NibbleScales(_) => 2,
            Content::ByteScales | Content::Nibbles(_) => 4,
            Content::Shape => 8,
        }
    }

    fn shape(&self) -> Vec<usize> {
        let shape = &self.source.shape;
        match self.content {
            Content::Copy | Content::Bytes => shape.clone(),
            Content::ByteScales => vec![shape[0], 1],
            Content::Nibbles(_) => vec![shape[0], shape[1].div_ceil(8)],
            Content::NibbleScales(group) => vec![shape[0], shape[1] / group],
            Content::Shape => vec![2],
        }
    }

    fn len_bytes(&self) -> usize {
        self.shape().iter().product::<usize>() * self.element_bytes()
    }

    /// The bytes of one row of the source.
    fn row(&self, weights: &[f32]) -> Vec<u8> {
        match self.content {
            Content::Bytes => bytes(weights).1.iter().map(|x| x.cast_unsigned()).collect(),
            Content::ByteScales => bytes(weights).0.to_le_bytes().to_vec(),
            Content::Nibbles(group) => {
                let groups = weights.chunks(group).flat_map(|weights| nibbles(weights).1);
                let offset: Vec<u32> = groups.map(|x| (i32::from(x) + 8) as u32).collect();
                let word = |nibbles: &[u32]| {
                    let shifted = nibbles.iter().zip([0, 4, 8, 12, 16, 20, 24, 28]);
                    shifted.map(|(nibble, by)| nibble << by).sum::<u32>().to_le_bytes()
                };
                offset.chunks(8).flat_map(word).collect()
            }
            Content::NibbleScales(group) => {
                let scales = weights.chunks(group).map(|weights| nibbles(weights).0);
                scales.flat_map(f16::to_le_bytes).collect()
            }
            Content::Copy | Content::Shape => Vec::new(),
        }
    }
}

/// The tensors of the quantized checkpoint, in the order of the file: those of larger elements
/// first, so that every element is aligned to its size.
fn parts(checkpoint: &Checkpoint, table_bits: TableBits, group: usize) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    for source in &checkpoint.tensors {
        let canonical = canonical(&source.name);
        if is_head(&canonical) {
            continue;
        }
        let mut add = |part: &str, content| {
            let name = match content {
                Content::Copy => source.name.to_string(),
                _ => format!("{}.{part}", names::module(&source.name)),
            };
            parts.push(Part { name, source, content });
        };
        match (names::quantizable(&canonical), table_bits) {
            (None, _) => add("", Content::Copy),
            (Some(Modules::Embedding), TableBits::Four) => {
                add(names::PACKED, Content::Nibbles(group));
                add(names::SCALE, Content::NibbleScales(group));
                add(names::SHAPE, Content::Shape);
            }
            (Some(_), _) => {
                add("weight", Content::Bytes);
                add(names::SCALE, Content::ByteScales);
            }
        }
        if names::quantizable(&canonical).is_some() {
            check_finite(source)?;
        }
    }
    parts.sort_by(|a, b| {
        b.element_bytes().cmp(&a.element_bytes()).then_with(|| a.name.cmp(&b.name))
    });
    Ok(parts)
}

/// A scale and integers cannot stand for infinities.
fn check_finite(tensor: &Tensor) -> Result<()> {
    let columns = tensor.shape[1];
    let is_finite = |row: usize| {
        let mut weights = vec![0.0; columns];
        tensor.read(row * columns, 1, &mut weights);
        weights.iter().all(|x| x.is_finite())
    };
    match (0..tensor.shape[0]).into_par_iter().find_first(|row| !is_finite(*row)) {
        None => Ok(()),
        Some(row) => Err(Error::Quantized {
            name: tensor.name.to_string(),
            path: tensor.path().to_owned(),
            reason: format!("row {row} is not finite, so it cannot be quantized"),
        }),
    }
}

/// A row in eight bits: its scale, which makes the largest magnitude 127, and its integers.
fn bytes(weights: &[f32]) -> (f32, Vec<i8>) {
    let largest = weights.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = (f64::from(largest) / 127.0) as f32;
    (scale, integers(weights, f64::from(scale), [-127.0, 127.0]))
}

/// What the weight of the largest magnitude in a group is divided by: −8 and 7 are the ends of the
/// range. A smaller scale clips that weight, but rounds the others less; see [`nibbles`].
const DIVISORS: [f64; 7] = [-8.0, 7.0, -7.5, 7.5, -8.5, 8.0, -9.0];

/// A group in four bits: the scale among those of [`DIVISORS`], rounded to f16, with the smallest
/// sum of squared errors, and its integers.
fn nibbles(weights: &[f32]) -> (f16, Vec<i8>) {
    let by_magnitude = |a: &&f32, b: &&f32| a.abs().total_cmp(&b.abs());
    let largest = weights.iter().max_by(by_magnitude).map_or(0.0, |x| f64::from(*x));
    let candidate = |divisor: f64| {
        // Beyond its range, f16 would be infinite.
        let scale = f16::from_f64(largest / divisor).clamp(f16::MIN, f16::MAX);
        let integers = integers(weights, scale.to_f64(), [-8.0, 7.0]);
        let error = |(weight, integer): (&f32, &i8)| {
            (f64::from(*weight) - f64::from(*integer) * scale.to_f64()).powi(2)
        };
        let error: f64 = weights.iter().zip(&integers).map(error).sum();
        (error, scale, integers)
    };
    let best = DIVISORS.map(candidate).into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((f16::ZERO, Vec::new()), |(_, scale, integers)| (scale, integers))
}

/// The integers nearest to weights divided by a scale; a scale of 0 has only zeros.
fn integers(weights: &[f32], scale: f64, [smallest, largest]: [f64; 2]) -> Vec<i8> {
    let integer = |weight: &f32| match scale {
        0.0 => 0,
        _ => (f64::from(*weight) / scale).round_ties_even().clamp(smallest, largest) as i8,
    };
    weights.iter().map(integer).collect()
}

fn write_weights(
    path: &Path,
    parts: &[Part<'_>],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let io_error = |e| Error::io("write", path, e);
    let total = parts.iter().map(|part| part.len_bytes() as u64).sum();
    let mut file = BufWriter::new(File::create(path).map_err(io_error)?);
    let header = header(parts);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io_error)?;
    file.write_all(header.as_bytes()).map_err(io_error)?;
    let mut written = 0;
    for part in parts {
        write_part(&mut file, part, &mut |bytes| {
            written += bytes as u64;
            progress(written, total);
        })
        .map_err(io_error)?;
        part.source.release();
    }
    let file = file.into_inner().map_err(|e| io_error(e.into_error()))?;
    file.sync_all().map_err(io_error)
}

/// The JSON header, padded so that the data starts at a multiple of eight bytes.
fn header(parts: &[Part<'_>]) -> String {
    let mut entries = serde_json::Map::new();
    let mut start = 0;
    for part in parts {
        let end = start + part.len_bytes();
        let entry =
            json!({ "dtype": part.dtype(), "shape": part.shape(), "data_offsets": [start, end] });
        entries.insert(part.name.clone(), entry);
        start = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    header
}

fn write_part(
    file: &mut impl Write,
    part: &Part<'_>,
    advance: &mut dyn FnMut(usize),
) -> io::Result<()> {
    /// Bytes of f32 weights in memory at a time.
    const BLOCK_BYTES: usize = 4 << 20;
    let shape = &part.source.shape;
    match part.content {
        Content::Copy => {
            for block in part.source.bytes_from(0).chunks(BLOCK_BYTES) {
                file.write_all(block)?;
                advance(block.len());
            }
        }
        Content::Shape => {
            let sizes: Vec<u8> =
                shape.iter().flat_map(|&size| (size as i64).to_le_bytes()).collect();
            file.write_all(&sizes)?;
            advance(sizes.len());
        }
        _ => {
            let (rows, columns) = (shape[0], shape[1]);
            let block = (BLOCK_BYTES / 4 / columns).max(1);
            for first in (0..rows).step_by(block) {
                let row = |row| {
                    let mut weights = vec![0.0; columns];
                    part.source.read(row * columns, 1, &mut weights);
                    part.row(&weights)
                };
                let block: Vec<Vec<u8>> =
                    (first..rows.min(first + block)).into_par_iter().map(row).collect();
                for row in &block {
                    file.write_all(row)?;
                }
                advance(block.iter().map(Vec::len).sum());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
