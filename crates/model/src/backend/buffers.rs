//! Buffers of token states, reused by later operations.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Free buffers. A forward pass needs the same few sizes over and over; the system would zero fresh
/// memory for each, page by page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Buffers {
    /// A buffer of `len` values of unspecified content.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let values = self.smallest_fit(len).unwrap_or_else(|| vec![0.0; len]);
        Buffer { values, len, pool: self.clone() }
    }

    fn smallest_fit(&self, len: usize) -> Option<Vec<f32>> {
        let mut free = self.free();
        let fits = free.iter().enumerate().filter(|(_, values)| values.len() >= len);
        let best = fits.min_by_key(|(_, values)| values.len()).map(|(i, _)| i);
        if best.is_none() {
            // A buffer that is too small is freed, so that sizes follow the demand.
            free.pop();
        }
        best.map(|best| free.swap_remove(best))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Token states, `[tokens, width]`. Returns to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    values: Vec<f32>,
    len: usize,
    pool: Buffers,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.pool.free().push(values);
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_reused_and_the_smallest_fit_first() {
        let buffers = Buffers::default();
        let (large, small) = (buffers.take(1000), buffers.take(10));
        let (large_at, small_at) = (large.as_ptr(), small.as_ptr());
        drop((large, small));
        assert_eq!(buffers.take(5).as_ptr(), small_at);
        let (first, second) = (buffers.take(5), buffers.take(5));
        assert_eq!((first.as_ptr(), second.as_ptr()), (small_at, large_at));
        assert_eq!((first.len(), second.len()), (5, 5));
    }
}
