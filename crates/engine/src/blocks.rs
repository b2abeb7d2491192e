//! Long lists of texts in blocks, each for one call: memory stays bounded, and progress, warnings and
//! results come block by block.

/// Maximum number of texts in a block.
pub const BLOCK_TEXTS: usize = 256;
/// Maximum number of bytes in a block, about 64,000 tokens; what has more is a block of its own.
pub const BLOCK_BYTES: usize = 256 << 10;

/// How much an element of a list adds to its block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockSize {
    /// Number of texts.
    pub texts: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl BlockSize {
    /// The size of one text.
    pub fn of(text: &str) -> Self {
        Self { texts: 1, bytes: text.len() }
    }

    /// Whether a block of this size has room for `next`; an empty one has room for anything.
    pub fn has_room_for(self, next: Self) -> bool {
        self.texts == 0
            || self.texts + next.texts <= BLOCK_TEXTS && self.bytes + next.bytes <= BLOCK_BYTES
    }

    /// Adds what is in the block now.
    pub fn add(&mut self, next: Self) {
        self.texts += next.texts;
        self.bytes += next.bytes;
    }
}

/// `elements` in blocks, in order.
pub fn blocks<T>(elements: &[T], size: impl Fn(&T) -> BlockSize) -> impl Iterator<Item = &[T]> {
    let mut rest = elements;
    std::iter::from_fn(move || {
        let mut filled = BlockSize::default();
        let fits = rest.iter().map(&size).take_while(|&next| {
            let fits = filled.has_room_for(next);
            filled.add(next);
            fits
        });
        let (block, after) = rest.split_at(fits.count());
        rest = after;
        (!block.is_empty()).then_some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_bounded_and_a_long_text_is_one() {
        let lens = |bytes: &[usize]| -> Vec<usize> {
            let of = |&bytes: &usize| BlockSize { texts: 1, bytes };
            blocks(bytes, of).map(<[usize]>::len).collect()
        };
        assert_eq!(lens(&[10; 300]), [BLOCK_TEXTS, 300 - BLOCK_TEXTS]);
        assert_eq!(lens(&[BLOCK_BYTES / 2, BLOCK_BYTES / 2, 1]), [2, 1]);
        assert_eq!(lens(&[1, BLOCK_BYTES + 1, 1]), [1, 1, 1]);
        assert_eq!(lens(&[]), [0; 0]);
        let large = |_: &u8| BlockSize { texts: BLOCK_TEXTS + 1, bytes: 1 };
        assert_eq!(blocks(&[0, 1], large).count(), 2);
    }
}
