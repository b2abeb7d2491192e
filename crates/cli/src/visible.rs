//! Text of others on a terminal. Names of files, metadata, messages of servers and the like may
//! contain characters that move the cursor, hide text or reverse its order.

pub(crate) use kokeshi_server::is_hidden;
use std::borrow::Cow;
use std::fmt::Write;

/// `text` on one line, with hidden characters as escapes, such as `\u001b`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// `text` with hidden characters other than line breaks as escapes. A line break is followed by
/// two spaces, so that no text of others can look like a line of ours.
pub(crate) fn message(text: &str) -> String {
    escaped(text.trim_end(), |c| c == '\n').replace('\n', "\n  ")
}

/// `text` with hidden characters as escapes, other than line breaks, tabs, and the sequences that
/// select colours and make links.
pub(crate) fn styled(text: &str) -> Cow<'_, str> {
    let plain = |text: &str| escaped(text, |c| matches!(c, '\n' | '\t')).into_owned();
    if !text.contains('\x1b') {
        return escaped(text, |c| matches!(c, '\n' | '\t'));
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\x1b') {
        out += &plain(&rest[..at]);
        let length = sequence(&rest[at..]).unwrap_or(0);
        out += &rest[at..at + length];
        if length == 0 {
            out += &visible("\x1b");
        }
        rest = &rest[at + length.max(1)..];
    }
    Cow::Owned(out + &plain(rest))
}

/// The length of the sequence that `text` begins with, if it selects a colour or belongs to a link.
fn sequence(text: &str) -> Option<usize> {
    if let Some(codes) = text.strip_prefix("\x1b[") {
        let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        return codes[end..].starts_with('m').then_some("\x1b[".len() + end + 1);
    }
    let target = text.strip_prefix("\x1b]8;;")?;
    let end = target.find(is_hidden)?;
    target[end..].starts_with("\x1b\\").then_some("\x1b]8;;".len() + end + 2)
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let must_escape = |c: char| is_hidden(c) && !is_kept(c);
    if !text.contains(must_escape) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        match must_escape(c) {
            // In JSON, this is the same character. Writing to a string cannot fail.
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_letters_are_kept() {
        let text = "a\x1b[2J\r\n\u{9b}1m\u{202e}evil\u{2066}\u{7f}ü光👩‍🚀";
        let wanted = "a\\u001b[2J\\u000d\\u000a\\u009b1m\\u202eevil\\u2066\\u007fü光👩‍🚀";
        assert_eq!(visible(text), wanted);
        assert!(matches!(visible("ordinary.md"), Cow::Borrowed(_)));
        assert_eq!(message("a\nerror: b\x07\n"), "a\n  error: b\\u0007");
    }

    #[test]
    fn only_colours_and_links_remain_of_a_styled_text() {
        let own = "\x1b[1;31ma\x1b[0m \x1b]8;;file:///a%20b\x1b\\a\x1b]8;;\x1b\\\n\tb";
        assert_eq!(styled(own), own);
        for attack in ["\x1b[2J", "\x1b]0;title\x07", "\x1b[", "\x1b", "\x1b]8;;a\x07b", "\u{9b}2J"]
        {
            let shown = styled(attack);
            assert!(!shown.contains(is_hidden), "{attack:?}: {shown:?}");
        }
        // A document of JSON stays the same document.
        let json = serde_json::json!({ "name": "a\u{9b}\u{202e}\u{e0001}\n" });
        let shown = styled(&json.to_string()).into_owned();
        assert!(!shown.contains(is_hidden));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), json);
    }
}
