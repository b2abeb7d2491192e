//! Points as the columns of a table in Milvus.

use crate::points::point::Point;
use ::milvus::v2::prelude::{CollectionSchema, DataType, FieldData, FieldSchema, QueryResults};

/// Maximum length of a text in Milvus, in bytes.
pub(super) const MAX_TEXT: usize = 65_535;
/// Maximum number of terms of a point in Milvus.
pub(super) const MAX_TERMS: usize = 4096;
/// Maximum length of a term, in bytes: more than `kokeshi_store::backend::terms_of` returns.
const MAX_TERM: usize = 512;
/// Length of an id, a UUID, in bytes.
const ID_LEN: usize = 36;
/// The field of vectors.
pub(super) const VECTOR: &str = "vector";
/// The fields of a point that are read, without its vector.
pub(super) const FIELDS: [&str; 4] = ["id", "path", "text", "body"];
/// The same, with the vector.
pub(super) const ALL_FIELDS: [&str; 5] = ["id", "path", "text", "body", VECTOR];

/// The points of an answer.
pub(super) fn to_points(results: &QueryResults) -> Vec<Point> {
    let column = |name: &str| {
        results.get_output_field(name).and_then(FieldData::as_varchar).unwrap_or_default()
    };
    let [ids, paths, texts, bodies] = FIELDS.map(column);
    let vectors = results.get_output_field(VECTOR).and_then(FieldData::as_float_vectors);
    let value = |column: &[String], at: usize| column.get(at).cloned().unwrap_or_default();
    let point = |at| Point {
        id: value(ids, at),
        path: value(paths, at),
        terms: Vec::new(),
        text: value(texts, at),
        body: value(bodies, at),
        vector: vectors.and_then(|all| all.get(at)).cloned().unwrap_or_default(),
    };
    (0..ids.len()).map(point).collect()
}

/// The schema of points with vectors of this width.
pub(super) fn schema(width: usize) -> CollectionSchema {
    let text = |name: &str, max_len: usize| {
        FieldSchema::new().name(name).data_type(DataType::VarChar).max_length(max_len as u32)
    };
    let terms = text("terms", MAX_TERM)
        .data_type(DataType::Array)
        .element_type(DataType::VarChar)
        .max_capacity(MAX_TERMS as u32);
    let vector = FieldSchema::new().name(VECTOR).data_type(DataType::FloatVector);
    CollectionSchema::new()
        .add_field(text("id", ID_LEN).primary_key(true))
        .add_field(text("path", MAX_TEXT))
        .add_field(terms)
        .add_field(text("text", MAX_TEXT))
        .add_field(text("body", MAX_TEXT))
        .add_field(vector.dimension(width as u32))
}

/// Points as columns.
pub(super) fn to_columns(points: &[Point]) -> Vec<FieldData> {
    let texts = |name: &str, value: fn(&Point) -> &String| {
        FieldData::varchar(name, points.iter().map(|point| value(point).clone()).collect())
    };
    vec![
        texts("id", |point| &point.id),
        texts("path", |point| &point.path),
        FieldData::array_varchar("terms", points.iter().map(|point| point.terms.clone()).collect()),
        texts("text", |point| &point.text),
        texts("body", |point| &point.body),
        FieldData::float_vector(VECTOR, points.iter().map(|point| point.vector.clone()).collect()),
    ]
}
