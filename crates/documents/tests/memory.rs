//! Reading rows takes little memory, however large the file is. One test, because the peak is that
//! of the process.
#![cfg(target_os = "linux")]

use kokeshi_documents::{Error, Format, Segments};
use std::fs;
use std::io::Read;

/// The most memory that reading a file of rows may take, in bytes, as docs/search.md says.
const LIMIT: usize = 200 << 20;

/// A header, and then the same row again and again.
struct Rows {
    row: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.left);
        for byte in &mut buffer[..count] {
            *byte = self.row[self.at];
            self.at = (self.at + 1) % self.row.len();
        }
        self.left -= count;
        Ok(count)
    }
}

/// The most memory that this process has had so far, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

/// Reads `bytes` of each shape of file, and returns the peak before, and the number of rows of each.
#[expect(clippy::print_stdout, reason = "a test prints what it measured")]
fn read(bytes: usize) -> (usize, Vec<Result<usize, String>>) {
    let wide = "xy,".repeat(1000) + "\n";
    let value = format!("{{\"text\": \"{}\"}}\n", "x".repeat(60));
    let list = format!("[{}]", "0,".repeat(bytes.min(8 << 20) / 2));
    let fields = |count: usize| -> String {
        let fields: Vec<_> = (0..count).map(|at| format!("\"{at:07}\":0")).collect();
        format!("{{{}}}\n", fields.join(","))
    };
    // As many values as a line may have.
    let values = format!("{{\"list\":[{}0]}}\n", "0,".repeat((1 << 20) - 8));
    let shapes = [
        (Format::Table(b','), "x\n".to_owned()),
        (Format::Table(b'\t'), "x\n".to_owned()),
        (Format::Table(b','), wide.clone()),
        (Format::Table(b','), "x".repeat(64)),
        (Format::Table(b','), "\"x\n".to_owned()),
        (Format::Table(b'\t'), "\"x\n".to_owned()),
        (Format::Table(b','), ",".to_owned()),
        (Format::Table(b','), "\n".to_owned()),
        (Format::Jsonl, value),
        (Format::Jsonl, list),
        (Format::Jsonl, "\n".to_owned()),
        (Format::Jsonl, "{\"a\":".to_owned()),
        (Format::Jsonl, format!("{:<15}\n", "{\"t\":\"x\"}")),
        (Format::Jsonl, fields(1000)),
        (Format::Jsonl, fields((1 << 20) - 8)),
        (Format::Jsonl, values),
        (Format::Table(b'\t'), wide.replace(',', "\t")),
        (Format::Table(b'\t'), "x".repeat(64)),
        (Format::Table(b','), "x,".repeat(16_000) + "\n"),
        (Format::Table(b','), "\"\"\n".to_owned()),
    ];
    let before = peak();
    let rows = |(at, (format, row)): (usize, (Format, String))| {
        let from = Rows { row: row.into_bytes(), at: 0, left: bytes };
        let count = Segments::new(format, from).and_then(|segments| {
            let segments = segments.expect("rows");
            segments.map(|segment| Ok(segment?.parts.len())).sum::<Result<usize, Error>>()
        });
        println!("shape {at}: {:?}, at most {} MiB so far", count, peak() >> 20);
        count.map_err(|error| error.to_string())
    };
    (before, shapes.into_iter().enumerate().map(rows).collect())
}

fn bounded(bytes: usize) {
    let (before, rows) = read(bytes);
    assert_eq!(rows[0], Ok(bytes / 2 - 1), "one letter per row");
    assert_eq!(rows[1], Ok(bytes / 2 - 1), "one letter per row");
    assert_eq!(rows[2], Ok(bytes.div_ceil(3001) - 1), "a thousand columns");
    assert!(rows[3].is_err() || bytes <= 16 << 20, "one row: {:?}", rows[3]);
    assert!(rows[4].as_ref().is_err_and(|error| error.contains("has no end")), "{:?}", rows[4]);
    assert!(rows[6].as_ref().is_err_and(|error| error.contains("fields")), "{:?}", rows[6]);
    assert_eq!((&rows[7], &rows[10]), (&Ok(0), &Ok(0)), "blank lines");
    assert!(rows[9].is_err() && rows[11].is_err(), "{:?}", &rows[9..]);
    assert_eq!(rows[12], Ok(bytes / 16), "one letter per row of JSON");
    assert!(rows[13].is_ok() || bytes <= 1 << 20, "a thousand fields: {:?}", rows[13]);
    assert!(rows[16].is_ok() && rows[18].is_ok(), "{:?}", &rows[16..]);
    assert!(rows[17].is_err() || bytes <= 16 << 20, "one row: {:?}", rows[17]);
    let taken = peak().saturating_sub(before);
    assert!(taken <= LIMIT, "{} MiB", taken >> 20);
}

#[test]
fn reading_rows_takes_little_memory() {
    bounded(1 << 20);
}

#[test]
#[ignore = "takes minutes: the largest files that are read"]
fn reading_the_largest_files_of_rows_takes_little_memory() {
    bounded(256 << 20);
}
