//! The weight files of a folder, and the tensors in them under the names of the files.

use crate::config::object;
use crate::error::{Error, Result};
use crate::mapped::Bytes;
use crate::tensor::{Elements, Tensor};
use safetensors::SafeTensors;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of `model.safetensors`, or of all parts that its index lists.
pub(crate) fn open_weights(folder: &Path) -> Result<Vec<Tensor>> {
    let index = folder.join(INDEX);
    if !folder.join(SINGLE).exists() && index.exists() {
        return open_parts(folder, &index);
    }
    open_file(&required(folder, SINGLE)?)
}

/// The tensors of one safetensors file.
pub(crate) fn open_file(path: &Path) -> Result<Vec<Tensor>> {
    tensors(path, Bytes::map(path)?)
}

/// The tensors of a safetensors file in memory. `path` is its name in messages.
pub(crate) fn tensors(path: &Path, bytes: Bytes) -> Result<Vec<Tensor>> {
    let broken = |reason: String| Error::Safetensors { path: path.to_owned(), reason };
    let (header, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
    let data = header + size_of::<u64>();
    let (file, bytes) = (Arc::new(path.to_owned()), Arc::new(bytes));
    let tensor = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let elements = Elements::of(info.dtype).ok_or_else(|| Error::Dtype {
            name: name.clone(),
            path: path.to_owned(),
            found: info.dtype.to_string(),
        })?;
        let (start, end) = info.data_offsets;
        Ok(Tensor {
            name: name.into(),
            file: Arc::clone(&file),
            bytes: Arc::clone(&bytes),
            range: data + start..data + end,
            elements,
            shape: info.shape.clone(),
        })
    };
    let mut tensors: Vec<Tensor> =
        metadata.tensors().into_iter().map(tensor).collect::<Result<_>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

fn open_parts(folder: &Path, index: &Path) -> Result<Vec<Tensor>> {
    let invalid = |reason: &str| Error::Json { path: index.to_owned(), reason: reason.to_owned() };
    let json = object(index, &read(index)?)?;
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| invalid("`weight_map` is missing"))?;
    let mut parts = BTreeSet::new();
    for part in map.values() {
        let part = part.as_str().ok_or_else(|| invalid("`weight_map` must name files"))?;
        // A part is in the same folder: an untrusted index must not open other files.
        let plain = Path::new(part).components().eq([Component::Normal(part.as_ref())]);
        parts.insert(if plain {
            part
        } else {
            return Err(invalid("a part is not a plain file name"));
        });
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(open_file(&required(folder, part)?)?);
    }
    let names: BTreeSet<&str> = all.iter().map(|tensor| &*tensor.name).collect();
    match map.keys().find(|name| !names.contains(name.as_str())) {
        Some(name) => {
            Err(Error::MissingTensor { name: name.clone(), checkpoint: folder.to_owned() })
        }
        None => Ok(all),
    }
}

/// The path of a file that must exist.
pub(crate) fn required(folder: &Path, file: &str) -> Result<PathBuf> {
    let path = folder.join(file);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Missing { folder: folder.to_owned(), file: file.to_owned() })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io("read", path, e))
}
