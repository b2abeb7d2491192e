//! Texts and queries for the full-text index.

use std::borrow::Cow;
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// `text` in the form in which words are compared: NFKC of its letters without case, whatever the
/// file, the keyboard or the system composed them of.
fn folded(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    // Small letters of capital ones: `ß` and `SS`, and both small sigmas, are the same.
    let fold = |c: char| c.to_uppercase().flat_map(char::to_lowercase);
    Cow::Owned(text.nfkc().flat_map(fold).nfkc().collect())
}

/// Whether the index has other words for `text` than before it had them in the form of [`folded`].
pub(crate) fn are_changed(text: &str) -> bool {
    !text.is_ascii() && (!is_nfkc(text) || folded(text) != text.to_lowercase())
}

/// The folded `text` with spaces around every character of scripts that are written without them,
/// so that the index finds Chinese and Japanese words as consecutive characters.
pub(crate) fn separated(text: &str) -> String {
    let mut separated = String::with_capacity(text.len());
    for c in folded(text).chars() {
        if is_unspaced(c) {
            separated.extend([' ', c, ' ']);
        } else {
            separated.push(c);
        }
    }
    separated
}

/// A query of the full-text index for chunks with any of the words of `text`. Characters of
/// unspaced scripts are searched in pairs, because single ones are everywhere. `None` if there are
/// no words.
pub(crate) fn any_of(text: &str) -> Option<String> {
    let mut terms: Vec<String> = Vec::new();
    let text = folded(text);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let runs = word.chars().collect::<Vec<_>>();
        for run in runs.chunk_by(|a, b| is_unspaced(*a) == is_unspaced(*b)) {
            let phrase = |chars: &[char]| {
                let letters: Vec<String> = chars.iter().map(ToString::to_string).collect();
                format!("\"{}\"", letters.join(" "))
            };
            match run {
                [first, ..] if !is_unspaced(*first) => {
                    terms.push(format!("\"{}\"", run.iter().collect::<String>()));
                }
                [_] => terms.push(phrase(run)),
                _ => terms.extend(run.windows(2).map(phrase)),
            }
        }
    }
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

/// Han, Hiragana, Katakana, Thai, Lao, Khmer and Burmese letters.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x31f0..=0x31ff
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspaced_scripts_are_separated_and_searched_in_pairs() {
        assert_eq!(separated("Im 灯塔 ist"), "im  灯  塔  ist");
        assert_eq!(
            any_of("Licht 灯台守 x"),
            Some(r#""licht" OR "灯 台" OR "台 守" OR "x""#.to_owned())
        );
        assert_eq!(any_of("海"), Some("\"海\"".to_owned()));
    }

    #[test]
    fn syntax_of_the_index_has_no_meaning_in_a_query() {
        assert_eq!(any_of("a\" OR b*"), Some(r#""a" OR "or" OR "b""#.to_owned()));
        assert_eq!(any_of(" -!\" "), None);
    }

    #[test]
    fn words_are_the_same_however_they_are_composed() {
        for (a, b) in [
            ("Re\u{301}sume\u{301}", "RÉSUMÉ"),
            ("Vie\u{323}\u{302}t", "Việt"),
            ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}", "한국"),
            ("２０２４", "2024"),
            ("ﾊﾝｶｸ", "ハンカク"),
            ("ﬁn", "FIN"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
        ] {
            assert_eq!(any_of(a), any_of(b), "{a} {b}");
            assert_eq!(separated(a), separated(b), "{a} {b}");
        }
        for (text, changed) in
            [("Plain TEXT", false), ("Été", false), ("E\u{301}te\u{301}", true), ("Straße", true)]
        {
            assert_eq!(are_changed(text), changed, "{text}");
        }
    }
}
