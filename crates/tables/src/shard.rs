//! Files cut into shards: what is embedded, written and finished as a whole.

use crate::error::{Error, Result};
use crate::inputs::{InputFile, InputFormat};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a file from which it is cut into several shards, unless a job says otherwise.
pub const SHARD_BYTES: u64 = 256 << 20;

/// A file, or the part of it that is embedded and written as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The file.
    pub input: PathBuf,
    /// How its rows are written.
    pub format: InputFormat,
    /// The part of it.
    pub part: Part,
    /// Bytes of that part.
    pub bytes: u64,
    /// The file that is written, below the output folder, with slashes.
    pub output: String,
}

/// A part of a file. It does not depend on anything but the file and the size of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of it.
    Whole,
    /// Row groups of a Parquet file.
    RowGroups {
        /// The first.
        start: usize,
        /// The one after the last.
        end: usize,
    },
    /// The lines that begin in a range of bytes.
    Lines {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
}

/// The shards of `file`: its parts of about `bytes` bytes. Parquet is cut between row groups, and
/// JSONL that is not compressed between lines; other files are one shard, and so is each file if
/// `is_whole`.
pub(crate) fn cut(file: &InputFile, bytes: u64, is_whole: bool) -> Result<Vec<Shard>> {
    let parts = match file.format {
        _ if is_whole || file.bytes <= bytes => vec![],
        InputFormat::Parquet => row_groups(&file.path, bytes)?,
        InputFormat::Jsonl if is_plain(&file.path)? => lines(file.bytes, bytes),
        InputFormat::Jsonl | InputFormat::Csv | InputFormat::Tsv => vec![],
    };
    let parts = if parts.len() < 2 { vec![(Part::Whole, file.bytes)] } else { parts };
    let count = parts.len();
    let shard = |(number, (part, bytes))| Shard {
        input: file.path.clone(),
        format: file.format,
        part,
        bytes,
        output: output_name(file, number, count),
    };
    Ok((1..).zip(parts).map(shard).collect())
}

/// Parts of a Parquet file, and their bytes.
fn row_groups(path: &Path, bytes: u64) -> Result<Vec<(Part, u64)>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(|error| Error::unreadable(path, error))?;
    let groups = reader.metadata().row_groups();
    let (mut parts, mut start, mut size) = (Vec::new(), 0, 0);
    for (index, group) in groups.iter().enumerate() {
        size += group.compressed_size().max(0).cast_unsigned();
        if size >= bytes || index + 1 == groups.len() {
            parts.push((Part::RowGroups { start, end: index + 1 }, size));
            (start, size) = (index + 1, 0);
        }
    }
    Ok(parts)
}

/// Parts of a file of lines, and their bytes.
fn lines(size: u64, bytes: u64) -> Vec<(Part, u64)> {
    let count = size.div_ceil(bytes.max(1));
    let end = |number: u64| (number * bytes).min(size);
    let part = |number| {
        let (start, end) = (end(number), end(number + 1));
        (Part::Lines { start, end }, end - start)
    };
    (0..count).map(part).collect()
}

/// Whether a file of text is neither compressed nor in UTF-16, so that lines begin after bytes.
fn is_plain(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(4).read_to_end(&mut start).map_err(Error::io("read", path))?;
    let marks: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff"];
    Ok(!marks.iter().any(|mark| start.starts_with(mark)) && !start.contains(&0))
}

/// The name of a Parquet file stays; that of any other has a new ending.
fn output_name(file: &InputFile, number: usize, count: usize) -> String {
    let stem = match file.format {
        InputFormat::Parquet => &file.name[..file.name.len() - ".parquet".len()],
        _ => &file.name,
    };
    match count {
        1 => format!("{stem}.parquet"),
        _ => format!("{stem}-{number:05}-of-{count:05}.parquet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_lines_cover_a_file_without_overlap() {
        let parts = lines(1000, 300);
        let ranges: Vec<(u64, u64)> = parts
            .iter()
            .map(|part| match part {
                (Part::Lines { start, end }, bytes) if end - start == *bytes => (*start, *end),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ranges, [(0, 300), (300, 600), (600, 900), (900, 1000)]);
    }

    #[test]
    fn outputs_are_named_after_inputs_and_parts() {
        let file = |name: &str, format| InputFile {
            path: name.into(),
            name: name.to_owned(),
            format,
            bytes: 0,
        };
        let parquet = file("a/x.parquet", InputFormat::Parquet);
        let jsonl = file("x.jsonl.gz", InputFormat::Jsonl);
        assert_eq!(output_name(&parquet, 1, 1), "a/x.parquet");
        assert_eq!(output_name(&parquet, 2, 12), "a/x-00002-of-00012.parquet");
        assert_eq!(output_name(&jsonl, 1, 1), "x.jsonl.gz.parquet");
    }

    #[test]
    fn compressed_lines_are_not_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("a file");
            let bytes = content.len() as u64;
            let file = InputFile { path, name: name.to_owned(), format: InputFormat::Jsonl, bytes };
            cut(&file, 10, false).expect("shards").len()
        };
        assert_eq!(count("a.jsonl", &[b'x'; 35]), 4);
        assert_eq!(count("b.jsonl", &[b"\x1f\x8b".as_slice(), &[b'x'; 33]].concat()), 1);
        assert_eq!(count("c.jsonl", &[b"\xff\xfe".as_slice(), &[b'x'; 33]].concat()), 1);
    }
}
