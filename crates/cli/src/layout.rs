//! Text in the columns of a terminal.

use unicode_width::UnicodeWidthChar;

/// `text` as one line of exactly `width` columns: control characters become spaces, a longer text
/// ends in `…`, a shorter one is padded.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut columns = 0;
    // A text of megabytes is not walked to its end for one column of a table.
    let visible = text.chars().take(4 * width + 1).map(|c| if c.is_control() { ' ' } else { c });
    let visible: Vec<(char, usize)> = visible.map(|c| (c, c.width().unwrap_or(0))).collect();
    let total: usize = visible.iter().map(|(_, width)| width).sum();
    let limit = if total > width { width.saturating_sub(1) } else { width };
    for (c, c_width) in visible {
        if columns + c_width > limit {
            break;
        }
        columns += c_width;
        line.push(c);
    }
    if total > width && width > 0 {
        line.push('…');
        columns += 1;
    }
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(columns)));
    line
}

/// A count with its noun: `1 task`, `5 tasks`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn every_text_fills_exactly_its_columns() {
        for text in ["", "abc", "ab\ncd\x1b[31m", "光剑太暗了", "é\u{301}\u{301}x", "a\0b"] {
            for width in 0..12 {
                let line = fitted(text, width);
                assert_eq!(line.width(), width, "{text:?} in {width}: {line:?}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
        assert_eq!(fitted("abcdef", 4), "abc…");
    }
}
