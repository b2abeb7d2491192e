//! Buffers whose first element is at the start of a cache line.

use bytemuck::Pod;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line on x86-64 and most other architectures.
pub(crate) const CACHE_LINE: usize = 64;

/// From this size on, a buffer is allocated in huge pages: the size of one on x86-64.
const HUGE_PAGE: usize = 2 << 20;

/// A zeroed, fixed-length buffer aligned to 64 bytes, so that no vector load of a packed panel
/// crosses a cache line.
///
/// Large ones are in huge pages where the system has them. A pass over the weights of a model
/// otherwise walks the page tables every 4 KiB, and two of them inside a virtual machine.
#[derive(Debug)]
pub struct Aligned<T> {
    block: Block<T>,
    len: usize,
}

#[derive(Debug)]
enum Block<T> {
    /// Shifted by a few elements: moving a `Vec` does not move its heap block.
    Heap { elements: Vec<T>, start: usize },
    /// Starts at a page.
    Pages(MmapMut),
}

impl<T: Pod> Aligned<T> {
    /// `len` zeroes.
    pub fn zeroed(len: usize) -> Self {
        let pages = (len * size_of::<T>() >= HUGE_PAGE).then(|| pages(len * size_of::<T>()));
        // Without pages, the heap may still have memory, or abort the program as usual.
        let block = pages.flatten().map_or_else(|| Block::heap(len), Block::Pages);
        Self { block, len }
    }
}

impl<T: Pod> Block<T> {
    fn heap(len: usize) -> Self {
        let elements = vec![T::zeroed(); len + CACHE_LINE / size_of::<T>()];
        // If `align_offset` cannot align (`usize::MAX`), the buffer is only slower.
        let start = elements.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE / size_of::<T>());
        Self::Heap { elements, start }
    }
}

/// Zeroed pages for `bytes`.
fn pages(bytes: usize) -> Option<MmapMut> {
    let pages = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    // If the system ignores the advice, it costs time, not correctness.
    drop(pages.advise(memmap2::Advice::HugePage));
    Some(pages)
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.block {
            Block::Heap { elements, start } => &elements[*start..start + self.len],
            Block::Pages(pages) => &bytemuck::cast_slice(pages)[..self.len],
        }
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.block {
            Block::Heap { elements, start } => &mut elements[*start..*start + self.len],
            Block::Pages(pages) => &mut bytemuck::cast_slice_mut(pages)[..self.len],
        }
    }
}

/// A scratch buffer, of either type, that grows to the largest request and is then reused.
#[derive(Debug)]
pub struct Scratch {
    floats: Aligned<f32>,
    words: Aligned<u32>,
}

/// An element type of [`Scratch`].
pub trait ScratchElement: Pod + Default + Send + Sync {
    /// The buffer of this type.
    fn of(scratch: &mut Scratch) -> &mut Aligned<Self>;
}

impl ScratchElement for f32 {
    fn of(scratch: &mut Scratch) -> &mut Aligned<f32> {
        &mut scratch.floats
    }
}

impl ScratchElement for u32 {
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
    pub fn take<T: ScratchElement>(&mut self, len: usize) -> &mut [T] {
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
        for len in [0, 1, 15, 16, 17, 100_003, 2 * HUGE_PAGE + 1] {
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
