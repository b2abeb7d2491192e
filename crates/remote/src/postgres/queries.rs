//! Queries by unnamed statements.
//!
//! Behind a pooler, each transaction may run on another connection of the server, where a named
//! statement is unknown, or its name is taken by that of another client. An unnamed statement needs
//! the types of its values beforehand, and the client looks up any type that is not built in by a
//! named statement: so vectors are passed as texts and returned as arrays.

use postgres::types::{ToSql, Type};
use postgres::{Error, GenericClient, Row};
use std::borrow::Cow;

/// A value of a statement, whose type follows from its own.
pub(super) trait SqlValue {
    /// The value with its type in PostgreSQL.
    fn typed(&self) -> (&(dyn ToSql + Sync), Type);
}

macro_rules! values {
    ($($rust:ty => $sql:ident),* $(,)?) => {
        $(impl SqlValue for $rust {
            fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
                (self, Type::$sql)
            }
        })*
    };
}

values! {
    &str => TEXT,
    String => TEXT,
    i16 => INT2,
    i32 => INT4,
    i64 => INT8,
    u32 => OID,
    &[String] => TEXT_ARRAY,
    Vec<&str> => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<Option<String>> => TEXT_ARRAY,
    Vec<Cow<'_, str>> => TEXT_ARRAY,
    Vec<i64> => INT8_ARRAY,
}

/// A connection or transaction.
pub(super) trait Queries {
    /// The rows of a query.
    fn rows(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Vec<Row>, Error>;

    /// The only row of a query.
    fn row(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Row, Error>;

    /// The row of a query that has at most one.
    fn row_if_any(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Option<Row>, Error>;

    /// The number of rows that a statement has changed.
    fn change(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<u64, Error>;
}

impl<C: GenericClient> Queries for C {
    fn rows(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Vec<Row>, Error> {
        self.query_typed(sql, &typed(values))
    }

    fn row(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Row, Error> {
        self.query_typed_one(sql, &typed(values))
    }

    fn row_if_any(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<Option<Row>, Error> {
        self.query_typed_opt(sql, &typed(values))
    }

    fn change(&mut self, sql: &str, values: &[&dyn SqlValue]) -> Result<u64, Error> {
        self.execute_typed(sql, &typed(values))
    }
}

fn typed<'a>(values: &[&'a dyn SqlValue]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values.iter().map(|value| value.typed()).collect()
}

/// A vector as pgvector writes it; every element is read as the same f32.
pub(super) fn vector_text(vector: &[f32]) -> String {
    let elements: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", elements.join(","))
}
