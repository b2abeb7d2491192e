//! What is in texts but is not text: inline images, and runs of base64 or hexadecimal digits. As
//! text they would be thousands of tokens without meaning.

use std::borrow::Cow;

/// Minimum length of a run of base64 or hexadecimal digits that is left out, in bytes. Hashes and
/// keys that people search for are shorter.
const MIN_RUN: usize = 200;
/// Minimum length of a line in a run that is broken into lines, as in mail and keys.
const MIN_LINE: usize = 48;
/// Minimum length of a line of code that may be minified, in bytes.
const MIN_MINIFIED: usize = 500;

/// `text` without `data:` addresses and long runs of base64 or hexadecimal digits. Line breaks are
/// kept, so that lines keep their numbers. An image in Markdown is its alternative text.
pub(crate) fn without_blobs(text: &str) -> Cow<'_, str> {
    if text.len() < MIN_RUN && !text.contains("data:") {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let wrapped = wrapped_runs(&lines);
    let has_run = lines.iter().any(|line| line.len() >= MIN_RUN || line.contains("data:"));
    if !has_run && !wrapped.contains(&true) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    for (line, is_run) in lines.into_iter().zip(wrapped) {
        if is_run {
            kept.push_str(line_break(line));
        } else {
            kept.push_str(&without_runs(&without_addresses(line)));
        }
    }
    Cow::Owned(kept)
}

/// `text` without lines of minified code, as well as what [`without_blobs`] leaves out.
pub(crate) fn without_minified(text: &str) -> Cow<'_, str> {
    if !text.lines().any(is_minified) {
        return without_blobs(text);
    }
    let lines = text.split_inclusive('\n');
    let kept: String =
        lines.map(|line| if is_minified(line) { line_break(line) } else { line }).collect();
    Cow::Owned(without_blobs(&kept).into_owned())
}

/// Whether a line is code without the spaces that people write.
fn is_minified(line: &str) -> bool {
    if line.len() < MIN_MINIFIED {
        return false;
    }
    let count = |is: fn(u8) -> bool| line.bytes().filter(|byte| is(*byte)).count();
    let spaces = count(|byte| byte.is_ascii_whitespace());
    let marks = count(|byte| byte.is_ascii_punctuation());
    let foreign = count(|byte| !byte.is_ascii());
    spaces * 12 < line.len() && marks * 8 > line.len() && foreign * 10 < line.len()
}

fn line_break(line: &str) -> &str {
    &line[line.trim_end_matches(['\r', '\n']).len()..]
}

/// Which lines belong to a run of base64 or hexadecimal digits that is broken into lines.
fn wrapped_runs(lines: &[&str]) -> Vec<bool> {
    let mut is_run = vec![false; lines.len()];
    let mut start = 0;
    while start < lines.len() {
        let is_line = |line: &&str| line.trim().len() >= MIN_LINE && is_encoded(line.trim());
        let count = lines[start..].iter().take_while(|line| is_line(line)).count();
        let bytes: usize = lines[start..start + count].iter().map(|line| line.trim().len()).sum();
        if bytes >= MIN_RUN {
            let end = start + count;
            is_run[start..end].fill(true);
            let last = lines.get(end).map(|line| line.trim());
            if last.is_some_and(|last| !last.is_empty() && last.bytes().all(is_digit)) {
                is_run[end] = true;
            }
        }
        start += count.max(1);
    }
    is_run
}

/// Whether a byte may be a digit of base64 or of hexadecimal numbers.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)
}

/// Whether a run looks like base64 or hexadecimal digits rather than a long word or a path.
fn is_encoded(run: &str) -> bool {
    let count = |is: fn(&u8) -> bool| run.bytes().filter(is).count();
    if run.is_empty() || count(|byte| is_digit(*byte)) < run.len() {
        return false;
    }
    let (digits, upper) = (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase));
    let is_hex = run.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits * 10 > run.len();
    let lower = count(u8::is_ascii_lowercase);
    is_hex || digits * 50 > run.len() && upper * 10 > run.len() && lower * 10 > run.len()
}

/// A line without runs of base64 or hexadecimal digits.
fn without_runs(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let run = rest.bytes().take_while(|byte| is_digit(*byte)).count();
        let other = rest[run..].bytes().take_while(|byte| !is_digit(*byte)).count();
        if run < MIN_RUN || !is_encoded(&rest[..run]) {
            kept.push_str(&rest[..run]);
        }
        kept.push_str(&rest[run..run + other]);
        rest = &rest[run + other..];
    }
    kept
}

/// A line without `data:` addresses that have content.
fn without_addresses(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("data:") {
        let address = &rest[at..];
        let len = address_len(address);
        if len == 0 {
            kept.push_str(&rest[..at + "data:".len()]);
            rest = &rest[at + "data:".len()..];
            continue;
        }
        kept.push_str(&rest[..at]);
        rest = &address[len..];
        image_text(&mut kept, &mut rest);
    }
    kept.push_str(rest);
    kept
}

