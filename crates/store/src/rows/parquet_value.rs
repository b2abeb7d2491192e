//! Values of Parquet as texts and JSON: by the logical types of their columns, which the library's rows
//! leave out, and without its panics at dates that no calendar has.

use parquet::basic::{LogicalType, TimeUnit};
use parquet::data_type::ByteArray;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// What the values of a column are, where the library does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnKind {
    Uuid,
    /// Nanoseconds since the epoch.
    Nanoseconds,
    Other,
}

/// The columns of a file, in order.
pub(super) struct Columns(Vec<ColumnKind>);

impl Columns {
    pub(super) fn new(schema: &Type) -> Self {
        let kind = |column: &std::sync::Arc<Type>| match column.get_basic_info().logical_type_ref()
        {
            Some(LogicalType::Uuid) => ColumnKind::Uuid,
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS => {
                ColumnKind::Nanoseconds
            }
            _ => ColumnKind::Other,
        };
        Self(schema.get_fields().iter().map(kind).collect())
    }

    /// The fields of a row with their names. Bytes that are a text, or a UUID, are texts; nanoseconds
    /// are a date in microseconds.
    pub(super) fn fields(&self, row: Row) -> impl Iterator<Item = (String, Field)> {
        row.into_columns().into_iter().zip(&self.0).map(|((name, field), kind)| {
            let field = match (field, kind) {
                (Field::Bytes(bytes), ColumnKind::Uuid) => Field::Str(uuid(&bytes)),
                (Field::Long(nanoseconds), ColumnKind::Nanoseconds) => {
                    Field::TimestampMicros(nanoseconds.div_euclid(1000))
                }
                (Field::Bytes(bytes), _) => text_or_bytes(bytes),
                (field, _) => field,
            };
            (name, field)
        })
    }
}

/// Bytes as text, if they are one: columns of texts often lack the mark of their encoding.
fn text_or_bytes(bytes: ByteArray) -> Field {
    match std::str::from_utf8(bytes.data()) {
        Ok(text) => Field::Str(text.to_owned()),
        Err(_) => Field::Bytes(bytes),
    }
}

/// A UUID in groups of hexadecimal digits.
fn uuid(bytes: &ByteArray) -> String {
    let hex: String = bytes.data().iter().map(|byte| format!("{byte:02x}")).collect();
    match hex.len() {
        32 => [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
        _ => hex,
    }
}

/// The largest number of days, milliseconds and microseconds from the epoch that has a date: 200,000
/// years of the 262,000 that the library's calendar has.
const MAX_DAYS: i32 = 200_000 * 365;
const MAX_MILLISECONDS: i64 = MAX_DAYS as i64 * 86_400_000;
const MAX_MICROSECONDS: i64 = MAX_MILLISECONDS * 1000;

/// A value as JSON; a date that no calendar has is its number.
pub(super) fn json(field: &Field) -> Value {
    match field {
        Field::Date(days) if days.unsigned_abs() > MAX_DAYS as u32 => (*days).into(),
        Field::TimestampMillis(time) if time.unsigned_abs() > MAX_MILLISECONDS as u64 => {
            (*time).into()
        }
        Field::TimestampMicros(time) if time.unsigned_abs() > MAX_MICROSECONDS as u64 => {
            (*time).into()
        }
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::MapInternal(map) => {
            let entry = |(key, value): &(Field, Field)| (key_text(key), json(value));
            Value::Object(map.entries().iter().map(entry).collect())
        }
        other => other.to_json_value(),
    }
}

fn object(row: &Row) -> Map<String, Value> {
    row.get_column_iter().map(|(name, field)| (name.clone(), json(field))).collect()
}

/// The key of a map as a name.
fn key_text(key: &Field) -> String {
    match json(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_no_calendar_has_are_numbers() {
        for (field, expected) in [
            (Field::Date(0), Value::from("1970-01-01")),
            (Field::Date(i32::MAX), i32::MAX.into()),
            (Field::Date(i32::MIN), i32::MIN.into()),
            (Field::TimestampMillis(i64::MIN), i64::MIN.into()),
            (Field::TimestampMicros(i64::MAX), i64::MAX.into()),
        ] {
            assert_eq!(json(&field), expected);
        }
        for time in [MAX_MILLISECONDS, -MAX_MILLISECONDS] {
            assert!(json(&Field::TimestampMillis(time)).is_string());
            assert!(json(&Field::TimestampMicros(time * 1000)).is_string());
        }
        assert!(json(&Field::Date(MAX_DAYS)).is_string());
    }

    #[test]
    fn bytes_are_texts_if_they_can_be() {
        assert_eq!(text_or_bytes(ByteArray::from("größe")), Field::Str("größe".to_owned()));
        assert!(matches!(text_or_bytes(ByteArray::from(vec![0xff])), Field::Bytes(_)));
        let bytes = ByteArray::from((0..16).collect::<Vec<u8>>());
        assert_eq!(uuid(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
