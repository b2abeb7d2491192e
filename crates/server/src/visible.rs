//! Makes characters visible that would act on a terminal or hide what a line says: control
//! characters, line breaks, and those that change the direction of text. Texts of clients are in the
//! log, and a log is read on terminals.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// How the lines of a log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// For people: `\u{1b}`.
    Text,
    /// JSON: `\u001b`, which readers of JSON turn back.
    Json,
}

/// Writes lines to standard error. Each call gets a whole line.
#[derive(Debug)]
pub(crate) struct LogWriter(pub(crate) Lines);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = String::from_utf8_lossy(line);
        let mut line = visible(&line, self.0).into_owned();
        line.push('\n');
        io::stderr().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether a terminal obeys a character instead of showing it: control characters, separators of
/// lines, and what changes the direction of text.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// `line` with hidden characters as escapes.
fn visible(line: &str, lines: Lines) -> Cow<'_, str> {
    if !line.contains(is_hidden) {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for letter in line.chars() {
        match lines {
            _ if !is_hidden(letter) => shown.push(letter),
            Lines::Text => shown.extend(letter.escape_default()),
            // Writing to a string cannot fail.
            Lines::Json => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(shown, "\\u{unit:04x}");
            }),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_escapes_and_other_text_stays() {
        let plain = "Größe 灯塔 👩\u{301} \"quoted\" \\ é";
        for lines in [Lines::Text, Lines::Json] {
            assert_eq!(visible(plain, lines), plain);
        }
        let foreign = "a\u{1b}[2J\r\nb\u{9b}31m\u{202e}c\u{2028}d\u{7f}\u{2066}";
        let text = r"a\u{1b}[2J\r\nb\u{9b}31m\u{202e}c\u{2028}d\u{7f}\u{2066}";
        assert_eq!(visible(foreign, Lines::Text), text);
        let json = r#"{"path":"#.to_owned() + "\"\u{9b}\u{202e}\u{2028}\"}";
        let shown = visible(&json, Lines::Json);
        assert_eq!(shown, r#"{"path":"\u009b\u202e\u2028"}"#);
        let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(read["path"], "\u{9b}\u{202e}\u{2028}");
        // Beyond 16 bits, JSON has two escapes.
        assert_eq!(visible("\u{feff}\u{e0001}", Lines::Json), r"\ufeff\udb40\udc01");
        assert_eq!(visible("\u{feff}\u{e0001}", Lines::Text), r"\u{feff}\u{e0001}");
    }
}
