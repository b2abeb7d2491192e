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
    /// i32: ids, tasks (-1 for none) and positions of all tokens, then three integers per tile:
    /// where its sequence starts, how long it is, and the tile's first query.
    memory: Memory,
    rows: usize,
    /// One more than the largest id.
    pub(super) vocab: usize,
    /// One more than the largest task.
    pub(super) tasks: usize,
    /// Tokens of the longest sequence.
    pub(super) longest: usize,
    pub(super) head_dim: usize,
    /// The tiles of each attention kernel, as a range of `memory`, in integers.
    tiles: Vec<(AttentionKernel, Range<usize>)>,
}

/// The tiles of one attention kernel.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub(super) address: Address,
    pub(super) count: usize,
}

/// Integers per tile (`Tile` in the kernels).
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

    /// The attention kernels that the batch needs, each with the range of its tiles.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (AttentionKernel, &Range<usize>)> {
        let tiles = self.tiles.iter().filter(|(_, range)| !range.is_empty());
        tiles.map(|(kernel, range)| (*kernel, range))
    }

    /// The tiles in a range of [`PackedBatch::tiles`].
    pub(super) fn tiles_in(&self, gpu: &Gpu, range: &Range<usize>) -> Tiles {
        Tiles { address: self.at(gpu, range.start), count: range.len() / TILE }
    }

    fn at(&self, gpu: &Gpu, index: usize) -> Address {
        gpu.address(&self.memory).offset(index * size_of::<i32>())
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
        let mut integers: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        integers.extend(adapters.iter().map(|adapter| adapter.map_or(-1, |task| task as i32)));
        for sequence in sequences {
            let rotates = kernel(sequence.len()).rotates();
            let positions = 0..sequence.len() as i32;
            integers.extend(positions.map(|position| if rotates { -1 } else { position }));
        }
        let tiles = AttentionKernel::ALL.map(|tile_kernel| {
            let start = integers.len();
            let own = sequences.iter().filter(|sequence| kernel(sequence.len()) == tile_kernel);
            push_tiles(&mut integers, own.collect(), tile_kernel.queries());
            (tile_kernel, start..integers.len())
        });
        Ok(PackedBatch {
            memory: self.upload(&integers)?,
            rows,
            vocab: ids.iter().max().map_or(0, |&id| id as usize + 1),
            tasks: adapters.iter().flatten().max().map_or(0, |task| task + 1),
            longest: sequences.iter().map(Range::len).max().unwrap_or(0),
            head_dim,
            tiles: tiles.to_vec(),
        })
    }
}

/// Appends the tiles of `queries` queries of the sequences, the longest first, so that no long
/// sequence is left to run alone at the end.
fn push_tiles(integers: &mut Vec<i32>, mut sequences: Vec<&Range<usize>>, queries: usize) {
    sequences.sort_by_key(|sequence| Reverse(sequence.len()));
    for sequence in sequences {
        for query in (0..sequence.len()).step_by(queries) {
            let tile: [usize; TILE] = [sequence.start, sequence.len(), query];
            integers.extend(tile.map(|value| value as i32));
        }
    }
}
