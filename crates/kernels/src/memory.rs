//! Buffers whose first element lies on a cache line.

use std::ops::{Deref, DerefMut};

const CACHE_LINE: usize = 64;

/// A zeroed, fixed-length buffer aligned to 64 bytes, so that no vector load of a packed panel
/// crosses a cache line. (A `Vec` shifted by a few elements: moving it does not move the heap block.)
#[derive(Debug)]
pub struct Aligned<T> {
    elements: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` zeroes.
    pub fn zeroed(len: usize) -> Self {
        let elements = vec![T::default(); len + CACHE_LINE / size_of::<T>()];
        // `align_offset` may answer "never"; then the buffer is only slower.
        let start = elements.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE / size_of::<T>());
        Self { elements, start, len }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements[self.start..self.start + self.len]
    }
}

/// A scratch buffer that grows to the largest request and is then reused.
#[derive(Debug)]
pub struct Scratch {
    buffer: Aligned<f32>,
}

impl Scratch {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { buffer: Aligned::zeroed(0) }
    }

    /// `len` values of unspecified content.
    pub fn take(&mut self, len: usize) -> &mut [f32] {
        if self.buffer.len() < len {
            self.buffer = Aligned::zeroed(len);
        }
        &mut self.buffer[..len]
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_a_cache_line_and_are_zero() {
        for len in [0, 1, 15, 16, 17, 100_003] {
            let mut words = Aligned::<f32>::zeroed(len);
            let halves = Aligned::<u16>::zeroed(len);
            assert_eq!(words.as_ptr() as usize % CACHE_LINE, 0);
            assert_eq!(halves.as_ptr() as usize % CACHE_LINE, 0);
            assert!(words.iter().all(|&x| x == 0.0) && halves.iter().all(|&x| x == 0));
            assert_eq!((words.len(), halves.len()), (len, len));
            words.fill(1.0);
        }
    }
}
