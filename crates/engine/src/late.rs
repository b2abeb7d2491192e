//! Late chunking: spans of a document's own tokens → spans of the model's input.

use crate::input::LateSpans;
use std::ops::Range;

/// Converts `spans` over a document's own `tokens` tokens to spans over the model's input, which
/// has `before` tokens (`<s>` and instruction) before the document and `after` (`</s>`) after it.
///
/// With [`LateSpans::Reference`] the first span is extended over the tokens before the document and
/// the last one over those after it, but only if they touch the document's ends: a hand-made chunk
/// from the middle of a document gets no tokens other than its own. Empty spans stay empty.
pub(crate) fn in_model_input(
    spans: &[Range<usize>],
    tokens: usize,
    (before, after): (usize, usize),
    convention: LateSpans,
) -> Vec<Range<usize>> {
    let mut moved: Vec<_> = spans
        .iter()
        .map(|span| if span.is_empty() { 0..0 } else { span.start + before..span.end + before })
        .collect();
    let first = moved.iter().position(|span| !span.is_empty());
    let last = moved.iter().rposition(|span| !span.is_empty());
    if let (LateSpans::Reference, Some(first), Some(last)) = (convention, first, last) {
        if moved[first].start == before {
            moved[first].start = 0;
        }
        if moved[last].end == before + tokens {
            moved[last].end += after;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_testkit::json;
    use serde_json::{Value, from_value};

    fn ranges(value: &Value) -> Vec<Range<usize>> {
        let pairs: Vec<[usize; 2]> = from_value(value.clone()).expect("pairs");
        pairs.into_iter().map(|[start, end]| start..end).collect()
    }

    #[test]
    fn spans_are_those_of_the_reference_in_both_conventions() {
        for fixture in ["v3-tiny", "v3-head64"] {
            let late = &json(&format!("{fixture}/golden/cases.json"))["late"];
            let tokens = late["ids_no_special"].as_array().expect("ids").len();
            for case in late["cases"].as_array().expect("cases") {
                let convention = match case["convention"].as_str() {
                    Some("reference") => LateSpans::Reference,
                    Some("content") => LateSpans::Content,
                    // The truncating variant drops chunks; this program has a vector for every
                    // chunk.
                    _ => continue,
                };
                let spans =
                    ranges(&late["spans_no_special"][case["spans"].as_str().expect("name")]);
                let before = 1 + case["n_instruction_tokens"].as_u64().expect("a count") as usize;
                let got = in_model_input(&spans, tokens, (before, 1), convention);
                assert_eq!(got, ranges(&case["token_spans_in_model_input"]), "{}", case["tensor"]);
            }
        }
    }

    #[test]
    fn a_document_of_one_token_is_one_span_over_everything() {
        let only = 0..1;
        assert_eq!(in_model_input(&[only], 1, (13, 1), LateSpans::Reference)[0], 0..15);
    }

    #[test]
    fn chunks_without_tokens_leave_the_special_tokens_to_their_neighbours() {
        let spans = [0..0, 0..4, 4..4, 4..6, 6..6];
        let got = in_model_input(&spans, 6, (2, 1), LateSpans::Reference);
        assert_eq!(got, [0..0, 0..6, 0..0, 6..9, 0..0]);
    }

    #[test]
    fn a_chunk_from_the_middle_keeps_to_its_own_tokens() {
        let middle = 2..3;
        assert_eq!(in_model_input(&[middle], 6, (2, 1), LateSpans::Reference)[0], 4..5);
    }
}
