//! All rows of a collection in memory, and the scan over them.

use super::Sqlite;
use super::blocks::{self, Slots, Table};
use super::{collections, open};
use crate::error::{Error, Result};
use crate::storage::{Layout, Probe, Storage};
use kokeshi_kernels::Level;
use kokeshi_kernels::memory::Aligned;
use kokeshi_kernels::scan;
use rusqlite::Connection;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;
use std::thread;

/// Rows that are scored in one go: their scores stay in the first cache.
const PIECE: usize = 1024;
/// Blocks that are worth a thread of their own to read.
const BLOCKS_A_READER: usize = 64;

/// Rows of a collection, in the order of their slots.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) generation: i64,
    rows: Rows,
}

/// Rows in memory and their scales.
#[derive(Debug)]
pub(super) struct Rows {
    layout: Layout,
    /// `[rows, layout.row]` bytes
    data: Aligned<u8>,
    /// `[rows]`, or none if the layout has no scales
    scales: Vec<f32>,
}

/// A row and its score; the better one is greater. Of equal scores, the lower row is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) score: f32,
    pub(super) slot: usize,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Rows {
    pub(super) fn zeroed(layout: Layout, rows: usize) -> Self {
        let scales = if layout.scale() > 0 { rows } else { 0 };
        Self { layout, data: Aligned::zeroed(rows * layout.row), scales: vec![1.0; scales] }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() / self.layout.row
    }

    /// Reads the row of `slot` in `blob`, its block, to row `at`.
    pub(super) fn fill(
        &mut self,
        at: usize,
        blob: &rusqlite::blob::Blob<'_>,
        slot: usize,
    ) -> rusqlite::Result<()> {
        let (layout, number) = (self.layout, slot % self.layout.rows);
        let row = &mut self.data[at * layout.row..][..layout.row];
        blob.read_at_exact(row, number * layout.row)?;
        if let Some(scale) = self.scales.get_mut(at) {
            let place = layout.rows * layout.row + number * layout.scale();
            let mut bytes = [0; 4];
            blob.read_at_exact(&mut bytes, place)?;
            *scale = f32::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// Scores of `rows`; see [`final_score`].
    pub(super) fn score(&self, level: Level, probe: &Probe, rows: Range<usize>, to: &mut [f32]) {
        let row = self.layout.row;
        let data = &self.data[rows.start * row..rows.end * row];
        match probe {
            Probe::Floats(query) if self.layout.storage == Storage::F32 => {
                scan::dot_f32(level, query, bytemuck::cast_slice(data), to);
            }
            Probe::Floats(query) => {
                scan::dot_f16(level, query, bytemuck::cast_slice(data), to);
            }
            Probe::Bytes { words, scale, excess } => {
                let mut sums = vec![0; to.len()];
                scan::dot_u8(level, words, bytemuck::cast_slice(data), &mut sums);
                for ((to, sum), row) in to.iter_mut().zip(sums).zip(&self.scales[rows]) {
                    *to = (sum - excess) as f32 * scale * row;
                }
            }
            Probe::Bits(query) => {
                let mut distances = vec![0; to.len()];
                scan::hamming(level, query, bytemuck::cast_slice(data), &mut distances);
                for (to, distance) in to.iter_mut().zip(distances) {
                    *to = -(distance as f32);
                }
            }
        }
    }
}

/// The estimate of the cosine from what the scan orders rows by. Of two vectors whose signs differ
/// in a share x of the dimensions, the expected angle is π · x.
pub(super) fn final_score(layout: Layout, score: f32) -> f32 {
    match layout.storage {
        Storage::Bits => (std::f32::consts::PI * -score / layout.dimensions as f32).cos(),
        Storage::F32 | Storage::F16 | Storage::Int8 => score,
    }
}

impl Matrix {
    /// Reads all blocks of a collection as they were at `generation`, or `None` if another process
    /// has changed them since.
    pub(super) fn read(
        store: &Sqlite,
        collection: i64,
        table: Table,
        layout: Layout,
        generation: i64,
    ) -> Result<Option<Self>> {
        let fail = Error::sqlite(&store.path);
        let count = blocks::count(&store.connection, collection, table).map_err(fail)?;
        let mut rows = Rows::zeroed(layout, count * layout.rows);
        let readers = count.div_ceil(BLOCKS_A_READER).clamp(1, store.threads);
        let share = count.div_ceil(readers).max(1);
        let scales = rows.scales.chunks_mut(share * layout.rows).map(Some);
        let parts: Vec<Part<'_>> = rows
            .data
            .chunks_mut(share * layout.rows * layout.row)
            .zip(scales.chain(std::iter::repeat_with(|| None)))
            .enumerate()
            .map(|(part, (data, scales))| Part { first: part * share, data, scales })
            .collect();
        let path = &store.path;
        let read = move |part: Part<'_>| -> rusqlite::Result<bool> {
            let connection = open::reader(path)?;
            connection.execute_batch("BEGIN")?;
            let current = collections::generation(&connection, collection)? == generation;
            if current {
                part.read(&connection, collection, table, layout)?;
            }
            Ok(current)
        };
        let results: Vec<rusqlite::Result<bool>> = thread::scope(|scope| {
            let readers: Vec<_> =
                parts.into_iter().map(|part| scope.spawn(move || read(part))).collect();
            readers
                .into_iter()
                .map(|reader| {
                    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        for result in results {
            if !result.map_err(fail)? {
                return Ok(None);
            }
        }
        Ok(Some(Self { generation, rows }))
    }

    /// The best `limit` of the rows in use that count, best first. `only` is `None` if all count.
    pub(super) fn best(
        &self,
        probe: &Probe,
        live: &Slots,
        only: Option<&Slots>,
        limit: usize,
        (threads, level): (usize, Level),
    ) -> Vec<Scored> {
        let end = live.len().min(self.rows.len());
        let share = end.div_ceil(threads).next_multiple_of(PIECE).max(PIECE);
        let scan = |start: usize| {
            let mut best = Best::new(limit);
            let mut scores = [0.0; PIECE];
            for start in (start..end.min(start + share)).step_by(PIECE) {
                let rows = start..end.min(start + PIECE);
                let words = rows.start / 64..rows.end.div_ceil(64);
                let counting: Vec<u64> = words
                    .map(|at| live.word(at) & only.map_or(u64::MAX, |only| only.word(at)))
                    .collect();
                if counting.iter().any(|&word| word != 0) {
                    let scores = &mut scores[..rows.len()];
                    self.rows.score(level, probe, rows.clone(), scores);
                    best.offer(rows.start, scores, &counting);
                }
            }
            best
        };
        let starts: Vec<usize> = (0..end).step_by(share).collect();
        let parts: Vec<Best> = match &starts[..] {
            [start] => vec![scan(*start)],
            starts => thread::scope(|scope| {
                let scans: Vec<_> =
                    starts.iter().map(|&start| scope.spawn(move || scan(start))).collect();
                scans
                    .into_iter()
                    .map(|scan| {
                        scan.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            }),
        };
        let mut best: Vec<Scored> = parts.into_iter().flat_map(Best::into_rows).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(limit);
        best
    }
}

/// A range of blocks that one thread reads.
struct Part<'a> {
    first: usize,
    data: &'a mut [u8],
    scales: Option<&'a mut [f32]>,
}

impl Part<'_> {
    fn read(
        mut self,
        connection: &Connection,
        collection: i64,
        table: Table,
        layout: Layout,
    ) -> rusqlite::Result<()> {
        let count = self.data.len() / (layout.rows * layout.row);
        let sql =
            format!("SELECT block, data FROM {} WHERE block >= ?1 AND block < ?2", table.name());
        let mut statement = connection.prepare(&sql)?;
        let (first, end) =
            (blocks::key(collection, self.first), blocks::key(collection, self.first + count));
        let mut found = statement.query([first, end])?;
        let bytes = layout.rows * layout.row;
        while let Some(row) = found.next()? {
            let at = (row.get::<_, i64>(0)? - first) as usize;
            let block = row.get_ref(1)?.as_blob()?;
            if block.len() != layout.block() {
                return Err(rusqlite::Error::BlobSizeError);
            }
            self.data[at * bytes..][..bytes].copy_from_slice(&block[..bytes]);
            if let Some(scales) = &mut self.scales {
                let scales = &mut scales[at * layout.rows..][..layout.rows];
                for (to, bytes) in scales.iter_mut().zip(block[bytes..].as_chunks().0) {
                    *to = f32::from_le_bytes(*bytes);
                }
            }
        }
        Ok(())
    }
}

/// The best rows so far.
struct Best {
    limit: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Takes what is good enough of the rows from `first` on whose bit is set in `counting`.
    fn offer(&mut self, first: usize, scores: &[f32], counting: &[u64]) {
        for (at, &score) in scores.iter().enumerate() {
            if counting[at / 64] >> (at % 64) & 1 == 1 {
                self.push(Scored { score, slot: first + at });
            }
        }
    }

    fn push(&mut self, row: Scored) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(row));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && row > worst.0
        {
            *worst = Reverse(row);
        }
    }

    fn into_rows(self) -> impl Iterator<Item = Scored> {
        self.heap.into_iter().map(|Reverse(row)| row)
    }
}
