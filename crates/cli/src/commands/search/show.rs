//! Search results for people and for programs.

use super::SearchResult;
use crate::args::SearchArguments;
use crate::layout::line_ranges;
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_collections::{OpenCollection, Staleness, StoreLocation};
use kokeshi_store::{Hit, RankContribution, reciprocal_rank};
use serde_json::{Value, json};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use unicode_segmentation::UnicodeSegmentation;

/// Maximum number of bytes of a sentence that are shown.
const LONGEST_SENTENCE: usize = 600;
/// Bytes before and after the best sentence in which its neighbours are looked for, and bytes of it
/// that are looked at.
const NEAR: usize = 4096;
/// Maximum number of places with an identical text that are shown.
const IDENTICAL: usize = 5;

/// Prints one path per line.
pub(super) fn files(
    names: &[String],
    location: &StoreLocation,
    printer: &Printer,
) -> anyhow::Result<()> {
    let lines: String = names
        .iter()
        .map(|name| {
            linked(&visible(&location.display_path(name)), &location.path(name), printer) + "\n"
        })
        .collect();
    printer.print(&lines)
}

/// Prints a heading for each result, then its best sentence in its context.
pub(super) fn text(
    arguments: &SearchArguments,
    location: &StoreLocation,
    results: &[SearchResult],
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut out = Vec::new();
    for (number, result) in results.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let hit = &result.hit;
        let at = place(hit, location);
        let at = linked(&coloured(&at, "35", printer), &location.path(&hit.path), printer);
        let stale = result.stale.map_or_else(String::new, |stale| {
            format!("  {}", coloured(staleness(stale), "33", printer))
        });
        writeln!(out, "{at}  {}{stale}", coloured(&score(hit), "32", printer))?;
        if arguments.why {
            write!(out, "{}", printer.folded(&format!("  {}\n", why(hit))))?;
        }
        for line in excerpt(result, arguments.context, printer) {
            writeln!(out, "    {line}")?;
        }
        if !result.identical.is_empty() {
            writeln!(out, "    {}", identical(&result.identical, location))?;
        }
    }
    printer.print(&String::from_utf8_lossy(&out))
}

/// The file and lines of a hit.
fn place(hit: &Hit, location: &StoreLocation) -> String {
    format!("{}{}", visible(&location.display_path(&hit.path)), line_or_page(hit))
}

fn staleness(stale: Staleness) -> &'static str {
    match stale {
        Staleness::Changed => "(file changed since)",
        Staleness::Missing => "(file missing)",
    }
}

/// `+2 identical: a.md:3, b.md:7`.
fn identical(hits: &[Hit], location: &StoreLocation) -> String {
    let places = hits.iter().take(IDENTICAL).map(|hit| place(hit, location));
    let mut places: Vec<String> = places.collect();
    places.extend((hits.len() > IDENTICAL).then(|| "…".to_owned()));
    format!("+{} identical: {}", hits.len(), places.join(", "))
}

/// `:12`, `:12-15`, or `:page 3`; nothing for a converted text, whose lines are not the file's.
fn line_or_page(hit: &Hit) -> String {
    match (hit.location.page, hit.location.lines) {
        (Some(page), _) => format!(":page {page}"),
        (None, (0, _)) => String::new(),
        (None, (first, last)) if first == last => format!(":{first}"),
        (None, (first, last)) => format!(":{first}-{last}"),
    }
}

fn score(hit: &Hit) -> String {
    match hit.words {
        None if hit.dense.is_some_and(|dense| dense.score == hit.score) => {
            format!("{:.3}", hit.score)
        }
        _ => format!("{:.4}", hit.score),
    }
}

/// The parts of the score.
fn why(hit: &Hit) -> String {
    let share = |name: &str, scored: &str, part: Option<RankContribution>, fused: bool| match part {
        None => format!("{name}: not among the best"),
        Some(RankContribution { rank, score }) if fused => {
            let share = reciprocal_rank(rank);
            let percent = 100.0 * share / hit.score.max(f32::MIN_POSITIVE);
            format!("{name}: rank {rank}, {scored} {score:.3}, adds {share:.4} ({percent:.0} %)")
        }
        Some(RankContribution { rank, score }) => {
            format!("{name}: rank {rank}, {scored} {score:.3}")
        }
    };
    let fused = hit.dense.is_none_or(|dense| dense.score != hit.score);
    let meaning = share("meaning", "cosine", hit.dense, fused);
    match fused {
        true => format!("{meaning}; {}", share("words", "BM25", hit.words, fused)),
        false => meaning,
    }
}

/// The lines of the best sentence, marked, with `context` sentences on either side.
fn excerpt(result: &SearchResult, context: usize, printer: &Printer) -> Vec<String> {
    let (whole, best) = (&result.hit.text, &result.best);
    // Finding sentences takes quadratic time where there are no words, and no more is shown.
    let from = whole.floor_char_boundary(best.start.saturating_sub(NEAR));
    let to = whole.floor_char_boundary(best.end.min(best.start + NEAR).saturating_add(NEAR));
    let text = &whole[from..to];
    let best = best.start - from..whole.floor_char_boundary(best.end.min(best.start + NEAR)) - from;
    let sentences: Vec<Range<usize>> =
        text.split_sentence_bound_indices().map(|(at, part)| at..at + part.len()).collect();
    let first = sentences.iter().position(|sentence| sentence.end > best.start).unwrap_or(0);
    let last = sentences.iter().rposition(|sentence| sentence.start < best.end).unwrap_or(first);
    let start = sentences.get(first.saturating_sub(context)).map_or(0, |sentence| sentence.start);
    let end = sentences.get((last + context).min(sentences.len().saturating_sub(1)));
    let end = end.map_or(text.len(), |sentence| sentence.end).max(best.end);
    let start = start.min(best.start);
    let before = if from + start > 0 { "… " } else { "" };
    let after = if from + end < whole.len() { " …" } else { "" };
    let (head, tail) = (plain(&text[start..best.start]), plain(&text[best.end..end]));
    let head = format!("{before}{}", spaced(&head, false));
    let marked = head.len()..head.len() + plain(&text[best.clone()]).len();
    let joined = format!("{head}{}{}{after}", plain(&text[best]), spaced(&tail, true));
    let lines = line_ranges(&joined, printer.width().saturating_sub(4));
    lines.into_iter().map(|line| bold_within(&joined, line, &marked, printer)).collect()
}

