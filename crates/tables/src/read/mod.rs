//! Readers of shards, one module per format.

mod jsonl;
mod lines;
mod parquet;
mod table;

use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::inputs::InputFormat;
use crate::rows::Rows;
use crate::shard::{Part, Shard};
use arrow_schema::SchemaRef;
pub(crate) use jsonl::JsonColumns;
use kokeshi_documents::utf16_to_utf8;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Maximum number of rows that a reader returns at once, and of bytes of their texts.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// The rows of a shard.
pub(crate) struct Reader {
    /// The kept columns.
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Box<dyn Iterator<Item = Result<Rows>>>,
}

/// Opens a shard. `added` are the names of the columns that the output adds; `json` returns the
/// types of the columns of a JSONL file.
pub(crate) fn open(
    shard: &Shard,
    columns: &Columns,
    added: &[&str],
    json: impl FnOnce(&Path) -> Result<Arc<JsonColumns>>,
) -> Result<Reader> {
    match shard.format {
        InputFormat::Parquet => parquet::open(shard, columns, added),
        InputFormat::Jsonl => jsonl::open(shard, columns, added, &json(&shard.input)?),
        InputFormat::Csv => table::open(shard, columns, added, b','),
        InputFormat::Tsv => table::open(shard, columns, added, b'\t'),
    }
}

/// The text of a file, decompressed and converted where its first bytes say so.
fn text_of(path: &Path) -> Result<Box<dyn BufRead>> {
    let io = Error::io("read", path);
    let mut from: Box<dyn BufRead> =
        Box::new(BufReader::with_capacity(1 << 18, File::open(path).map_err(&io)?));
    let start = from.fill_buf().map_err(&io)?;
    if start.starts_with(b"\x1f\x8b") {
        from = Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(from)));
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        let decoder = zstd::stream::read::Decoder::with_buffer(from).map_err(&io)?;
        from = Box::new(BufReader::new(decoder));
    }
    Ok(utf16_to_utf8(from).map_err(&io)?.bytes)
}

/// The lines of a shard from the first that begins in it, and how many bytes of the file precede
/// them.
fn lines_of(shard: &Shard) -> Result<(Box<dyn BufRead>, u64)> {
    let Part::Lines { start: start @ 1.., .. } = shard.part else {
        return Ok((text_of(&shard.input)?, 0));
    };
    let io = Error::io("read", &shard.input);
    let mut file = File::open(&shard.input).map_err(&io)?;
    file.seek(SeekFrom::Start(start - 1)).map_err(&io)?;
    let mut from = BufReader::with_capacity(1 << 18, file);
    // The rest of the line that begins before.
    let skipped = from.skip_until(b'\n').map_err(&io)?;
    Ok((Box::new(from), start - 1 + skipped as u64))
}
