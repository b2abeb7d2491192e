//! The encoding of a text: from its byte order mark, from what it declares, or a guess.

use crate::error::{Error, Result};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Number of bytes at the start that are searched for a zero byte, which texts lack.
const BINARY_PREFIX: usize = 8 << 10;
/// Number of bytes at the start in which browsers look for a declaration.
const DECLARATION: usize = 1 << 10;

/// A text and how it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedText {
    /// The text.
    pub text: String,
    /// The encoding, if it was guessed from the bytes.
    pub guessed: Option<&'static str>,
}

impl DecodedText {
    fn certain(text: String) -> Self {
        Self { text, guessed: None }
    }
}

/// Decodes a file: by its byte order mark, as UTF-8, or as the encoding that its bytes suggest.
/// `None` if it is binary.
///
/// # Errors
///
/// [`Error::NoText`] if no encoding fits.
pub fn decode(content: &[u8]) -> Result<Option<DecodedText>> {
    match marked(content)? {
        Some(text) => Ok(Some(DecodedText::certain(text))),
        None => undeclared(content),
    }
}

/// Decodes a web page as browsers do: by its byte order mark, by the encoding that it declares, or
/// as [`decode`].
///
/// # Errors
///
/// [`Error::NoText`] if no encoding fits, or the page is binary.
pub(crate) fn decode_html(content: &[u8]) -> Result<DecodedText> {
    if let Some(text) = marked(content)? {
        return Ok(DecodedText::certain(text));
    }
    if let Some(encoding) = declared(content)
        && let Some(text) = exactly(encoding, content)
    {
        return Ok(DecodedText::certain(text));
    }
    undeclared(content)?
        .ok_or_else(|| Error::NoText("it is not a web page: it is binary".to_owned()))
}

/// The text of a file that begins with a byte order mark.
fn marked(content: &[u8]) -> Result<Option<String>> {
    if content.starts_with(&[0xff, 0xfe, 0, 0]) || content.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(Error::NoText("it is in UTF-32; save it as UTF-8".to_owned()));
    }
    let Some((encoding, len)) = Encoding::for_bom(content) else { return Ok(None) };
    match exactly(encoding, &content[len..]) {
        Some(text) => Ok(Some(text)),
        None => Err(Error::NoText(format!("it is marked as {} and is not", encoding.name()))),
    }
}

/// The text of `content`, if all of it is in `encoding`.
fn exactly(encoding: &'static Encoding, content: &[u8]) -> Option<String> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(content)?;
    Some(text.into_owned())
}

fn undeclared(content: &[u8]) -> Result<Option<DecodedText>> {
    let prefix = &content[..content.len().min(BINARY_PREFIX)];
    if prefix.contains(&0) {
        return Ok(unmarked_utf16(content).map(|(text, encoding)| guess(text, encoding)));
    }
    if content.is_ascii() && content.windows(2).any(|pair| pair == b"\x1b$") {
        return Ok(exactly(ISO_2022_JP, content).map(|text| guess(text, ISO_2022_JP)));
    }
    if let Ok(text) = str::from_utf8(content) {
        return Ok(Some(DecodedText::certain(text.to_owned())));
    }
    if is_binary(content) {
        return Ok(None);
    }
    if let Some(text) = named(content).and_then(|encoding| exactly(encoding, content)) {
        return Ok(Some(DecodedText::certain(text)));
    }
    if let Some(text) = damaged_utf8(content) {
        return Ok(Some(text));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(content, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    let text = exactly(encoding, content).filter(|text| !has_controls(text));
    let unknown = || Error::NoText("its encoding is not known; save it as UTF-8".to_owned());
    text.map(|text| Some(guess(text, encoding))).ok_or_else(unknown)
}

fn guess(text: String, encoding: &'static Encoding) -> DecodedText {
    DecodedText { text, guessed: Some(encoding.name()) }
}

/// The encoding that a source file names in its first lines: `<?xml encoding="…"?>`,
/// `@charset "…"`, or `coding: …` in a comment.
fn named(content: &[u8]) -> Option<&'static Encoding> {
    let start = String::from_utf8_lossy(&content[..content.len().min(DECLARATION)]);
    if start.starts_with("<?xml") {
        return label(start.split('>').next()?, "encoding");
    }
    let name = match start.strip_prefix("@charset \"") {
        Some(rest) => rest,
        None => {
            let line = start.lines().take(2).find(|line| line.contains("coding"))?;
            let (_, rest) = line.split_once("coding:").or_else(|| line.split_once("coding="))?;
            rest.trim_start()
        }
    };
    let ends = |c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c);
    Encoding::for_label(name.split(ends).next()?.as_bytes())
}