/// A line of `text`, bold where it is in `marked`.
fn bold_within(text: &str, line: Range<usize>, marked: &Range<usize>, printer: &Printer) -> String {
    let (start, end) = (marked.start.clamp(line.start, line.end), marked.end.min(line.end));
    if !printer.colour || start >= end {
        return text[line].to_owned();
    }
    let (head, bold, tail) = (&text[line.start..start], &text[start..end], &text[end..line.end]);
    format!("{head}\x1b[1m{bold}\x1b[0m{tail}")
}

/// The text on one line, as a terminal can show it.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().map(visible);
    let text = words.collect::<Vec<_>>().join(" ");
    if text.len() <= LONGEST_SENTENCE {
        return text;
    }
    text[..text.floor_char_boundary(LONGEST_SENTENCE)].to_owned() + "…"
}

fn spaced(text: &str, before: bool) -> String {
    match text {
        "" => String::new(),
        text if before => format!(" {text}"),
        text => format!("{text} "),
    }
}

fn coloured(text: &str, colour: &str, printer: &Printer) -> String {
    if printer.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `text` as a link to a file, if the terminal has links.
fn linked(text: &str, path: &Path, printer: &Printer) -> String {
    if !printer.links {
        return text.to_owned();
    }
    let escaped: String = path.to_string_lossy().bytes().map(escaped).collect();
    format!("\x1b]8;;file://{escaped}\x1b\\{text}\x1b]8;;\x1b\\")
}

/// A byte of a path in a URI.
fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

/// Prints everything about the results.
pub(super) fn json(
    arguments: &SearchArguments,
    collection: &OpenCollection,
    location: &StoreLocation,
    results: &[SearchResult],
    printer: &Printer,
) -> anyhow::Result<()> {
    let part = |part: Option<RankContribution>| {
        part.map(|part| json!({ "rank": part.rank, "score": part.score }))
    };
    let lines = |hit: &Hit| match hit.location.lines {
        (0, _) => Value::Null,
        (first, last) => json!([first, last]),
    };
    let hits = results.iter().map(|SearchResult { hit, best, identical, stale }| {
        let identical = identical.iter().map(|hit| {
            json!({
                "path": location.display_path(&hit.path),
                "lines": lines(hit),
                "page": hit.location.page,
                "chunk": hit.ordinal,
                "score": hit.score,
                "metadata": hit.metadata,
            })
        });
        let mut object = json!({
            "path": location.display_path(&hit.path),
            "format": hit.format,
            "lines": lines(hit),
            "bytes": [hit.location.bytes.start, hit.location.bytes.end],
            "page": hit.location.page,
            "chunk": hit.ordinal,
            "score": hit.score,
            "text": hit.text,
            "best": hit.text[best.clone()],
            "metadata": hit.metadata,
            "identical": identical.collect::<Vec<Value>>(),
            "stale": stale.map(|stale| match stale {
                Staleness::Changed => "changed",
                Staleness::Missing => "missing",
            }),
        });
        if arguments.why || arguments.hybrid {
            object["why"] = json!({ "meaning": part(hit.dense), "words": part(hit.words) });
        }
        object
    });
    let output = json!({
        "query": arguments.query,
        "collection": collection.name,
        "model": collection.provenance.model,
        "hits": hits.collect::<Vec<Value>>(),
    });
    printer.print(&(serde_json::to_string_pretty(&output)? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_control_a_terminal() {
        assert_eq!(plain("a\x1b[31mb\n\tc\u{7}"), "a\\u001b[31mb c\\u0007");
    }

    #[test]
    fn an_excerpt_takes_no_longer_for_a_text_without_words() {
        let printer = Printer::detect();
        for filler in [" \n".repeat(200_000), ". ".repeat(200_000), "\u{200b}".repeat(100_000)] {
            let text = format!("First. {filler}The lamp. {filler}Last.");
            let start = text.find("The lamp").expect("a sentence");
            for best in [start..start + 9, 0..text.len()] {
                let hit = Hit {
                    score: 1.0,
                    dense: None,
                    words: None,
                    path: String::new(),
                    format: String::new(),
                    ordinal: 0,
                    location: kokeshi_store::ChunkLocation::default(),
                    text: text.clone(),
                    metadata: serde_json::Map::new(),
                };
                let result =
                    SearchResult { hit, best: best.clone(), identical: Vec::new(), stale: None };
                let begin = std::time::Instant::now();
                let lines = excerpt(&result, 1, &printer).join(" ");
                assert!(
                    begin.elapsed() < std::time::Duration::from_secs(3),
                    "{:?}",
                    begin.elapsed()
                );
                assert!(best.start == 0 || lines.contains("The lamp."), "{lines}");
            }
        }
    }

    #[test]
    fn links_escape_the_characters_of_a_path() {
        let path: String = "/a b/ü;\x1b".bytes().map(escaped).collect();
        assert_eq!(path, "/a%20b/%C3%BC%3B%1B");
    }
}
