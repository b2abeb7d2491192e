//! Byte offsets → character offsets.

/// Counts characters from the previous position, so that a walk along a text takes linear time.
#[derive(Debug)]
pub(crate) struct CharCursor<'a> {
    text: &'a str,
    byte: usize,
    chars: usize,
}

impl<'a> CharCursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, byte: 0, chars: 0 }
    }

    /// Number of characters that start before `byte`.
    pub(crate) fn at(&mut self, byte: usize) -> usize {
        let byte = self.text.ceil_char_boundary(byte);
        let between = self.byte.min(byte)..self.byte.max(byte);
        let moved = self.text[between].chars().count();
        self.chars = if byte < self.byte { self.chars - moved } else { self.chars + moved };
        self.byte = byte;
        self.chars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_counts_forwards_and_backwards() {
        let text = "a½灯🚀b";
        let mut cursor = CharCursor::new(text);
        let starts: Vec<_> = text.char_indices().map(|(byte, _)| byte).collect();
        for (chars, &byte) in starts.iter().enumerate().rev() {
            assert_eq!(cursor.at(byte), chars);
        }
        assert_eq!(cursor.at(text.len()), 5);
        assert_eq!(cursor.at(2), 2, "the middle of a character counts it");
        assert_eq!(cursor.at(usize::MAX), 5);
    }
}
