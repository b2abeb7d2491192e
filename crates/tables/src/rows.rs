//! Rows on their way from a reader to the model.

use arrow_array::{Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;

/// Rows of a table, in order.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// The kept columns.
    pub(crate) kept: RecordBatch,
    /// What the model needs of each row.
    pub(crate) texts: Vec<RowText>,
    /// Bytes of the input that they took.
    pub(crate) bytes: u64,
}

/// The text of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowText {
    /// The text, or why there is none.
    pub(crate) text: Result<String, String>,
    /// Where it is in its file: `row 7`, `line 8`, `byte 900`.
    pub(crate) location: String,
    /// Its id as text.
    pub(crate) id: Option<String>,
    /// Its document as text, if rows are parts of documents.
    pub(crate) document: Option<String>,
}

impl Rows {
    /// These rows, and `next` after them.
    pub(crate) fn followed_by(mut self, next: Self) -> Result<Self, ArrowError> {
        let kept = concat_batches(&self.kept.schema(), [&self.kept, &next.kept])?;
        self.texts.extend(next.texts);
        Ok(Self { kept, texts: self.texts, bytes: self.bytes + next.bytes })
    }

    /// The rows before `count`, and those from there on, whose bytes count as read.
    pub(crate) fn split_at(mut self, count: usize) -> (Self, Self) {
        let after = self.kept.slice(count, self.kept.num_rows() - count);
        let rest = Self { kept: after, texts: self.texts.split_off(count), bytes: 0 };
        (Self { kept: self.kept.slice(0, count), ..self }, rest)
    }

    /// Rows without any.
    #[cfg(test)]
    pub(crate) fn none(schema: arrow_schema::SchemaRef) -> Self {
        Self { kept: RecordBatch::new_empty(schema), texts: Vec::new(), bytes: 0 }
    }
}

/// The value of `array` at `row` as text, if it is a text or a whole number.
pub(crate) fn key(array: &dyn Array, row: usize) -> Option<String> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    };
    use arrow_schema::DataType;
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int8 => Some(array.as_primitive::<Int8Type>().value(row).to_string()),
        DataType::Int16 => Some(array.as_primitive::<Int16Type>().value(row).to_string()),
        DataType::Int32 => Some(array.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::UInt8 => Some(array.as_primitive::<UInt8Type>().value(row).to_string()),
        DataType::UInt16 => Some(array.as_primitive::<UInt16Type>().value(row).to_string()),
        DataType::UInt32 => Some(array.as_primitive::<UInt32Type>().value(row).to_string()),
        DataType::UInt64 => Some(array.as_primitive::<UInt64Type>().value(row).to_string()),
        DataType::FixedSizeBinary(16) => Some(uuid(array.as_fixed_size_binary().value(row))),
        _ => text(array, row).and_then(Result::ok),
    }
}

/// The text of `array` at `row`: `None` if it is null or not of a type of texts, an error if its
/// bytes are not UTF-8.
pub(crate) fn text(array: &dyn Array, row: usize) -> Option<Result<String, String>> {
    use arrow_array::cast::AsArray;
    use arrow_schema::DataType;
    if array.is_null(row) {
        return None;
    }
    let bytes = |bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("its bytes are not UTF-8".to_owned()),
    };
    match array.data_type() {
        DataType::Utf8 => Some(Ok(array.as_string::<i32>().value(row).to_owned())),
        DataType::LargeUtf8 => Some(Ok(array.as_string::<i64>().value(row).to_owned())),
        DataType::Utf8View => Some(Ok(array.as_string_view().value(row).to_owned())),
        DataType::Binary => Some(bytes(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Some(bytes(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Some(bytes(array.as_binary_view().value(row))),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            text(dictionary.values().as_ref(), dictionary.normalized_keys()[row])
        }
        _ => None,
    }
}

/// Whether values of `dtype` are texts.
pub(crate) fn is_text(dtype: &arrow_schema::DataType) -> bool {
    use arrow_schema::DataType;
    match dtype {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => true,
        _ => false,
    }
}

fn uuid(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex[range].concat();
    [part(0..4), part(4..6), part(6..8), part(8..10), part(10..16)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int8Type;
    use arrow_array::{
        BinaryArray, DictionaryArray, FixedSizeBinaryArray, Int64Array, StringViewArray,
    };

    #[test]
    fn texts_and_keys_of_every_type_are_read() {
        let words: DictionaryArray<Int8Type> = vec!["a", "b", "a"].into_iter().collect();
        assert_eq!(text(&words, 2), Some(Ok("a".to_owned())));
        let view = StringViewArray::from(vec![Some("long enough not to be inlined"), None]);
        assert_eq!(text(&view, 1), None);
        assert_eq!(key(&view, 0).as_deref(), Some("long enough not to be inlined"));
        let binary = BinaryArray::from(vec![b"ok".as_slice(), b"\xff"]);
        assert_eq!(text(&binary, 0), Some(Ok("ok".to_owned())));
        assert_eq!(text(&binary, 1), Some(Err("its bytes are not UTF-8".to_owned())));
        assert_eq!(key(&Int64Array::from(vec![i64::MIN]), 0), Some(i64::MIN.to_string()));
        let id = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16]].into_iter()).expect("an id");
        assert_eq!(key(&id, 0).as_deref(), Some("abababab-abab-abab-abab-abababababab"));
        assert!(is_text(words.data_type()) && !is_text(id.data_type()));
    }
}
