//! Tables with a header: every kept column is one of texts.

use super::{BATCH_BYTES, BATCH_ROWS, Reader, text_of};
use crate::columns::{Columns, FileColumns};
use crate::error::{Error, Result};
use crate::rows::{RowText, Rows};
use crate::shard::Shard;
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use kokeshi_documents::{Table, TableRow};
use serde_json::Value;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn open(
    shard: &Shard,
    columns: &Columns,
    added: &[&str],
    separator: u8,
) -> Result<Reader> {
    let path = shard.input.clone();
    let from = text_of(&path)?;
    let table = Table::new(from, separator).map_err(|error| Error::unreadable(&path, error))?;
    let names: Vec<String> = table.columns().to_vec();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let of_file = columns.of(&borrowed, &path, added)?;
    let field = |&column: &usize| Field::new(names[column].as_str(), DataType::Utf8, true);
    let schema = Arc::new(Schema::new(of_file.kept.iter().map(field).collect::<Vec<_>>()));
    let is_packed = crate::inputs::is_packed(&path);
    let batches = Batches {
        path,
        table,
        names,
        of_file,
        schema: Arc::clone(&schema),
        is_packed,
        failed: false,
    };
    Ok(Reader { schema, rows: Box::new(batches) })
}

struct Batches {
    path: PathBuf,
    table: Table<Box<dyn BufRead>>,
    names: Vec<String>,
    of_file: FileColumns,
    schema: SchemaRef,
    /// Whether the size of the file is not that of its text.
    is_packed: bool,
    failed: bool,
}

impl Iterator for Batches {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.batch().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Rows>> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = self.table.next() else { break };
            let row = row.map_err(|error| Error::unreadable(&self.path, error))?;
            bytes += row.raw.len() + 1;
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let kept: Vec<ArrayRef> =
            self.of_file.kept.iter().map(|&column| self.column(&rows, column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let kept = RecordBatch::try_new_with_options(Arc::clone(&self.schema), kept, &options);
        let kept = kept.map_err(|error| Error::unreadable(&self.path, error))?;
        let texts = rows.iter().map(|row| self.row_text(row)).collect();
        let bytes = if self.is_packed { 0 } else { bytes as u64 };
        Ok(Some(Rows { kept, texts, bytes }))
    }

    fn column(&self, rows: &[TableRow], column: usize) -> ArrayRef {
        let mut builder = StringBuilder::new();
        rows.iter().for_each(|row| builder.append_option(self.field(row, column)));
        Arc::new(builder.finish())
    }

    fn field<'r>(&self, row: &'r TableRow, column: usize) -> Option<&'r str> {
        row.fields.get(&self.names[column]).and_then(Value::as_str)
    }

    fn row_text(&self, row: &TableRow) -> RowText {
        let value = |column: usize| self.field(row, column).map(str::to_owned);
        let (fields, columns) = (row.fields.len(), self.names.len());
        let text = match value(self.of_file.text) {
            _ if fields > columns => {
                Err(format!("it has {fields} fields, and the header has {columns}"))
            }
            Some(text) => Ok(text),
            None => Err("it has no text".to_owned()),
        };
        RowText {
            text,
            location: format!("line {}", row.line),
            id: self.of_file.id.and_then(value),
            document: self.of_file.document.and_then(value),
        }
    }
}
