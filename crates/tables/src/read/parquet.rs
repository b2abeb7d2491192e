//! Parquet: only the columns that are needed, in their own types.

use super::{BATCH_BYTES, BATCH_ROWS, Reader};
use crate::columns::{Columns, FileColumns};
use crate::error::{Error, Result};
use crate::rows::{RowText, Rows, is_text, key, text};
use crate::shard::{Part, Shard};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::RowGroupMetaData;
use std::fs::File;
use std::sync::Arc;

pub(super) fn open(shard: &Shard, columns: &Columns, added: &[&str]) -> Result<Reader> {
    let path = shard.input.clone();
    let unreadable = |error: &dyn ToString| Error::unreadable(&path, error.to_string());
    let file = File::open(&path).map_err(Error::io("read", &path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(&e))?;
    let schema = Arc::clone(builder.schema());
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let of_file = columns.of(&names, &path, added)?;
    let of_text = schema.field(of_file.text);
    if !is_text(of_text.data_type()) {
        let (name, dtype) = (of_text.name().clone(), of_text.data_type().to_string());
        return Err(Error::NotTexts { path, name, dtype });
    }
    let kept_schema = schema.project(&of_file.kept).map_err(|e| unreadable(&e))?;
    let (projected, read) = projected(&of_file);
    let mask = ProjectionMask::roots(builder.parquet_schema(), projected);

    let groups = builder.metadata().row_groups();
    let range = match shard.part {
        Part::RowGroups { start, end } => start..end,
        Part::Whole | Part::Lines { .. } => 0..groups.len(),
    };
    let rows_of = |groups: &[RowGroupMetaData]| {
        groups.iter().map(|group| group.num_rows().max(0).cast_unsigned()).sum::<u64>()
    };
    let (first, total) = (rows_of(&groups[..range.start]), rows_of(&groups[range.clone()]));
    let batch_rows = batch_rows(&groups[range.clone()]);
    let reader = builder.with_projection(mask).with_row_groups(range.collect());
    let reader = reader.with_batch_size(batch_rows).build().map_err(|e| unreadable(&e))?;

    let schema = Arc::new(without_metadata(&kept_schema));
    let kept_schema = Arc::clone(&schema);
    let (bytes, mut done) = (shard.bytes, 0_u64);
    let rows = reader.map(move |batch| {
        let batch = batch.map_err(|error| Error::unreadable(&path, error))?;
        let before = done;
        done += batch.num_rows() as u64;
        let at =
            |rows: u64| (u128::from(rows) * u128::from(bytes) / u128::from(total.max(1))) as u64;
        let kept = batch.project(&read.kept).and_then(|kept| {
            RecordBatch::try_new_with_options(
                Arc::clone(&kept_schema),
                kept.columns().to_vec(),
                &arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
            )
        });
        let kept = kept.map_err(|error| Error::unreadable(&path, error))?;
        let texts = (0..batch.num_rows()).map(|row| row_text(&batch, &read, row, first + before));
        Ok(Rows { kept, texts: texts.collect(), bytes: at(done) - at(before) })
    });
    Ok(Reader { schema, rows: Box::new(rows) })
}

/// So many rows that their size is bounded, if the rows of a group are about equal.
fn batch_rows(groups: &[RowGroupMetaData]) -> usize {
    let row_bytes = |group: &RowGroupMetaData| group.total_byte_size() / group.num_rows().max(1);
    let largest = groups.iter().map(row_bytes).max().unwrap_or(0).max(1);
    (BATCH_BYTES / usize::try_from(largest).unwrap_or(usize::MAX)).clamp(1, BATCH_ROWS)
}

/// The columns that are read, and where the columns of `of_file` are among them.
fn projected(of_file: &FileColumns) -> (Vec<usize>, FileColumns) {
    let mut all: Vec<usize> = of_file.kept.clone();
    all.extend(of_file.id.into_iter().chain(of_file.document).chain([of_file.text]));
    all.sort_unstable();
    all.dedup();
    let place = |column: usize| all.binary_search(&column).unwrap_or_default();
    let read = FileColumns {
        text: place(of_file.text),
        id: of_file.id.map(place),
        document: of_file.document.map(place),
        kept: of_file.kept.iter().map(|&column| place(column)).collect(),
    };
    (all, read)
}

fn row_text(batch: &RecordBatch, columns: &FileColumns, row: usize, first: u64) -> RowText {
    let value = |column: usize| key(batch.column(column).as_ref(), row);
    let text = text(batch.column(columns.text).as_ref(), row);
    RowText {
        text: text.unwrap_or_else(|| Err("it has no text".to_owned())),
        location: format!("row {}", first + row as u64 + 1),
        id: columns.id.and_then(value),
        document: columns.document.and_then(value),
    }
}

/// Metadata of a whole file, such as that of pandas, describes columns that are not kept.
fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(schema.fields().clone())
}