/// Whether more than one byte in 200 is a control character that texts lack.
fn is_binary(content: &[u8]) -> bool {
    let is_control = |byte: &u8| matches!(byte, 0..=7 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    content.iter().filter(|byte| is_control(byte)).count() * 200 > content.len()
}

/// Whether a text has the control characters U+0080 to U+009F, which are signs of a wrong guess.
fn has_controls(text: &str) -> bool {
    text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c))
}

/// A text in UTF-8 with a few bytes that are not: another encoding has no valid sequences except by
/// chance.
fn damaged_utf8(content: &[u8]) -> Option<DecodedText> {
    let (mut valid, mut invalid) = (0, 0);
    for chunk in content.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    (valid >= 3 * invalid).then(|| DecodedText {
        text: String::from_utf8_lossy(content).into_owned(),
        guessed: Some("UTF-8 with errors"),
    })
}

/// A text in UTF-16 without a mark, and the encoding: most of its zero bytes are the high bytes of
/// ASCII.
pub(crate) fn unmarked_utf16(content: &[u8]) -> Option<(String, &'static Encoding)> {
    let zeros =
        |offset: usize| content.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    // A few zero bytes in a text are nothing but that: UTF-16 with as few is not valid as UTF-8.
    if (zeros(0) + zeros(1)) * 4 < content.len() && str::from_utf8(content).is_ok() {
        return None;
    }
    let encoding = if zeros(1) >= zeros(0) { UTF_16LE } else { UTF_16BE };
    let text = exactly(encoding, content)?;
    let count = |is: fn(&char) -> bool| text.chars().filter(is).count();
    let readable = count(|c| c.is_alphanumeric() || c.is_whitespace());
    let foreign = count(|c| {
        matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}')
            || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
    });
    (foreign == 0 && readable * 2 > count(|_| true)).then_some((text, encoding))
}

/// The encoding that a page declares in `<meta charset>`, `<meta http-equiv>` or `<?xml encoding>`.
fn declared(content: &[u8]) -> Option<&'static Encoding> {
    let start = content[..content.len().min(DECLARATION)].to_ascii_lowercase();
    let start = without_comments(&String::from_utf8_lossy(&start));
    let xml = start.trim_start().strip_prefix("<?xml").and_then(|rest| rest.split_once('>'));
    if let Some(encoding) = xml.and_then(|(tag, _)| label(tag, "encoding")) {
        return Some(encoding);
    }
    let mut tags =
        start.split("<meta").skip(1).map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag));
    tags.find_map(|tag| label(tag, "charset"))
}

