//! Token states on the card, and the memory that forward passes reuse.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::memory::{Memory, widen};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Token states, `[rows, width]` with rows `ld` elements apart: each row is followed by room for
/// the low-rank tail of the layer that reads it. Their memory returns to the arena when they are
/// dropped; operations that still use it run before any of the next user's.
#[derive(Debug)]
pub struct States {
    memory: Option<Memory>,
    arena: Arena,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) ld: usize,
    /// Whether the tail of the layer that reads them next has been computed.
    pub(crate) has_tail: Cell<bool>,
}

impl States {
    /// States without memory, which replace results after an operation has failed. No operation may
    /// use them.
    pub fn none() -> Self {
        Self {
            memory: None,
            arena: Arena::default(),
            rows: 0,
            width: 0,
            ld: 0,
            has_tail: Cell::default(),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[rows, width, ld]`
    pub(crate) fn shape(&self) -> [usize; 3] {
        [self.rows, self.width, self.ld]
    }

    #[expect(clippy::expect_used, reason = "only failed passes have states without memory")]
    pub(crate) fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("states of a pass that has not failed")
    }
}

impl Drop for States {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.arena.free().push(memory);
        }
    }
}

/// Memory that is free for reuse.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    free: Arc<Mutex<Vec<Memory>>>,
}

impl Arena {
    /// Ensures that buffers of these sizes in bytes are free at the same time. If they are not, all
    /// free memory is replaced: buffers of many sizes would add up to more than any pass needs.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`](crate::Error::Memory) if the card is out of memory.
    pub fn reserve(&self, gpu: &Gpu, sizes: &[usize]) -> Result<()> {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        if self.has(&sizes) {
            return Ok(());
        }
        self.free().clear();
        for &size in &sizes {
            let memory = gpu.zeros(size)?;
            self.free().push(memory);
        }
        Ok(())
    }

    /// Whether there is a free buffer for each of the sorted sizes.
    fn has(&self, sizes: &[usize]) -> bool {
        let mut held: Vec<usize> = self.free().iter().map(Memory::len).collect();
        held.sort_unstable();
        let mut held = held.into_iter();
        sizes.iter().all(|&size| held.any(|bytes| bytes >= size))
    }

    /// States of unspecified content, with room for `tail` elements after each row.
    ///
    /// # Errors
    ///
    /// As [`Arena::reserve`], if no free buffer is large enough.
    pub fn take(&self, gpu: &Gpu, rows: usize, width: usize, tail: usize) -> Result<States> {
        let ld = width + tail;
        let bytes = rows * ld * gpu.dtype.len_bytes();
        let memory = match self.smallest_fit(bytes) {
            Some(memory) => memory,
            None => gpu.zeros(bytes)?,
        };
        Ok(States {
            memory: Some(memory),
            arena: self.clone(),
            rows,
            width,
            ld,
            has_tail: Cell::default(),
        })
    }

    fn smallest_fit(&self, bytes: usize) -> Option<Memory> {
        let mut free = self.free();
        let fits = free.iter().enumerate().filter(|(_, memory)| memory.len() >= bytes);
        let best = fits.min_by_key(|(_, memory)| memory.len()).map(|(i, _)| i);
        best.map(|best| free.swap_remove(best))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Memory>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu {
    /// Downloads all states, `[rows, width]`, after all earlier operations.
    ///
    /// # Errors
    ///
    /// If the card failed, in this or an earlier operation.
    pub fn read(&self, states: &States) -> Result<Vec<f32>> {
        let bytes = states.rows * states.ld * self.dtype.len_bytes();
        let values = widen(self.dtype, &self.download(states.memory(), bytes)?);
        let rows = values.chunks_exact(states.ld.max(1));
        Ok(rows.flat_map(|row| &row[..states.width]).copied().collect())
    }

    /// Uploads `values`, `[rows, width]`, as states with room for `tail` elements after each row.
    ///
    /// # Errors
    ///
    /// If the card has no memory left, or fails.
    pub fn write(
        &self,
        arena: &Arena,
        values: &[f32],
        width: usize,
        tail: usize,
    ) -> Result<States> {
        let rows = values.len() / width;
        let mut read =
            |i: usize, row: &mut [f32]| row.copy_from_slice(&values[i * width..][..width]);
        let memory = self.upload_rows(rows, [width, width + tail], &mut read)?;
        let (ld, has_tail) = (width + tail, Cell::default());
        Ok(States { memory: Some(memory), arena: arena.clone(), rows, width, ld, has_tail })
    }
}
