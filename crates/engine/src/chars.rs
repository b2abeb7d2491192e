//! Byte offsets → offsets in characters and in UTF-16 code units.

/// Counts characters from the previous position, so that a walk along a text takes linear time.
#[derive(Debug)]
pub(crate) struct CharCursor<'a> {
    text: &'a str,
    byte: usize,
    at: TextOffset,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextOffset {
    /// In characters (Unicode scalar values).
    pub(crate) chars: usize,
    /// In UTF-16 code units: a character outside the Basic Multilingual Plane has two.
    pub(crate) utf16: usize,
}

impl<'a> CharCursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, byte: 0, at: TextOffset::default() }
    }

    /// Characters that start before `byte`, and their code units.
    pub(crate) fn at(&mut self, byte: usize) -> TextOffset {
        let byte = self.text.ceil_char_boundary(byte);
        let between = self.byte.min(byte)..self.byte.max(byte);
        let mut moved = TextOffset::default();
        for char in self.text[between].chars() {
            moved.chars += 1;
            moved.utf16 += char.len_utf16();
        }
        let is_behind = byte < self.byte;
        let moved_by = |at: usize, by: usize| if is_behind { at - by } else { at + by };
        self.at.chars = moved_by(self.at.chars, moved.chars);
        self.at.utf16 = moved_by(self.at.utf16, moved.utf16);
        self.byte = byte;
        self.at
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
            let utf16 = text[..byte].encode_utf16().count();
            assert_eq!(cursor.at(byte), TextOffset { chars, utf16 });
        }
        assert_eq!(cursor.at(text.len()), TextOffset { chars: 5, utf16: 6 });
        assert_eq!(cursor.at(2).chars, 2, "the middle of a character counts it");
        assert_eq!(cursor.at(usize::MAX).chars, 5);
    }
}
