//! Tensors by their canonical names, removed one by one as the parts of the network use them: one
//! that is missing, unused, or not what the network needs is an error.

use crate::adapter::Adapter;
use crate::error::{Error, Result};
use crate::lora::Update;
use crate::matrix::{Integers, StoredMatrix};
use crate::names::{self, is_head};
use crate::table::TableAdapter;
use crate::tensor::{Elements, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) struct NamedTensors {
    /// Folder of the checkpoint or adapter, for messages.
    folder: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl NamedTensors {
    pub(crate) fn new(
        folder: &Path,
        tensors: &[Tensor],
        canonical: fn(&str) -> String,
    ) -> Result<Self> {
        let mut names = BTreeMap::<String, Tensor>::new();
        for tensor in tensors {
            if let Some(other) = names.insert(canonical(&tensor.name), tensor.clone()) {
                return Err(Error::Duplicate {
                    first: other.name.to_string(),
                    second: tensor.name.to_string(),
                });
            }
        }
        Ok(Self { folder: folder.to_owned(), tensors: names })
    }

    /// A tensor of floats.
    pub(crate) fn take(&mut self, module: &str, part: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.take_any(module, part)?;
        check_shape(&tensor, shape)?;
        if tensor.is_float() { Ok(tensor) } else { Err(dtype(&tensor)) }
    }

    /// The weight of a module: floats, or integers with their scales.
    pub(crate) fn take_matrix(&mut self, module: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        if self.has(module, names::PACKED) {
            let words = self.take_any(module, names::PACKED)?;
            return Ok(StoredMatrix::Integers(self.integers(module, words, shape)?));
        }
        let tensor = self.take_any(module, "weight")?;
        check_shape(&tensor, &shape)?;
        Ok(match tensor.elements {
            Elements::Float(_) => StoredMatrix::Floats(tensor),
            Elements::I8 => StoredMatrix::Integers(self.integers(module, tensor, shape)?),
            Elements::I32 | Elements::I64 => return Err(dtype(&tensor)),
        })
    }

    /// The integers of a module, of which `values` contains 8 or 4 bits each.
    fn integers(&mut self, module: &str, values: Tensor, shape: [usize; 2]) -> Result<Integers> {
        let bits = bits(&values, shape)?;
        for (part, reason) in names::NOT_SUPPORTED {
            if self.has(module, part) {
                let tensor = self.take_any(module, part)?;
                return Err(quantized(&tensor, reason.to_owned()));
            }
        }
        if values.elements == Elements::I32 && self.has(module, names::SHAPE) {
            let written = self.take_any(module, names::SHAPE)?;
            let sizes: Vec<usize> = written.to_vec().iter().map(|size| *size as usize).collect();
            if sizes != shape {
                let reason = format!("it contains {sizes:?}, expected {shape:?}");
                return Err(quantized(&written, reason));
            }
        }
        let scales = self.take_any(module, names::SCALE)?;
        let group = group(&scales, shape)?;
        check_scales(&scales)?;
        Ok(Integers { values, scales, bits, columns: shape[1], group })
    }

    fn has(&self, module: &str, part: &str) -> bool {
        self.tensors.contains_key(&format!("{module}.{part}"))
    }

    fn take_any(&mut self, module: &str, part: &str) -> Result<Tensor> {
        let name = format!("{module}.{part}");
        let tensor = self.tensors.remove(&name);
        tensor.ok_or_else(|| Error::MissingTensor { name, checkpoint: self.folder.clone() })
    }

    /// Whether an adapter has an update for `module`: it contains at least one half of it, or
    /// claims to cover it.
    fn updates(&self, adapter: &Adapter, module: &str) -> bool {
        self.has(module, "lora_A") || self.has(module, "lora_B") || adapter.covers(module)
    }

    pub(crate) fn update(
        &mut self,
        adapter: &Adapter,
        module: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Option<Update>> {
        if !self.updates(adapter, module) {
            return Ok(None);
        }
        let rank = adapter.rank;
        let a = self.take(module, "lora_A", &[rank, inputs])?.to_vec();
        let b = self.take(module, "lora_B", &[outputs, rank])?.to_vec();
        Ok(Some(Update::new(rank, a, &b, adapter.scale)))
    }

    /// PEFT stores both halves of an embedding's update transposed.
    pub(crate) fn table_update(
        &mut self,
        adapter: &Adapter,
        module: &str,
        rows: usize,
        hidden: usize,
    ) -> Result<Option<TableAdapter>> {
        if !self.updates(adapter, module) {
            return Ok(None);
        }
        let rank = adapter.rank;
        let a = self.take(module, "lora_A", &[rank, rows])?;
        let b = self.take(module, "lora_B", &[hidden, rank])?.to_vec();
        let b = (0..rank).flat_map(|r| b[r..].iter().step_by(rank)).map(|x| x * adapter.scale);
        Ok(Some(TableAdapter { a, start: 0, row_stride: 1, rank_stride: rows, b: b.collect() }))
    }

    /// Heads such as the pooler are in the released files, but no embedding uses them.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.tensors.retain(|name, _| !is_head(name));
        match self.tensors.first_key_value() {
            None => Ok(()),
            Some((_, tensor)) => Err(Error::Unused {
                checkpoint: self.folder.clone(),
                example: tensor.name.to_string(),
                count: self.tensors.len(),
            }),
        }
    }
}

fn check_shape(tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if tensor.shape == shape {
        return Ok(());
    }
    Err(Error::Shape {
        name: tensor.name.to_string(),
        path: tensor.path().to_owned(),
        found: tensor.shape.clone(),
        expected: shape.to_vec(),
    })
}

fn dtype(tensor: &Tensor) -> Error {
    Error::Dtype {
        name: tensor.name.to_string(),
        path: tensor.path().to_owned(),
        found: tensor.elements.name().to_owned(),
    }
}

fn quantized(tensor: &Tensor, reason: String) -> Error {
    Error::Quantized { name: tensor.name.to_string(), path: tensor.path().to_owned(), reason }
}

/// Bits of each integer, from the shape of the tensor that contains `[rows, columns]` of them.
fn bits(values: &Tensor, [rows, columns]: [usize; 2]) -> Result<usize> {
    let packed = |bits: &usize| values.shape == [rows, columns.div_ceil(32 / bits)];
    match values.elements {
        Elements::I8 if values.shape == [rows, columns] => Ok(8),
        Elements::I32 => match [4, 8].into_iter().find(packed) {
            Some(bits) => Ok(bits),
            None => {
                check_shape(values, &[rows, columns.div_ceil(8)])?;
                Ok(4)
            }
        },
        _ => Err(dtype(values)),
    }
}

/// Columns that share a scale.
fn group(scales: &Tensor, [rows, columns]: [usize; 2]) -> Result<usize> {
    if !scales.is_float() {
        return Err(dtype(scales));
    }
    let groups = match scales.shape[..] {
        [] | [1] | [1, 1] => 1,
        [found] if found == rows => 1,
        [found, groups] if found == rows && groups > 0 => groups,
        _ => {
            check_shape(scales, &[rows, 1])?;
            1
        }
    };
    if !columns.is_multiple_of(groups) {
        let reason = format!("{groups} scales do not divide the {columns} columns of a row evenly");
        return Err(quantized(scales, reason));
    }
    Ok(columns / groups)
}

/// Every scale must be finite. Pages of the file are read once for that, and returned.
fn check_scales(scales: &Tensor) -> Result<()> {
    let mut values = [0.0; 4096];
    for start in (0..scales.len()).step_by(values.len()) {
        let values = &mut values[..4096.min(scales.len() - start)];
        scales.read(start, 1, values);
        if let Some(at) = values.iter().position(|scale| !scale.is_finite()) {
            let reason = format!("scale {} is {}, not a finite number", start + at, values[at]);
            return Err(quantized(scales, reason));
        }
    }
    scales.release();
    Ok(())
}
