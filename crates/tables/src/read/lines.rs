//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// Maximum length of a line, in bytes.
pub(super) const MAX_LINE: u64 = 64 << 20;

/// What was read into a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line, and how many bytes it has with its break.
    Read(u64),
    /// It is over [`MAX_LINE`]; so many bytes were skipped.
    TooLong(u64),
    /// There are no more.
    End,
}

/// Reads the next line into `line`, without its break.
pub(super) fn read(from: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut read = from.take(MAX_LINE).read_until(b'\n', line)? as u64;
    if read == 0 {
        return Ok(Line::End);
    }
    if line.last() != Some(&b'\n') && read == MAX_LINE {
        line.clear();
        read += from.skip_until(b'\n')? as u64;
        return Ok(Line::TooLong(read));
    }
    while let Some(b'\n' | b'\r') = line.last() {
        line.pop();
    }
    Ok(Line::Read(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_the_bytes_that_they_take() {
        let mut from: &[u8] = b"one\r\n\ntwo";
        let mut line = Vec::new();
        let mut next = || {
            let found = read(&mut from, &mut line).expect("a line");
            (found, line.clone())
        };
        assert_eq!(next(), (Line::Read(5), b"one".to_vec()));
        assert_eq!(next(), (Line::Read(1), Vec::new()));
        assert_eq!(next(), (Line::Read(3), b"two".to_vec()));
        assert_eq!(next().0, Line::End);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_to_its_end() {
        let long = vec![b'x'; MAX_LINE as usize + 5];
        let content = [long.as_slice(), b"\nnext\n"].concat();
        let (mut from, mut line) = (content.as_slice(), Vec::new());
        assert_eq!(read(&mut from, &mut line).expect("a line"), Line::TooLong(MAX_LINE + 6));
        assert_eq!(read(&mut from, &mut line).expect("a line"), Line::Read(5));
        assert_eq!(line, b"next");
    }
}