/// The length of the `data:` address at the start of `text`; 0 if it is not one.
fn address_len(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "\"'<>)]}`".contains(c);
    let len = text.find(ends).unwrap_or(text.len());
    let Some((kind, _)) = text[..len].split_once(',') else { return 0 };
    let is_kind = kind.contains('/') || kind.ends_with(";base64") || kind.contains("charset=");
    if is_kind { len } else { 0 }
}

/// Maximum length of an image's text, and of its title, in bytes.
const MAX_IMAGE_TEXT: usize = 1000;

/// Turns `![text](` before an address, and `)` after it, into `text`; and drops the definition of a
/// link, `[name]:`, to an address.
fn image_text(before: &mut String, after: &mut &str) {
    let opened = before.trim_end_matches('<');
    if let Some(head) = opened.strip_suffix("](") {
        let from = head.floor_char_boundary(head.len().saturating_sub(MAX_IMAGE_TEXT));
        let title = &after[..after.floor_char_boundary(MAX_IMAGE_TEXT)];
        if let (Some(start), Some(end)) = (head[from..].rfind("!["), title.find(')')) {
            let start = from + start;
            let text = head[start + 2..].to_owned();
            before.truncate(start);
            before.push_str(&text);
            *after = &after[end + 1..];
        }
        return;
    }
    let line = opened.trim_end();
    if line.ends_with("]:") && line.trim_start().starts_with('[') {
        before.clear();
        *after = line_break(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base64(len: usize) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..len).map(|at| char::from(digits[(at * at * 31 + at * 7) % 64])).collect()
    }

    #[test]
    fn an_inline_image_is_its_alternative_text() {
        let data = format!("data:image/png;base64,{}=", base64(30_000));
        for (text, wanted) in [
            (format!("See ![the harbour]({data}) here.\nNext\n"), "See the harbour here.\nNext\n"),
            (format!("![a]({data} \"title\") ![b](<{data}>)\r\n"), "a b\r\n"),
            (format!("![][1]\n\n[1]: <{data}>\nText\n"), "![][1]\n\n\nText\n"),
            (format!("<img src=\"{data}\" alt=\"x\">"), "<img src=\"\" alt=\"x\">"),
            (format!("a {{background: url({data})}}"), "a {background: url()}"),
        ] {
            assert_eq!(without_blobs(&text), wanted);
        }
        let prose = "The data: they are here. ![map](map.png) data:text";
        assert_eq!(without_blobs(prose), prose);
    }

    #[test]
    fn long_runs_of_base64_and_hexadecimal_digits_are_left_out() {
        let hex = "0123456789abcdef".repeat(30);
        let wrapped: String = base64(1000)
            .as_bytes()
            .chunks(76)
            .fold(String::new(), |all, line| all + &String::from_utf8_lossy(line) + "\n");
        for (text, wanted) in [
            (format!("key \"{}\" end", base64(400)), "key \"\" end".to_owned()),
            (format!("{hex} end"), " end".to_owned()),
            (
                format!("Begin\n{wrapped}End of it\n"),
                format!("Begin\n{}End of it\n", "\n".repeat(14)),
            ),
        ] {
            assert_eq!(without_blobs(&text), wanted);
        }
    }

    #[test]
    fn words_paths_hashes_and_sequences_are_kept() {
        let path = "/usr/share/documents/of/somebody".repeat(10);
        let sequence = "ACGT".repeat(100);
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let chinese = "床前明月光，疑是地上霜。".repeat(50);
        let rows = "2024-01-01,12.5\n".repeat(100);
        for text in [&path, &sequence, hash, &chinese, &rows, &"=".repeat(300), &"word ".repeat(99)]
        {
            assert_eq!(without_minified(text), text);
        }
    }

    #[test]
    fn minified_code_is_left_out_and_written_code_is_not() {
        let minified = "function a(b,c){return b.d(c[0],!1)||{e:1}}".repeat(20);
        let text = format!("// head\n{minified}\nlet x = 1;\n");
        assert_eq!(without_minified(&text), "// head\n\nlet x = 1;\n");
        let written = "let total = items.iter().map(|item| item.price * item.count).sum(); ";
        assert_eq!(without_minified(&written.repeat(20)), written.repeat(20));
    }

    proptest! {
        #[test]
        fn lines_keep_their_numbers(
            lines in prop::collection::vec(
                prop::sample::select(vec![
                    "data:a/b,x", "![a](data:a/b,x \"t\")", "[a]: data:a/b,x", "![", "](", ")", "ä", " ", "\n", "\r\n",
                    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                ]),
                0..40,
            )
        ) {
            let text = lines.concat();
            let kept = without_minified(&text);
            prop_assert_eq!(kept.matches('\n').count(), text.matches('\n').count());
        }
    }
}
