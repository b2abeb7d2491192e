//! The contents of sets: read and checked, and cut to the share that is measured.

use super::dataset::Dataset;
use super::find::SetFiles;
use super::rows;
use super::share::Share;
use crate::args::{EvalArguments, EvalKind};
use kokeshi_analysis::PythonRandom;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Characters between an answer and its offset, at most.
const OFFSET_SLACK: usize = 32;

/// A set in memory, but for its corpus or documents.
#[derive(Debug)]
pub(super) enum SetContent {
    Sts(Vec<Pair<f64>>),
    Pairs(Vec<Pair<bool>>),
    Bitext(Vec<Pair<()>>),
    Retrieval(Dataset),
    Classification(Classification),
    Clustering(Vec<Labelled>),
    Long(LongSet),
}

/// Two sentences and what is known about them.
#[derive(Debug)]
pub(super) struct Pair<T> {
    pub(super) sentences: [String; 2],
    pub(super) truth: T,
}

#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) text: String,
    pub(super) label: String,
}

/// Examples for several runs, and the texts that all runs are tested on.
#[derive(Debug)]
pub(super) struct Classification {
    pub(super) examples: Vec<Labelled>,
    /// The examples of each run.
    pub(super) runs: Vec<Vec<usize>>,
    pub(super) tests: Vec<Labelled>,
}

/// Long documents and questions about them.
#[derive(Debug)]
pub(super) struct LongSet {
    pub(super) documents: PathBuf,
    pub(super) questions: Vec<Question>,
}

/// A question whose answer is a range of a document.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) document: String,
    /// Characters before the answer.
    pub(super) start: usize,
    pub(super) answer: String,
    /// Where it was read, for messages.
    location: String,
}

impl SetContent {
    /// Reads a set, all of it but the texts of a corpus or of documents.
    pub(super) fn read(files: &SetFiles, arguments: &EvalArguments) -> anyhow::Result<Self> {
        let share = Share::of(&arguments.shares, files.kind);
        let path = &files.path;
        Ok(match files.kind {
            EvalKind::Sts => Self::Sts(pairs(path, share, |row| row.number("score"))?),
            EvalKind::Pairs => Self::Pairs(pairs(path, share, binary)?),
            EvalKind::Bitext => Self::Bitext(pairs(path, share, |_| Ok(()))?),
            EvalKind::Retrieval => {
                Self::Retrieval(Dataset::read(path, share, arguments.shares.same_id)?)
            }
            EvalKind::Classification => {
                let examples = labelled(files.examples.as_deref().unwrap_or(path))?;
                let (per_label, runs) = (arguments.classifier.per_label, arguments.classifier.runs);
                let tests = labelled(path)?;
                Self::Classification(Classification::draw(
                    (examples, tests),
                    (per_label as usize, u64::from(runs)),
                    share,
                ))
            }
            EvalKind::Clustering => Self::Clustering(share.draw(labelled(path)?)),
            EvalKind::Long => Self::Long(LongSet::read(path, share)?),
        })
    }

    /// Bytes of the texts that are embedded. Reads all that [`Self::read`] did not, and so finds
    /// every mistake in it.
    pub(super) fn bytes(&mut self, with_title: bool) -> anyhow::Result<usize> {
        let of_pairs = |sentences: &[String; 2]| sentences[0].len() + sentences[1].len();
        Ok(match self {
            Self::Sts(pairs) => pairs.iter().map(|pair| of_pairs(&pair.sentences)).sum(),
            Self::Pairs(pairs) => pairs.iter().map(|pair| of_pairs(&pair.sentences)).sum(),
            Self::Bitext(pairs) => pairs.iter().map(|pair| of_pairs(&pair.sentences)).sum(),
            Self::Retrieval(set) => {
                let mut bytes: usize = set.queries.iter().map(|query| query.text.len()).sum();
                set.documents(|document| {
                    bytes += document.passage(with_title).len();
                    Ok(())
                })?;
                bytes
            }
            Self::Classification(set) => {
                set.used().chain(&set.tests).map(|one| one.text.len()).sum()
            }
            Self::Clustering(texts) => texts.iter().map(|one| one.text.len()).sum(),
            Self::Long(set) => set.bytes()?,
        })
    }
}

