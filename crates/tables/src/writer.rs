//! The file of vectors: kept columns, chunks, vectors.

use crate::embed::{EmbeddedRows, Method, RowVector};
use crate::error::{Error, Result};
use crate::rows::Rows;
use crate::vectors::{self, VectorType};
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The columns of chunks.
const CHUNK: &str = "chunk";
const START: &str = "chunk_start";
const END: &str = "chunk_end";
const TEXT: &str = "chunk_text";

/// Maximum number of rows in a row group, and about how many bytes of it are in memory.
const GROUP_ROWS: usize = 16 << 10;
const GROUP_BYTES: usize = 32 << 20;

/// What is written of each vector.
#[derive(Clone, Debug)]
pub(crate) struct OutputColumns {
    /// The column of vectors.
    pub(crate) vector: String,
    pub(crate) dtype: VectorType,
    pub(crate) dimensions: usize,
    /// Whether vectors are those of chunks, and whether with their texts.
    pub(crate) has_chunks: bool,
    pub(crate) has_text: bool,
}

impl OutputColumns {
    pub(crate) fn new(vector: &str, dtype: VectorType, dimensions: usize, method: &Method) -> Self {
        let has_chunks = method.chunking.is_some();
        let has_text = has_chunks && method.has_text;
        Self { vector: vector.to_owned(), dtype, dimensions, has_chunks, has_text }
    }

    /// The columns that follow the kept ones.
    fn fields(&self) -> Vec<Field> {
        let number = |name: &str| Field::new(name, DataType::UInt32, false);
        let mut fields = Vec::new();
        if self.has_chunks {
            fields.extend([CHUNK, START, END].map(number));
        }
        if self.has_text {
            fields.push(Field::new(TEXT, DataType::Utf8, false));
        }
        fields.extend(vectors::fields(&self.vector, self.dtype, self.dimensions));
        fields
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.fields().into_iter().map(|field| field.name().clone()).collect()
    }

    /// Them and the `kept` ones.
    pub(crate) fn schema(&self, kept: &Schema) -> SchemaRef {
        let kept = kept.fields().iter().cloned();
        Arc::new(Schema::new(
            kept.chain(self.fields().into_iter().map(Arc::new)).collect::<Vec<_>>(),
        ))
    }

    fn columns(&self, rows: &Rows, embedded: Vec<RowVector>) -> Result<Vec<ArrayRef>, ArrowError> {
        let indices: UInt32Array = embedded.iter().map(|one| one.row as u32).collect();
        let kept = rows.kept.columns().iter().map(|column| take(column, &indices, None));
        let mut columns = kept.collect::<Result<Vec<_>, _>>()?;
        let chunks = || embedded.iter().filter_map(|one| Some((one.row, one.chunk.as_ref()?)));
        if self.has_chunks {
            let numbers: UInt32Array = chunks().map(|(_, (number, _))| *number as u32).collect();
            let starts: UInt32Array =
                chunks().map(|(_, (_, chunk))| chunk.bytes.start as u32).collect();
            let ends: UInt32Array =
                chunks().map(|(_, (_, chunk))| chunk.bytes.end as u32).collect();
            columns.extend([numbers, starts, ends].map(|column| Arc::new(column) as ArrayRef));
        }
        if self.has_text {
            let texts = chunks().map(|(row, (_, chunk))| {
                rows.texts[row].text.as_ref().map_or("", |text| &text[chunk.bytes.clone()])
            });
            columns.push(Arc::new(StringArray::from_iter_values(texts)));
        }
        let vectors: Vec<Vec<f32>> = embedded.into_iter().map(|one| one.vector).collect();
        columns.extend(vectors::columns(&vectors, self.dtype, self.dimensions)?);
        Ok(columns)
    }
}

/// Writes a file of vectors.
pub(crate) struct Writer {
    path: PathBuf,
    columns: OutputColumns,
    schema: SchemaRef,
    to: ArrowWriter<File>,
}

impl Writer {
    /// Writes to `file` at `path`, with `settings` among the metadata.
    pub(crate) fn new(
        file: File,
        path: &Path,
        kept: &Schema,
        columns: OutputColumns,
        settings: &str,
    ) -> Result<Self> {
        let schema = columns.schema(kept);
        // Vectors are random bits to a compressor, and no two are the same.
        let vectors =
            ColumnPath::new([columns.vector.as_str(), "list", "element"].map(str::to_owned).into());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_column_compression(vectors.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(vectors.clone(), false)
            .set_column_encoding(vectors, Encoding::PLAIN)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(vec![KeyValue::new(
                "kokeshi".to_owned(),
                settings.to_owned(),
            )]))
            .build();
        let to = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
        let to = to.map_err(|error| unwritable(path, error))?;
        Ok(Self { path: path.to_owned(), columns, schema, to })
    }

    /// Writes the vectors of `rows`.
    pub(crate) fn write(&mut self, rows: &Rows, embedded: EmbeddedRows) -> Result<()> {
        if embedded.vectors.is_empty() {
            return Ok(());
        }
        let columns = self.columns.columns(rows, embedded.vectors);
        let batch =
            columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&self.schema), columns));
        let batch = batch.map_err(|error| unwritable(&self.path, error))?;
        self.to.write(&batch).map_err(|error| unwritable(&self.path, error))?;
        if self.to.in_progress_size() > GROUP_BYTES {
            self.to.flush().map_err(|error| unwritable(&self.path, error))?;
        }
        Ok(())
    }

    /// Completes the file.
    pub(crate) fn finish(self) -> Result<File> {
        self.to.into_inner().map_err(|error| unwritable(&self.path, error))
    }
}

fn unwritable(path: &Path, reason: impl ToString) -> Error {
    Error::Unwritable { path: path.to_owned(), reason: reason.to_string() }
}
