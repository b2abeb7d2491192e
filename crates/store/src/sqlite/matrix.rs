//! Scans of all rows of a collection, in memory or in the file.

use super::best::{RowFilter, Scored, TopRows};
use super::readers::{BlockReader, on_threads};
use crate::error::Result;
use crate::storage::{EncodedQuery, Layout, Storage};
use kokeshi_kernels::Level;
use kokeshi_kernels::memory::Aligned;
use kokeshi_kernels::scan;
use std::ops::Range;

/// Number of rows scored at a time, so that their scores stay in the L1 cache.
const BATCH: usize = 1024;

/// All rows of a collection in memory, in the order of their slots.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) generation: i64,
    rows: RowBuffer,
}

/// Rows in memory and their scales.
#[derive(Debug)]
pub(super) struct RowBuffer {
    layout: Layout,
    /// `[rows, layout.row]` bytes.
    data: Aligned<u8>,
    /// `[rows]`, or empty if the layout has no scales.
    scales: Vec<f32>,
}

impl RowBuffer {
    pub(super) fn zeroed(layout: Layout, rows: usize) -> Self {
        let scales = if layout.scale() > 0 { rows } else { 0 };
        Self { layout, data: Aligned::zeroed(rows * layout.row), scales: vec![1.0; scales] }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() / self.layout.row
    }

    /// Reads the row of `slot` from `blob`, its block, into row `at`.
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
            let offset = layout.rows * layout.row + number * layout.scale();
            let mut bytes = [0; 4];
            blob.read_at_exact(&mut bytes, offset)?;
            *scale = f32::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// Scores `rows`, in the order of the scan; see [`final_score`].
    pub(super) fn score(
        &self,
        level: Level,
        probe: &EncodedQuery,
        rows: Range<usize>,
        to: &mut [f32],
    ) {
        let row = self.layout.row;
        let data = &self.data[rows.start * row..rows.end * row];
        match probe {
            EncodedQuery::Floats(query) if self.layout.storage == Storage::F32 => {
                scan::dot_f32(level, query, bytemuck::cast_slice(data), to);
            }
            EncodedQuery::Floats(query) => {
                scan::dot_f16(level, query, bytemuck::cast_slice(data), to);
            }
            EncodedQuery::Bytes { words, scale, excess } => {
                let mut sums = vec![0; to.len()];
                scan::dot_u8(level, words, bytemuck::cast_slice(data), &mut sums);
                for ((to, sum), row) in to.iter_mut().zip(sums).zip(&self.scales[rows]) {
                    *to = (sum - excess) as f32 * scale * row;
                }
            }
            EncodedQuery::Bits(query) => {
                let mut distances = vec![0; to.len()];
                scan::hamming(level, query, bytemuck::cast_slice(data), &mut distances);
                for (to, distance) in to.iter_mut().zip(distances) {
                    *to = -(distance as f32);
                }
            }
        }
    }
}

/// The estimate of the cosine from the score of the scan. If the signs of two vectors differ in a
/// share x of the dimensions, the expected angle between them is π · x.
pub(super) fn final_score(layout: Layout, score: f32) -> f32 {
    match layout.storage {
        Storage::Bits => (std::f32::consts::PI * -score / layout.dimensions as f32).cos(),
        Storage::F32 | Storage::F16 | Storage::Int8 => score,
    }
}

impl Matrix {
    /// Reads all blocks, or `None` if another process has changed them.
    pub(super) fn read(source: &BlockReader<'_>, generation: i64) -> Result<Option<Self>> {
        let (layout, share) = (source.layout, source.share * source.layout.rows);
        let mut rows = RowBuffer::zeroed(layout, source.count * layout.rows);
        let scales = rows.scales.chunks_mut(share).chain(std::iter::repeat_with(Default::default));
        let data = rows.data.chunks_mut(share * layout.row);
        let read = source.read(data.zip(scales).collect(), |(data, scales), number, block| {
            copy(layout, block, number % source.share, data, scales);
        })?;
        Ok(read.is_some().then_some(Self { generation, rows }))
    }

    /// The best `limit` of the considered rows, best first.
    pub(super) fn best(
        &self,
        probe: &EncodedQuery,
        filter: RowFilter<'_>,
        limit: usize,
        (threads, level): (usize, Level),
    ) -> Vec<Scored> {
        let end = filter.live.len().min(self.rows.len());
        let share = end.div_ceil(threads).next_multiple_of(BATCH).max(BATCH);
        let scan = |start: usize| {
            let mut best = TopRows::new(limit);
            let mut scores = [0.0; BATCH];
            for start in (start..end.min(start + share)).step_by(BATCH) {
                let rows = start..end.min(start + BATCH);
                if (rows.start / 64..rows.end.div_ceil(64)).any(|at| filter.word(at) != 0) {
                    let scores = &mut scores[..rows.len()];
                    self.rows.score(level, probe, rows.clone(), scores);
                    best.offer(rows.start, scores, filter);
                }
            }
            best
        };
        TopRows::merge(on_threads((0..end).step_by(share).collect(), scan))
    }
}

/// The best `limit` of the considered rows, which are scored while they are read from the file and
/// not kept: allocating memory for all rows takes several times as long as reading them. `None` if
/// another process has changed them.
pub(super) fn best_in_file(
    source: &BlockReader<'_>,
    probe: &EncodedQuery,
    filter: RowFilter<'_>,
    limit: usize,
    level: Level,
) -> Result<Option<Vec<Scored>>> {
    let layout = source.layout;
    let part =
        || (TopRows::new(limit), RowBuffer::zeroed(layout, layout.rows), vec![0.0; layout.rows]);
    let parts = (0..source.count.div_ceil(source.share)).map(|_| part()).collect();
    let read = source.read(parts, |(best, rows, scores), number, block| {
        let first = number * layout.rows;
        copy(layout, block, 0, &mut rows.data, &mut rows.scales);
        rows.score(level, probe, 0..layout.rows, scores);
        best.offer(first, scores, filter);
    })?;
    Ok(read.map(|parts| TopRows::merge(parts.into_iter().map(|(best, ..)| best).collect())))
}

/// Copies a block into block `at` of `data` and, if the layout has scales, of `scales`.
fn copy(layout: Layout, block: &[u8], at: usize, data: &mut [u8], scales: &mut [f32]) {
    let (rows, bytes) = block.split_at(layout.rows * layout.row);
    data[at * rows.len()..][..rows.len()].copy_from_slice(rows);
    if layout.scale() > 0 {
        let scales = &mut scales[at * layout.rows..][..layout.rows];
        for (to, bytes) in scales.iter_mut().zip(bytes.as_chunks().0) {
            *to = f32::from_le_bytes(*bytes);
        }
    }
}