/// The share of the pairs of a file, with what `truth` reads about each.
fn pairs<T>(
    path: &Path,
    share: Share,
    truth: impl Fn(&rows::Row<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Pair<T>>> {
    let mut pairs = Vec::new();
    rows::each(path, |mut row| {
        let truth = truth(&row)?;
        let sentences = [row.text("sentence1")?, row.text("sentence2")?];
        pairs.push(Pair { sentences, truth });
        Ok(())
    })?;
    Ok(share.draw(pairs))
}

/// A label that is 0 or 1, or a truth value.
fn binary(row: &rows::Row<'_>) -> anyhow::Result<bool> {
    match row.name("label")?.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        label => anyhow::bail!("{} has the `label` {label}; it must be 0 or 1", row.location()),
    }
}

/// All texts of a file, with their labels.
fn labelled(path: &Path) -> anyhow::Result<Vec<Labelled>> {
    let mut all = Vec::new();
    rows::each(path, |mut row| {
        let label = row.name("label")?;
        all.push(Labelled { text: row.text("text")?, label });
        Ok(())
    })?;
    let labels: HashSet<&str> = all.iter().map(|one| one.label.as_str()).collect();
    anyhow::ensure!(labels.len() > 1, "all texts of {} have the same label", path.display());
    Ok(all)
}

impl Classification {
    /// Draws the examples of each run, label by label in the order of their names, and then, in the
    /// first run, the texts that all of them are tested on.
    fn draw(
        (examples, mut tests): (Vec<Labelled>, Vec<Labelled>),
        (per_label, runs): (usize, u64),
        share: Share,
    ) -> Self {
        let mut by_label: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, example) in examples.iter().enumerate() {
            by_label.entry(&example.label).or_default().push(index);
        }
        let mut drawn = Vec::new();
        for run in 0..runs {
            let mut random = PythonRandom::new(share.seed.wrapping_add(run));
            let of_label = |indices: &Vec<usize>| -> Vec<usize> {
                let sample = random.sample(indices.len(), per_label).into_iter();
                sample.map(|at| indices[at]).collect()
            };
            drawn.push(by_label.values().flat_map(of_label).collect());
            if run == 0 {
                tests = share.draw_from(&mut random, tests);
            }
        }
        drop(by_label);
        Self { examples, runs: drawn, tests }
    }

    /// The numbers of the examples of any run, ascending.
    pub(super) fn used_numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = self.runs.iter().flatten().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The examples of any run.
    fn used(&self) -> impl Iterator<Item = &Labelled> {
        self.used_numbers().into_iter().map(|number| &self.examples[number])
    }
}

impl LongSet {
    fn read(folder: &Path, share: Share) -> anyhow::Result<Self> {
        let path = folder.join("questions.jsonl");
        let mut questions = Vec::new();
        rows::each(&path, |mut row| {
            questions.push(Question {
                document: row.name("doc")?,
                start: row.offset("answer_start")?,
                location: row.location(),
                text: row.text("text")?,
                answer: row.text("answer")?,
            });
            Ok(())
        })?;
        anyhow::ensure!(!questions.is_empty(), "{} has no questions", path.display());
        let questions = share.draw(questions);
        Ok(Self { documents: folder.join("documents.jsonl"), questions })
    }

