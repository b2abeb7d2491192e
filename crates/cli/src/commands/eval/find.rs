//! Finding sets: what a file or folder measures is recognized by its shape.

use super::rows;
use crate::args::{EvalKind, ShareArguments};
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use anyhow::Context;
use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Levels of folders below a named one that are searched for sets.
const LEVELS: usize = 6;
/// Number of files that are named when they are left out.
const NAMED: usize = 5;
const SHAPES: &str = "a set is a file of JSON lines with `sentence1` and `sentence2` (and `score` or \
                      `label`) or with `text` and `label`, or a folder with `corpus.jsonl`, \
                      `queries.jsonl` and `qrels.tsv`, or with `documents.jsonl` and \
                      `questions.jsonl`";
/// Endings of names that are not languages.
const SPLITS: [&str; 5] = ["dev", "val", "all", "new", "old"];

/// Where a set is, and what it measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetFiles {
    pub(super) kind: EvalKind,
    /// What it has in common with its versions in other languages.
    pub(super) family: String,
    pub(super) language: Option<String>,
    /// The file, or the folder of a set of several.
    pub(super) path: PathBuf,
    /// The file of examples, of a classification.
    pub(super) examples: Option<PathBuf>,
    /// Whether the user named it, not a folder of sets.
    pub(super) is_named: bool,
}

impl SetFiles {
    /// Its name: `stsb-de`.
    pub(super) fn name(&self) -> String {
        match &self.language {
            Some(language) => format!("{}-{language}", self.family),
            None => self.family.clone(),
        }
    }
}

/// The sets at `paths`, in the order in which these were named, and by name within a folder. The
/// language that others are compared with is the first of its family.
pub(super) fn find(
    paths: &[PathBuf],
    shares: &ShareArguments,
    printer: &Printer,
) -> anyhow::Result<Vec<SetFiles>> {
    let mut finder = Finder::default();
    for path in paths {
        let before = (finder.sets.len(), finder.left_out.len());
        finder.named(path)?;
        if finder.sets.len() == before.0 {
            return Err(hinted(format!("no sets in {}", path.display()), SHAPES));
        }
    }
    finder.warn(printer);
    let mut sets = finder.sets;
    sets.retain(|set| shares.only.is_empty() || shares.only.contains(&set.kind));
    sets.retain(|set| match &set.language {
        Some(language) => shares.languages.is_empty() || shares.languages.contains(language),
        None => true,
    });
    if sets.is_empty() {
        anyhow::bail!("--only and --languages leave no set");
    }
    Ok(pivot_first(sets, shares.cross_lingual.as_deref()))
}

/// `sets`, with the set of the language `pivot` before the others of its family.
fn pivot_first(mut sets: Vec<SetFiles>, pivot: Option<&str>) -> Vec<SetFiles> {
    let Some(pivot) = pivot else { return sets };
    let is_pivot = |set: &SetFiles| set.language.as_deref() == Some(pivot);
    for at in 0..sets.len() {
        let same = |set: &SetFiles| set.kind == sets[at].kind && set.family == sets[at].family;
        let first = sets.iter().position(same).unwrap_or(at);
        if is_pivot(&sets[at]) && !is_pivot(&sets[first]) {
            sets[first..=at].rotate_right(1);
        }
    }
    sets
}

#[derive(Default)]
struct Finder {
    sets: Vec<SetFiles>,
    /// Files of JSON lines of another shape.
    left_out: Vec<PathBuf>,
}

impl Finder {
    /// Adds what the user named.
    fn named(&mut self, path: &Path) -> anyhow::Result<()> {
        let metadata = fs::metadata(path)
            .map_err(|error| hinted(format!("cannot read {}: {error}", path.display()), SHAPES))?;
        if metadata.is_dir() {
            return self.folder(path, LEVELS, true);
        }
        let left_out = self.left_out.len();
        self.file(path, true)?;
        if self.left_out.len() > left_out {
            let message =
                format!("{} is not a set: its first line has none of the shapes", path.display());
            return Err(hinted(message, SHAPES));
        }
        Ok(())
    }

