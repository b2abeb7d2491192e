//! Arrow arrays from and to other packages, by the PyCapsule interface
//! (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).

use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, PrimitiveArray, make_array};
use arrow_schema::{ArrowError, DataType, Field};
use numpy::{PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use std::sync::Arc;

/// Vectors as an Arrow array of lists of fixed size.
#[pyclass(frozen, module = "kokeshi._kokeshi")]
pub(crate) struct ArrowVectors {
    array: ArrayRef,
}

#[pymethods]
impl ArrowVectors {
    /// Of the rows of an array, `[vectors, dimensions]` in float32.
    #[new]
    fn new(vectors: &Bound<'_, PyArray2<f32>>) -> PyResult<Self> {
        let width = i32::try_from(vectors.shape()[1])
            .map_err(|_| PyValueError::new_err("vectors have too many dimensions"))?;
        let elements = vectors.readonly();
        let elements = elements.as_slice()?.iter().copied();
        let elements = PrimitiveArray::<Float32Type>::from_iter_values(elements);
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let list = FixedSizeListArray::try_new(item, width, Arc::new(elements), None);
        Ok(Self { array: Arc::new(list.map_err(invalid)?) })
    }

    fn __len__(&self) -> usize {
        self.array.len()
    }

    /// The schema and the array.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // There is one schema; who asks for another one converts.
        let _ = requested_schema;
        let (array, schema) = to_ffi(&self.array.to_data()).map_err(invalid)?;
        let schema = PyCapsule::new_with_value(py, schema, c"arrow_schema")?;
        let array = PyCapsule::new_with_value(py, array, c"arrow_array")?;
        Ok((schema, array))
    }
}

/// The texts of an object with `__arrow_c_array__`, whose values are texts; nulls are `None`.
#[pyfunction]
pub(crate) fn texts_of(object: &Bound<'_, PyAny>) -> PyResult<Vec<Option<String>>> {
    let capsules = object.call_method0("__arrow_c_array__")?;
    let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) = capsules.extract()?;
    let array = imported(&schema, &array)?;
    let texts = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(owned).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(owned).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(owned).collect(),
        other => {
            return Err(PyTypeError::new_err(format!("values of type {other} are not texts")));
        }
    };
    Ok(texts)
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

#[expect(unsafe_code, reason = "takes over what another library exported")]
fn imported(schema: &Bound<'_, PyCapsule>, array: &Bound<'_, PyCapsule>) -> PyResult<ArrayRef> {
    let schema = schema.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(c"arrow_array"))?.cast::<FFI_ArrowArray>();
    // SAFETY: capsules of these names contain these structures, which live as long as the capsules.
    let schema = unsafe { schema.as_ref() };
    // SAFETY: as above; the structure is moved out, and what stays is marked as released, as the
    // interface demands.
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    // SAFETY: the exporter promises that the array has the layout that the schema describes.
    let data = unsafe { from_ffi(array, schema) };
    Ok(make_array(data.map_err(invalid)?))
}

fn invalid(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
