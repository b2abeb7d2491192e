//! Vectors as a column: a list of fixed size.

use arrow_array::types::{Float16Type, Float32Type, Int8Type, UInt8Type};
use arrow_array::{ArrayRef, FixedSizeListArray, PrimitiveArray};
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use half::f16;
use kokeshi::{EmbeddingType, Encoded, encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats.
    F16,
    /// Signed bytes and, in a column of its own, the scale that they are multiplied by: the largest
    /// magnitude of a vector is 127.
    Int8,
    /// One bit per dimension, packed into signed bytes as the API of Jina does.
    Binary,
    /// One bit per dimension, packed into unsigned bytes.
    Ubinary,
}

impl VectorType {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Int8, Self::Binary, Self::Ubinary];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Binary => "binary",
            Self::Ubinary => "ubinary",
        }
    }

    fn element(self) -> DataType {
        match self {
            Self::F32 => DataType::Float32,
            Self::F16 => DataType::Float16,
            Self::Int8 | Self::Binary => DataType::Int8,
            Self::Ubinary => DataType::UInt8,
        }
    }

    /// Elements of a vector of `dimensions`.
    fn len(self, dimensions: usize) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Int8 => dimensions,
            Self::Binary | Self::Ubinary => dimensions.div_ceil(8),
        }
    }
}

impl fmt::Display for VectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for VectorType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|one| format!("`{}`", one.name()));
            format!("`{name}` is not a type of vectors; use one of {}", names.join(", "))
        })
    }
}

/// The column of vectors of `dimensions` called `name`, and that of their scales, if they have any.
pub(crate) fn fields(name: &str, dtype: VectorType, dimensions: usize) -> Vec<Field> {
    let list = DataType::FixedSizeList(item(dtype), dtype.len(dimensions) as i32);
    let scale =
        (dtype == VectorType::Int8).then(|| Field::new(scale_name(name), DataType::Float32, false));
    [Field::new(name, list, false)].into_iter().chain(scale).collect()
}

/// The name of the column of scales of the vectors called `name`.
pub(crate) fn scale_name(name: &str) -> String {
    format!("{name}_scale")
}

fn item(dtype: VectorType) -> FieldRef {
    Arc::new(Field::new("element", dtype.element(), false))
}

/// The columns of [`fields`] with `vectors`, each `[dimensions]`.
pub(crate) fn columns(
    vectors: &[Vec<f32>],
    dtype: VectorType,
    dimensions: usize,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut scales = Vec::new();
    let elements: ArrayRef = match dtype {
        VectorType::F32 => {
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(vectors.concat()))
        }
        VectorType::F16 => {
            let halves = vectors.iter().flatten().map(|x| f16::from_f32(*x));
            Arc::new(PrimitiveArray::<Float16Type>::from_iter_values(halves))
        }
        VectorType::Int8 => {
            let mut bytes = Vec::with_capacity(vectors.len() * dimensions);
            for vector in vectors {
                scales.push(quantize(vector, &mut bytes));
            }
            Arc::new(PrimitiveArray::<Int8Type>::from_iter_values(bytes))
        }
        VectorType::Binary => {
            let bytes = vectors.iter().flat_map(|one| match encode(one, EmbeddingType::Binary) {
                Encoded::Binary(bytes) => bytes,
                _ => Vec::new(),
            });
            Arc::new(PrimitiveArray::<Int8Type>::from_iter_values(bytes))
        }
        VectorType::Ubinary => {
            let bytes = vectors.iter().flat_map(|one| match encode(one, EmbeddingType::Ubinary) {
                Encoded::Ubinary(bytes) => bytes,
                _ => Vec::new(),
            });
            Arc::new(PrimitiveArray::<UInt8Type>::from_iter_values(bytes))
        }
    };
    let len = dtype.len(dimensions) as i32;
    let list = FixedSizeListArray::try_new(item(dtype), len, elements, None)?;
    let mut all: Vec<ArrayRef> = vec![Arc::new(list)];
    if dtype == VectorType::Int8 {
        all.push(Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(scales)));
    }
    Ok(all)
}

/// Adds the bytes of `vector` to `bytes` and returns their scale.
fn quantize(vector: &[f32], bytes: &mut Vec<i8>) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    bytes.extend(vector.iter().map(|x| (x * inverse).round_ties_even() as i8));
    scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;

    const VECTORS: [[f32; 10]; 2] =
        [[0.5, -0.25, 0.125, 1.0, -1.0, 0.0, 0.75, -0.5, 0.1, -0.1], [0.0; 10]];

    fn column(dtype: VectorType) -> Vec<ArrayRef> {
        let vectors = VECTORS.map(|vector| vector.to_vec());
        let columns = columns(&vectors, dtype, 10).expect("columns");
        let fields = fields("v", dtype, 10);
        for (field, column) in fields.iter().zip(&columns) {
            assert_eq!(field.data_type(), column.data_type());
        }
        assert_eq!(fields.len(), columns.len());
        columns
    }

    #[test]
    fn floats_are_as_they_are() {
        let columns = column(VectorType::F32);
        let list = columns[0].as_fixed_size_list();
        assert_eq!((list.len(), list.value_length()), (2, 10));
        assert_eq!(list.value(0).as_primitive::<Float32Type>().values()[..], VECTORS[0]);
    }

    #[test]
    fn bytes_times_their_scale_are_the_vector() {
        let columns = column(VectorType::Int8);
        let bytes = columns[0].as_fixed_size_list().value(0);
        let (bytes, scales) =
            (bytes.as_primitive::<Int8Type>().values(), columns[1].as_primitive::<Float32Type>());
        assert_eq!(bytes[3], 127);
        for (byte, x) in bytes.iter().zip(VECTORS[0]) {
            let back = f32::from(*byte) * scales.value(0);
            assert!((back - x).abs() <= scales.value(0) / 2.0 + 1e-6, "{back} {x}");
        }
        assert_eq!(scales.value(1), 0.0);
    }

    #[test]
    fn bits_are_those_of_the_api() {
        let list = column(VectorType::Ubinary)[0].as_fixed_size_list().value(0);
        assert_eq!(list.as_primitive::<UInt8Type>().values()[..], [0b1011_0010, 0b1000_0000]);
        let list = column(VectorType::Binary)[0].as_fixed_size_list().value(0);
        assert_eq!(list.as_primitive::<Int8Type>().values()[..], [50, 0]);
    }
}
