//! Words that are typical of a group of texts.

use std::collections::{HashMap, HashSet};
use unicode_segmentation::UnicodeSegmentation;

/// A word that is typical of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// In lower case.
    pub text: String,
    /// Its class-based tf-idf.
    pub score: f64,
}

/// The words of `text` in lower case, by Unicode's rules (UAX #29). In scripts without spaces
/// between words, these rules give single characters, which are joined into pairs of neighbours.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut before: Option<(usize, char)> = None;
    for (start, word) in text.unicode_word_indices() {
        let mut chars = word.chars();
        let single = chars.next().filter(|c| chars.next().is_none() && is_unspaced(*c));
        match (single, before) {
            (Some(c), Some((end, last))) if end == start => words.push(format!("{last}{c}")),
            (Some(_), _) => {}
            (None, _) if word.chars().count() > 1 && word.chars().any(char::is_alphabetic) => {
                words.push(word.to_lowercase());
            }
            (None, _) => {}
        }
        before = single.map(|c| (start + word.len(), c));
    }
    words
}

/// Whether `c` belongs to a script without spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}'   // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3005}'..='\u{30ff}' // Hiragana, Katakana
        | '\u{3400}'..='\u{9fff}' // Han
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// The `limit` most typical terms of each of `groups` groups, best first, by class-based tf-idf
/// (Grootendorst 2022), where a word counts once per text. A word is a candidate for a group if the
/// group's share of the word's texts is at least the square root of the group's share of all texts:
/// on a logarithmic scale, halfway between a word that occurs everywhere and one that occurs only
/// in the group. Forms of one word count as one.
pub fn typical_terms<'a>(
    texts: impl Iterator<Item = (&'a str, usize)>,
    groups: usize,
    limit: usize,
) -> Vec<Vec<Term>> {
    let mut counts = TextCounts::new(groups);
    texts.for_each(|(text, group)| counts.add(text, group));
    (0..groups).map(|group| distinct(counts.ranked(group), limit)).collect()
}

/// Number of texts with each word, by group.
struct TextCounts {
    ids: HashMap<String, usize>,
    /// By word id, over all groups.
    totals: Vec<usize>,
    /// By group and word id.
    of_group: Vec<HashMap<usize, usize>>,
    /// Number of texts of each group.
    texts: Vec<usize>,
}

impl TextCounts {
    fn new(groups: usize) -> Self {
        Self {
            ids: HashMap::new(),
            totals: Vec::new(),
            of_group: vec![HashMap::new(); groups],
            texts: vec![0; groups],
        }
    }

    fn add(&mut self, text: &str, group: usize) {
        self.texts[group] += 1;
        for word in words(text).into_iter().collect::<HashSet<_>>() {
            let next = self.ids.len();
            let id = *self.ids.entry(word).or_insert(next);
            if id == next {
                self.totals.push(0);
            }
            self.totals[id] += 1;
            *self.of_group[group].entry(id).or_insert(0) += 1;
        }
    }

    /// The terms of a group, best first; equal terms in alphabetical order.
    fn ranked(&self, group: usize) -> Vec<Term> {
        let average = self.totals.iter().sum::<usize>() as f64 / self.of_group.len() as f64;
        let in_group: usize = self.of_group[group].values().sum();
        let all: usize = self.texts.iter().sum();
        let mut names = vec![""; self.ids.len()];
        self.ids.iter().for_each(|(name, &id)| names[id] = name);
        let terms = self.of_group[group].iter().filter_map(|(&id, &count)| {
            let (count, total) = (count as f64, self.totals[id] as f64);
            let typical = count / total >= (self.texts[group] as f64 / all as f64).sqrt();
            let score = count / in_group as f64 * (1.0 + average / total).ln();
            typical.then(|| Term { text: names[id].to_owned(), score })
        });
        let mut terms: Vec<Term> = terms.collect();
        terms.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text)));
        terms
    }
}

/// The first `limit` terms, without those that begin with a chosen term, are a prefix of it, or
/// overlap it by a character, as pairs of neighbouring characters do.
fn distinct(terms: Vec<Term>, limit: usize) -> Vec<Term> {
    let mut chosen: Vec<Term> = Vec::new();
    for term in terms {
        let alike = |other: &Term| {
            let (a, b) = (&term.text, &other.text);
            let chained = |a: &str, b: &str| {
                a.chars().last().filter(|c| is_unspaced(*c)).is_some_and(|c| b.starts_with(c))
            };
            a.starts_with(b.as_str()) || b.starts_with(a.as_str()) || chained(a, b) || chained(b, a)
        };
        if chosen.len() == limit {
            break;
        }
        if !chosen.iter().any(alike) {
            chosen.push(term);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_their_script() {
        assert_eq!(words("Don't STOP, 3 x 12 ÄPFEL!"), ["don't", "stop", "äpfel"]);
        assert_eq!(words("机器学习 and 東京"), ["机器", "器学", "学习", "and", "東京"]);
        assert_eq!(words("カタカナ"), ["カタカナ"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn terms_are_words_that_a_group_has_and_others_lack() {
        let texts = [
            ("the cat and the kitten", 0),
            ("the cat sleeps, cats purr", 0),
            ("the engine of the car", 1),
            ("the car needs a new engine", 1),
        ];
        let terms = typical_terms(texts.into_iter(), 2, 2);
        let names = |group: usize| terms[group].iter().map(|term| &*term.text).collect::<Vec<_>>();
        assert_eq!(names(0), ["cat", "and"]);
        assert_eq!(names(1), ["car", "engine"]);
    }

    #[test]
    fn the_score_follows_the_formula() {
        let texts = [("red red green", 0), ("red", 0), ("blue", 1)];
        let terms = typical_terms(texts.into_iter(), 2, 9);
        // Four counts, two per group on average; `red` has two of the three counts of its group.
        assert_eq!(terms[0][0].text, "red");
        assert!((terms[0][0].score - 2.0 / 3.0 * 2.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn one_group_has_terms_and_a_group_without_words_has_none() {
        assert_eq!(typical_terms([("only this", 0)].into_iter(), 1, 1)[0].len(), 1);
        assert_eq!(typical_terms([("…", 0), ("word", 1)].into_iter(), 2, 3)[0], []);
    }
}