    /// Adds the set that a folder is, or those in it.
    fn folder(&mut self, path: &Path, levels: usize, is_named: bool) -> anyhow::Result<()> {
        for (file, kind) in
            [("corpus.jsonl", EvalKind::Retrieval), ("documents.jsonl", EvalKind::Long)]
        {
            if path.join(file).is_file() {
                let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                let (family, language) = name_of(file_name(&full), None);
                self.sets.push(SetFiles {
                    kind,
                    family,
                    language,
                    path: path.to_owned(),
                    examples: None,
                    is_named,
                });
                return Ok(());
            }
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.with_context(|| format!("cannot read {}", path.display()))?;
        let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        paths.retain(|path| !file_name(path).starts_with('.'));
        paths.sort();
        for path in paths {
            if path.is_dir() && levels > 0 {
                self.folder(&path, levels - 1, false)?;
            } else if path.is_file() && path.extension() == Some(OsStr::new("jsonl")) {
                self.file(&path, false)?;
            }
        }
        Ok(())
    }

    /// Adds the set that a file of JSON lines is.
    fn file(&mut self, path: &Path, is_named: bool) -> anyhow::Result<()> {
        let Some(first) = rows::first(path)? else {
            anyhow::bail!("{} has no lines", path.display());
        };
        let Some(kind) = kind_of(&first) else {
            self.left_out.push(path.to_owned());
            return Ok(());
        };
        let parts = (kind == EvalKind::Clustering).then(|| split_files(path)).flatten();
        let (kind, path, examples) = match parts {
            Some((examples, tests)) => (EvalKind::Classification, tests, Some(examples)),
            None => (kind, path.to_owned(), None),
        };
        // Both files of a classification lead to it.
        if examples.is_some() && self.sets.iter().any(|set| set.path == path) {
            return Ok(());
        }
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let stem = if examples.is_some() { stem.trim_end_matches("test") } else { stem };
        let folder = path.canonicalize().ok();
        let folder = folder.as_deref().and_then(Path::parent).map(file_name);
        let (family, language) = name_of(stem.trim_end_matches(['-', '_', '.']), folder);
        self.sets.push(SetFiles { kind, family, language, path, examples, is_named });
        Ok(())
    }

    fn warn(&self, printer: &Printer) {
        let count = self.left_out.len();
        if count > 0 {
            let names = self.left_out.iter().take(NAMED).map(|path| path.display().to_string());
            let names = names.collect::<Vec<_>>().join(", ");
            let more = if count > NAMED { ", …" } else { "" };
            printer.warning(&format!(
                "{} of another shape left out: {names}{more}",
                counted(count, "file")
            ));
        }
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// What a file measures whose first object is `row`; texts with labels are a clustering as long as
/// there is no second file.
fn kind_of(row: &Map<String, Value>) -> Option<EvalKind> {
    let has = |name: &str| row.contains_key(name);
    match (has("sentence1") && has("sentence2"), has("text") && has("label")) {
        (true, _) if has("score") => Some(EvalKind::Sts),
        (true, _) if has("label") => Some(EvalKind::Pairs),
        (true, _) => Some(EvalKind::Bitext),
        (false, true) => Some(EvalKind::Clustering),
        (false, false) => None,
    }
}

/// The files of examples and of tests that `path` is one of: `NAME-train.jsonl` and
/// `NAME-test.jsonl`.
fn split_files(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let stem = path.file_stem()?.to_str()?;
    let name = stem.strip_suffix("train").or_else(|| stem.strip_suffix("test"))?;
    let [train, test] =
        ["train", "test"].map(|split| path.with_file_name(format!("{name}{split}.jsonl")));
    (train.is_file() && test.is_file()).then_some((train, test))
}

/// Family and language of a set: `stsb-de` of `stsb`, `afr` of its `folder`.
fn name_of(name: &str, folder: Option<&str>) -> (String, Option<String>) {
    let is_language = |code: &str| {
        (2..=3).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_lowercase())
            && !SPLITS.contains(&code)
    };
    match (name.rsplit_once('-'), folder) {
        (Some((family, code)), _) if is_language(code) => {
            (family.to_owned(), Some(code.to_owned()))
        }
        (_, Some(folder)) if is_language(name) => (folder.to_owned(), Some(name.to_owned())),
        (_, Some(folder)) if name.is_empty() => (folder.to_owned(), None),
        _ => (name.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_have_a_family_and_a_language() {
        let parts = |name, folder| {
            let (family, language) = name_of(name, folder);
            format!("{family} {}", language.unwrap_or_default())
        };
        assert_eq!(parts("stsb-de", Some("sts")), "stsb de");
        assert_eq!(parts("afr", Some("tatoeba")), "tatoeba afr");
        assert_eq!(parts("xquad-en", None), "xquad en");
        for (name, folder) in [("cosqa-dev", None), ("banking77", Some("c")), ("set", None)] {
            assert_eq!(parts(name, folder), format!("{name} "));
        }
        assert_eq!(parts("", Some("mail")), "mail ");
    }

    #[test]
    fn a_shape_is_the_fields_of_an_object() {
        let kind = |value: Value| kind_of(value.as_object().expect("an object"));
        let pair = json!({"sentence1": "a", "sentence2": "b"});
        assert_eq!(kind(pair.clone()), Some(EvalKind::Bitext));
        for (name, expected) in [("score", EvalKind::Sts), ("label", EvalKind::Pairs)] {
            let mut pair = pair.clone();
            pair[name] = 1.into();
            assert_eq!(kind(pair), Some(expected));
        }
        assert_eq!(kind(json!({"text": "a", "label": 1})), Some(EvalKind::Clustering));
        assert_eq!(kind(json!({"text": "a"})), None);
    }

    #[test]
    fn the_pivot_comes_first_in_its_family_alone() {
        let set = |name: &str| {
            let (family, language) = name_of(name, None);
            let (kind, path, examples) = (EvalKind::Retrieval, PathBuf::new(), None);
            SetFiles { kind, family, language, path, examples, is_named: true }
        };
        let sets = ["a-de", "a-en", "b", "c-de", "c-fr", "c-en", "c-zh"].map(set).to_vec();
        let order = |pivot| {
            let sets = pivot_first(sets.clone(), pivot);
            sets.iter().map(SetFiles::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(Some("en")), "a-en a-de b c-en c-de c-fr c-zh");
        assert_eq!(order(None), "a-de a-en b c-de c-fr c-en c-zh");
    }
}
