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

/// A scratch buffer, of either type, that grows to the largest request and is then reused.
#[derive(Debug)]
pub struct Scratch {
    floats: Aligned<f32>,
    words: Aligned<u32>,
}

/// What a [`Scratch`] lends.
pub trait Lent: Copy + Default + Send + Sync + 'static {
    /// The buffer of this type.
    fn of(scratch: &mut Scratch) -> &mut Aligned<Self>;
}

impl Lent for f32 {
    fn of(scratch: &mut Scratch) -> &mut Aligned<f32> {
        &mut scratch.floats
    }
}

impl Lent for u32 {
    fn of(scratch: &mut Scratch) -> &mut Aligned<u32> {
        &mut scratch.words
    }
}

impl Scratch {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { floats: Aligned::zeroed(0), words: Aligned::zeroed(0) }
    }

    /// `len` values of unspecified content.
    pub fn take<T: Lent>(&mut self, len: usize) -> &mut [T] {
        let buffer = T::of(self);
        if buffer.len() < len {
            *buffer = Aligned::zeroed(len);
        }
        &mut buffer[..len]
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
