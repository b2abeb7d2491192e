//! A batch on the card: ids, tasks and positions of its tokens, and the tiles of attention.

use super::attention::AttentionKernel;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::launch::Address;
use crate::memory::Memory;
use std::cmp::Reverse;
use std::ops::Range;

/// A batch on the card.
#[derive(Debug)]
pub struct PackedBatch {
    /// i32: ids, tasks (-1 for none) and positions of all tokens, then three numbers a tile: where
    /// its sequence starts, how long it is, and the tile's first query.
    memory: Memory,
    rows: usize,
    /// One more than the largest id.
    pub(super) vocab: usize,
    /// One more than the largest task.
    pub(super) tasks: usize,
    /// Tokens of the longest sequence.
    pub(super) longest: usize,
    pub(super) head_dim: usize,
    /// The tiles of each attention kernel, as a range of `memory` in numbers.
    tiles: Vec<(AttentionKernel, Range<usize>)>,
}

/// The tiles of one attention kernel.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub(super) address: Address,
    pub(super) count: usize,
}

/// Numbers of a tile (`Tile` in the kernels).
const TILE: usize = 3;

impl PackedBatch {
    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn ids(&self, gpu: &Gpu) -> Address {
        self.at(gpu, 0)
    }

    pub(super) fn adapters(&self, gpu: &Gpu) -> Address {
        self.at(gpu, self.rows)
    }

    /// The position of each token in its sequence; -1 where the attention kernel rotates by itself.
    pub(super) fn positions(&self, gpu: &Gpu) -> Address {
        self.at(gpu, 2 * self.rows)
    }

    /// The attention kernels that the batch needs, each with where its tiles are.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (AttentionKernel, &Range<usize>)> {
        let tiles = self.tiles.iter().filter(|(_, numbers)| !numbers.is_empty());
        tiles.map(|(kernel, numbers)| (*kernel, numbers))
    }

    /// The tiles in a range of [`PackedBatch::tiles`].
    pub(super) fn tiles_in(&self, gpu: &Gpu, numbers: &Range<usize>) -> Tiles {
        Tiles { address: self.at(gpu, numbers.start), count: numbers.len() / TILE }
    }

    fn at(&self, gpu: &Gpu, number: usize) -> Address {
        gpu.address(&self.memory).offset(number * size_of::<i32>())
    }
}

impl Gpu {
    /// Copies a batch to the card: `ids` and `adapters` of all tokens, and the token range of each
    /// sequence.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    ///
    /// # Panics
    ///
    /// If there is not one id and one adapter for each token, or the sequences are not end to end.
    pub fn pack_batch(
        &self,
        ids: &[u32],
        adapters: &[Option<usize>],
        sequences: &[Range<usize>],
        head_dim: usize,
    ) -> Result<PackedBatch> {
        let rows = ids.len();
        assert_eq!(adapters.len(), rows, "one adapter for each token");
        let end = sequences.iter().fold(0, |end, sequence| {
            assert!(sequence.start == end && sequence.end >= end, "sequences are end to end");
            sequence.end
        });
        assert_eq!(end, rows, "sequences of all tokens");
        let kernel = |len| AttentionKernel::choose(self.code, self.dtype, head_dim, len);
        let mut numbers: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        numbers.extend(adapters.iter().map(|adapter| adapter.map_or(-1, |task| task as i32)));
        for sequence in sequences {
            let rotates = kernel(sequence.len()).rotates();
            let positions = 0..sequence.len() as i32;
            numbers.extend(positions.map(|position| if rotates { -1 } else { position }));
        }
        let tiles = AttentionKernel::ALL.map(|kernel_of_tiles| {
            let start = numbers.len();
            let own = sequences.iter().filter(|sequence| kernel(sequence.len()) == kernel_of_tiles);
            push_tiles(&mut numbers, own.collect(), kernel_of_tiles.queries());
            (kernel_of_tiles, start..numbers.len())
        });
        Ok(PackedBatch {
            memory: self.upload(&numbers)?,
            rows,
            vocab: ids.iter().max().map_or(0, |&id| id as usize + 1),
            tasks: adapters.iter().flatten().max().map_or(0, |task| task + 1),
            longest: sequences.iter().map(Range::len).max().unwrap_or(0),
            head_dim,
            tiles: tiles.to_vec(),
        })
    }
}

/// Appends the tiles of `queries` queries of the sequences, the longest first, so that the card
/// does not end with one of them alone.
fn push_tiles(numbers: &mut Vec<i32>, mut sequences: Vec<&Range<usize>>, queries: usize) {
    sequences.sort_by_key(|sequence| Reverse(sequence.len()));
    for sequence in sequences {
        for query in (0..sequence.len()).step_by(queries) {
            let tile: [usize; TILE] = [sequence.start, sequence.len(), query];
            numbers.extend(tile.map(|number| number as i32));
        }
    }
}
