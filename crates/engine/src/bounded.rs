//! Refuses tokenizer files that could keep the program busy for ever, or fill its memory, with a
//! short text: patterns that backtrack, and replacements that multiply each other.

use crate::pipeline::Pipeline;
use serde_json::Value;

/// Maximum number of steps of a normalizer or splitter.
const MAX_STEPS: usize = 64;
/// Maximum factor by which replacements may lengthen a text, all together.
const MAX_GROWTH: usize = 16;
/// Maximum bytes that a step may put before a text.
const MAX_PREFIX: usize = 256;

/// Checks that the work of a tokenizer is bounded by the length of its text.
///
/// # Errors
///
/// A sentence that names the step that may not be bounded.
pub(crate) fn check(tokenizer: &Pipeline) -> Result<(), String> {
    let as_json = |step: serde_json::Result<Value>| step.map_err(|error| error.to_string());
    let normalizer = as_json(serde_json::to_value(tokenizer.get_normalizer()))?;
    let splitter = as_json(serde_json::to_value(tokenizer.get_pre_tokenizer()))?;
    let mut bounds = Bounds { steps: 0, growth: 1 };
    bounds.check(&normalizer)?;
    bounds.check(&splitter)
}

/// What was seen so far.
struct Bounds {
    steps: usize,
    growth: usize,
}

impl Bounds {
    fn check(&mut self, step: &Value) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("it has more than {MAX_STEPS} steps"));
        }
        let content = step["content"].as_str().unwrap_or_default();
        match step["type"].as_str() {
            Some("Sequence") => {
                let all = [&step["normalizers"], &step["pretokenizers"]];
                let mut all = all.into_iter().filter_map(Value::as_array).flatten();
                all.try_for_each(|step| self.check(step))
            }
            Some("Replace") => {
                let matched = matched_bytes(&step["pattern"])?;
                self.growth = self.growth.saturating_mul(content.len().div_ceil(matched).max(1));
                match self.growth <= MAX_GROWTH {
                    true => Ok(()),
                    false => Err(format!(
                        "its replacements may lengthen a text more than {MAX_GROWTH} times"
                    )),
                }
            }
            Some("Split") => matched_bytes(&step["pattern"]).map(drop),
            Some("Prepend") if step["prepend"].as_str().is_some_and(|it| it.len() > MAX_PREFIX) => {
                Err(format!("it puts more than {MAX_PREFIX} bytes before every word"))
            }
            _ => Ok(()),
        }
    }
}

/// The fewest bytes that a pattern matches.
fn matched_bytes(pattern: &Value) -> Result<usize, String> {
    if let Some(regex) = pattern["Regex"].as_str() {
        return match is_linear(regex) {
            true => Ok(1),
            false => Err(format!(
                "the time that its pattern `{regex}` takes may not be bounded: only patterns \
                 without groups and alternatives are used, whose one quantifier is at the end"
            )),
        };
    }
    match pattern["String"].as_str() {
        Some("") => Err("it has an empty pattern".to_owned()),
        Some(text) => Ok(text.len()),
        None => Ok(1),
    }
}

/// Whether a regular expression needs time in proportion to the length of a text: it never looks
/// at a character again.
fn is_linear(regex: &str) -> bool {
    let mut rest = regex;
    while !rest.is_empty() {
        let Some(len) = element(rest) else { return false };
        rest = &rest[len..];
        if let Some(quantified) = rest.strip_prefix(['+', '*']) {
            return quantified.is_empty() && !rest.starts_with('*');
        }
        if let Some(count) = rest.strip_prefix('{') {
            let end = count.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',');
            return end == "}" && !count.starts_with(['0', ',']);
        }
    }
    !regex.is_empty()
}

/// The length of the character or class that `regex` begins with; `None` if it is anything else.
fn element(regex: &str) -> Option<usize> {
    let first = regex.chars().next()?;
    match first {
        '(' | ')' | '|' | '*' | '+' | '?' | '{' | '}' | '^' | '$' => None,
        '\\' => match regex[1..].chars().next()? {
            'p' | 'P' => {
                regex.starts_with("\\p{").then(|| regex.find('}')).flatten().map(|end| end + 1)
            }
            // References to groups, and positions.
            '0'..='9' | 'b' | 'B' | 'A' | 'z' | 'Z' | 'G' | 'k' | 'g' => None,
            c => Some(1 + c.len_utf8()),
        },
        // A class within a class is left to the library.
        '[' => {
            let end = regex[1..].find(']')? + 1;
            (!regex[1..end].contains(['[', '&'])).then_some(end + 1)
        }
        c => Some(c.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(step: &Value) -> Result<(), String> {
        Bounds { steps: 0, growth: 1 }.check(step)
    }

    fn replace(pattern: &Value, content: &str) -> Value {
        json!({ "type": "Replace", "pattern": pattern, "content": content })
    }

    #[test]
    fn patterns_that_backtrack_are_refused() {
        for regex in [" {2,}", r"\s+", "[\\r\\n]+", r"\p{L}+", "a", "``", r"\d{1,3}"] {
            assert!(is_linear(regex), "{regex}");
        }
        for regex in [
            "(a+)+$",
            "(a|a)*b",
            "a+b",
            "a*",
            r"(.)\1",
            "",
            "a?",
            "^a",
            r"\b",
            "a+?",
            "[a&&[b]]+",
            "a{0,9}",
            "(?=a)",
            "[",
            "\\",
            "a{2}{3}",
        ] {
            assert!(!is_linear(regex), "{regex}");
        }
    }

    #[test]
    fn replacements_that_multiply_are_refused() {
        let double = replace(&json!({ "String": "a" }), "aa");
        let times = |count: usize| json!({ "type": "Sequence", "normalizers": vec![double.clone(); count] });
        assert!(checked(&times(4)).is_ok());
        assert!(checked(&times(5)).expect_err("growth").contains("more than 16 times"));
        let none = replace(&json!({ "String": "a" }), "");
        let steps = json!({ "type": "Sequence", "normalizers": vec![none; MAX_STEPS] });
        assert!(checked(&steps).expect_err("steps").contains("more than 64 steps"));
        assert!(checked(&replace(&json!({ "String": "" }), "a")).is_err());
        assert!(checked(&json!({ "type": "Prepend", "prepend": "x".repeat(257) })).is_err());
        assert!(checked(&json!({ "type": "Split", "pattern": { "Regex": "(a+)+$" } })).is_err());
        assert!(checked(&Value::Null).is_ok());
    }

    #[test]
    fn a_hostile_tokenizer_file_is_refused_when_it_is_loaded() {
        let mut file: Value =
            serde_json::from_slice(kokeshi_starter::TOKENIZER).expect("the starter's tokenizer");
        file["normalizer"] = replace(&json!({ "Regex": "(a|aa)+$" }), "b");
        let error = crate::tokenize::Tokenizer::from_bytes("hostile", file.to_string().as_bytes());
        let error = error.err().expect("refused").to_string();
        assert!(error.contains("hostile") && error.contains("(a|aa)+$"), "{error}");
    }
}