/// The encoding after `key` and an equals sign.
fn label(tag: &str, key: &str) -> Option<&'static Encoding> {
    let mut rest = tag;
    while let Some((_, after)) = rest.split_once(key) {
        rest = after;
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let value = value.trim_start().trim_start_matches(['"', '\'']);
            let ends = |c: char| c.is_whitespace() || "\"';/?".contains(c);
            let value = value.split(ends).next().unwrap_or_default();
            return match Encoding::for_label(value.as_bytes()) {
                // A page in which the declaration can be read is not in UTF-16.
                Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => Some(UTF_8),
                None if value == "x-user-defined" => Some(WINDOWS_1252),
                found => found,
            };
        }
    }
    None
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once("-->").map_or("", |(_, after)| after));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSSIAN: &str = "Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк.";
    const GERMAN: &str =
        "Über den Flüssen schweben Nebel; die Straße führt schräg den Hügel hinauf.";
    const JAPANESE: &str = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。";
    const CHINESE: &str = "床前明月光，疑是地上霜。举头望明月，低头思故乡。";
    const KOREAN: &str = "나 보기가 역겨워 가실 때에는 말없이 고이 보내 드리오리다.";

    fn bytes(encoding: &str, text: &str) -> Vec<u8> {
        let encoding = Encoding::for_label(encoding.as_bytes()).expect("a label");
        let (bytes, _, had_errors) = encoding.encode(text);
        assert!(!had_errors);
        bytes.into_owned()
    }

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn encodings_without_a_mark_are_guessed_and_named() {
        for (name, text) in [
            ("windows-1252", GERMAN),
            ("windows-1251", RUSSIAN),
            ("KOI8-U", RUSSIAN),
            ("Shift_JIS", JAPANESE),
            ("EUC-JP", JAPANESE),
            ("ISO-2022-JP", JAPANESE),
            ("GBK", CHINESE),
            ("EUC-KR", KOREAN),
        ] {
            let decoded = decode(&bytes(name, text)).expect("readable").expect("a text");
            assert_eq!((decoded.text.as_str(), decoded.guessed), (text, Some(name)));
        }
        for (name, unit) in
            [("UTF-16LE", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("UTF-16BE", u16::to_be_bytes)]
        {
            for text in [GERMAN, "short", "灯台守の一日\n海を見る\n"] {
                let decoded = decode(&utf16(text, unit)).expect("readable").expect("a text");
                assert_eq!((decoded.text.as_str(), decoded.guessed), (text, Some(name)));
            }
        }
    }

    #[test]
    fn marks_and_utf8_are_no_guess() {
        let marked = |mark: &[u8], text: Vec<u8>| [mark, &text].concat();
        for content in [
            GERMAN.as_bytes().to_vec(),
            marked(b"\xef\xbb\xbf", GERMAN.into()),
            marked(b"\xff\xfe", utf16(GERMAN, u16::to_le_bytes)),
            marked(b"\xfe\xff", utf16(GERMAN, u16::to_be_bytes)),
        ] {
            let decoded = decode(&content).expect("readable").expect("a text");
            assert_eq!(decoded, DecodedText::certain(GERMAN.to_owned()));
        }
    }

    #[test]
    fn a_few_bad_bytes_do_not_turn_a_text_into_another_encoding() {
        let damaged = [RUSSIAN.as_bytes(), b" \xff ", RUSSIAN.as_bytes()].concat();
        let decoded = decode(&damaged).expect("readable").expect("a text");
        assert_eq!(decoded.text, format!("{RUSSIAN} \u{fffd} {RUSSIAN}"));
        assert_eq!(decoded.guessed, Some("UTF-8 with errors"));
    }

    #[test]
    fn binary_files_are_no_texts_and_broken_ones_are_refused() {
        let noise: Vec<u8> = (0..2000_u32).map(|at| (at * 7919 % 251 + 1) as u8).collect();
        for content in [&b"ELF\0\x01\0\0\x02"[..], &noise, b"a\r\n\nb\0c\n\rd"] {
            assert_eq!(decode(content).expect("readable"), None);
        }
        for content in [&b"\xff\xfe\0\xd8"[..], b"\xff\xfe\0\0a\0\0\0", b"\xef\xbb\xbfcaf\xe9"] {
            assert!(decode(content).is_err());
        }
    }

    #[test]
    fn source_files_name_their_encoding() {
        for head in [
            "#!/usr/bin/python\n# -*- coding: koi8-r -*-\n",
            "<?xml version='1.0' encoding='koi8-r'?>\n",
            "@charset \"koi8-r\";\n",
            "# vim: set fileencoding=koi8-r :\n",
        ] {
            let text = format!("{head}я");
            let decoded = decode(&bytes("koi8-r", &text)).expect("readable").expect("a text");
            assert_eq!(decoded, DecodedText::certain(text));
        }
    }

    #[test]
    fn a_web_page_is_decoded_by_what_it_declares() {
        for head in [
            "<meta charset=windows-1251>",
            "<META CHARSET = 'Windows-1251' />",
            "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1251\">",
            "<?xml version=\"1.0\" encoding=\"windows-1251\"?>",
            "<!-- <meta charset=utf-8> --><meta charset=cp1251>",
        ] {
            let page = bytes("windows-1251", &format!("{head}<p>Привет</p>"));
            let decoded = decode_html(&page).expect("a page");
            assert!(decoded.text.ends_with("<p>Привет</p>"), "{head}: {}", decoded.text);
            assert_eq!(decoded.guessed, None);
        }
        let guessed = decode_html(&bytes("windows-1251", RUSSIAN)).expect("a page");
        assert_eq!((guessed.text.as_str(), guessed.guessed), (RUSSIAN, Some("windows-1251")));
        let utf8 = decode_html("<meta charset=utf-16><p>Привет".as_bytes()).expect("a page");
        assert!(utf8.text.ends_with("Привет"));
        let wrong = decode_html(b"<meta charset=utf-8><p>caf\xe9 cr\xe8me").expect("a page");
        assert_eq!(wrong.guessed, Some("windows-1252"));
    }
}