    /// Calls `each` with the id and text of every document, in order.
    pub(super) fn documents(
        &self,
        mut each: impl FnMut(String, String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut seen = HashSet::new();
        rows::each(&self.documents, |mut row| {
            let id = row.name("_id")?;
            anyhow::ensure!(seen.insert(id.clone()), "{}: `_id` {id} occurs twice", row.location());
            each(id, row.text("text")?)
        })
    }

    /// Bytes of questions and, once for each of two methods, of documents. Checks that every answer
    /// is where its question says.
    fn bytes(&self) -> anyhow::Result<usize> {
        let mut bytes: usize = self.questions.iter().map(|question| question.text.len()).sum();
        let mut unseen = self.questions.len();
        self.documents(|id, text| {
            bytes += 2 * text.len();
            for question in self.questions.iter().filter(|question| question.document == id) {
                question.bytes_in(&text)?;
                unseen -= 1;
            }
            Ok(())
        })?;
        anyhow::ensure!(
            unseen == 0,
            "{unseen} of the questions are about documents that are not in {}",
            self.documents.display()
        );
        Ok(bytes)
    }
}

impl Question {
    /// The bytes of its answer in its document: the occurrence nearest to its offset, because sets
    /// count some characters of their documents differently.
    ///
    /// # Errors
    ///
    /// If the answer is not within [`OFFSET_SLACK`] characters of its offset.
    pub(super) fn bytes_in(&self, document: &str) -> anyhow::Result<Range<usize>> {
        let answer = self.answer.trim();
        let from = char_offset(document, self.start.saturating_sub(OFFSET_SLACK));
        let start = from + char_offset(&document[from..], self.start.min(OFFSET_SLACK));
        let last = start + char_offset(&document[start..], OFFSET_SLACK);
        let near = document[from..].match_indices(answer).map(|(at, _)| from + at);
        let near = near.take_while(|at| *at <= last);
        match near.min_by_key(|at| at.abs_diff(start)).filter(|_| !answer.is_empty()) {
            Some(at) => Ok(at..at + answer.len()),
            None => anyhow::bail!(
                "{}: the `answer` is not at character {} of document `{}`",
                self.location,
                self.start,
                self.document
            ),
        }
    }
}

/// The bytes before the character with a number, at most all.
fn char_offset(text: &str, number: usize) -> usize {
    text.char_indices().nth(number).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(start: usize, answer: &str) -> Question {
        let [text, document, location] = ["?", "d", "line 1 of q"].map(str::to_owned);
        Question { text, document, start, answer: answer.to_owned(), location }
    }

    #[test]
    fn an_answer_is_the_occurrence_nearest_to_its_offset() {
        let document = format!("Zwölf Äpfel. {} Zwölf Äpfel.", "x".repeat(100));
        let at = |start, answer| question(start, answer).bytes_in(&document).ok();
        assert_eq!(at(0, "Zwölf"), Some(0..6));
        assert_eq!(at(6, " Äpfel "), Some(7..13));
        assert_eq!(at(12, "Zwölf"), Some(0..6));
        assert_eq!(at(116, "Zwölf"), Some(116..122));
        for (start, answer) in [(60, "Zwölf"), (9999, "Zwölf"), (0, " "), (0, "Birnen")] {
            let error = question(start, answer).bytes_in(&document).expect_err(answer).to_string();
            assert!(error.starts_with("line 1 of q: the `answer` is not at"), "{error}");
        }
    }

    #[test]
    fn runs_draw_examples_of_every_label_and_test_the_same_texts() {
        let text = |number: usize| Labelled {
            text: number.to_string(),
            label: ["b", "a", "c"][number % 3].to_owned(),
        };
        let (examples, tests) = ((0..60).map(text).collect(), (0..50).map(text).collect());
        let share = Share { limit: Some(5), seed: 0 };
        let set = Classification::draw((examples, tests), (4, 3), share);
        for run in &set.runs {
            let labels: Vec<&str> =
                run.iter().map(|&number| set.examples[number].label.as_str()).collect();
            assert_eq!(labels, ["a", "a", "a", "a", "b", "b", "b", "b", "c", "c", "c", "c"]);
        }
        assert!(set.runs[0] != set.runs[1] && set.runs[1] != set.runs[2]);
        // r = random.Random(0); [r.sample(range(20), 4) for _ in "abc"]; sorted(r.sample(range(50), 5))
        assert_eq!(set.runs[0][..4], [37, 40, 4, 25]);
        let tests: Vec<&str> = set.tests.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(tests, ["6", "8", "18", "39", "48"]);
    }
}
