//! Which chunks a search considers.

use crate::error::{Error, Result};
use crate::{compare, terms};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};
use std::str::FromStr;

/// Conditions that a chunk and its document must all meet.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Paths to include; `None` is all.
    include: Option<GlobSet>,
    /// Paths to exclude.
    exclude: Option<GlobSet>,
    /// The path must be one of these or below one; empty is all.
    below: Vec<String>,
    conditions: Vec<Condition>,
}

impl Filter {
    /// `paths` are globs such as `docs/**/*.md`. A folder includes everything below it, a pattern
    /// without `/` matches the name in any folder, and a leading `!` excludes. Without patterns,
    /// every path matches.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] for a pattern that is not a valid glob.
    pub fn new(paths: &[String], conditions: Vec<Condition>) -> Result<Self> {
        let (exclude, include): (Vec<&str>, Vec<&str>) =
            paths.iter().map(String::as_str).partition(|path| path.starts_with('!'));
        let exclude: Vec<&str> = exclude.into_iter().map(|path| &path[1..]).collect();
        Ok(Self {
            include: globs(&include)?,
            exclude: globs(&exclude)?,
            below: Vec::new(),
            conditions,
        })
    }

    /// Also requires that the path is one of `paths` or below one, unless `paths` is empty. These
    /// are literal paths, not globs.
    #[must_use]
    pub fn below(self, paths: Vec<String>) -> Self {
        Self { below: paths, ..self }
    }

    /// Whether every chunk matches.
    pub fn is_empty(&self) -> bool {
        let paths = self.include.is_none() && self.exclude.is_none() && self.below.is_empty();
        paths && self.conditions.is_empty()
    }

    /// Whether the filter has conditions on metadata.
    pub fn reads_metadata(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Whether the filter has conditions on paths.
    pub fn reads_paths(&self) -> bool {
        self.include.is_some() || self.exclude.is_some() || !self.below.is_empty()
    }

    /// Terms that every matching chunk has. Others may have them too: see [`crate::backend`].
    pub fn terms(&self) -> Vec<String> {
        let equal =
            self.conditions.iter().filter(|condition| condition.relation == Relation::Equal);
        equal.filter_map(|condition| terms::term(&condition.key, &condition.value)).collect()
    }

    /// Whether the path of a document matches.
    pub fn matches_path(&self, path: &str) -> bool {
        (self.below.is_empty() || self.below.iter().any(|folder| is_below(path, folder)))
            && self.include.as_ref().is_none_or(|globs| globs.is_match(path))
            && self.exclude.as_ref().is_none_or(|globs| !globs.is_match(path))
    }

    /// Whether the metadata meet the conditions. A chunk's fields override those of its document.
    pub fn matches_metadata(
        &self,
        chunk: &Map<String, Value>,
        document: &Map<String, Value>,
    ) -> bool {
        self.conditions.iter().all(|condition| {
            let value = chunk.get(&condition.key).or_else(|| document.get(&condition.key));
            condition.holds(value)
        })
    }
}

/// Whether the document called `name` is at or below the path called `folder`: `.` contains all
/// relative names, and `/` all absolute ones.
pub fn is_below(name: &str, folder: &str) -> bool {
    let rest = name.strip_prefix(folder);
    folder == "." && !name.starts_with('/')
        || rest
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'))
}

fn globs(patterns: &[&str]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let path = pattern.trim_start_matches("./").trim_end_matches('/');
        let anchored = if path.contains('/') { path.to_owned() } else { format!("**/{path}") };
        for glob in [format!("{anchored}/**"), anchored] {
            let glob = GlobBuilder::new(&glob).literal_separator(true).build();
            set.add(glob.map_err(|error| {
                Error::Parse(format!("`{pattern}` is not a valid path glob: {error}"))
            })?);
        }
    }
    let set = set.build().map_err(|error| Error::Parse(error.to_string()))?;
    Ok(Some(set))
}

/// A condition on metadata: `lang=de`, `lang!=de`, `year>=1900`, `year<2000`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    key: String,
    relation: Relation,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Unequal,
    AtLeast,
    AtMost,
    More,
    Less,
}

/// Longer operators before their prefixes.
const RELATIONS: [(&str, Relation); 6] = [
    ("!=", Relation::Unequal),
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("=", Relation::Equal),
    (">", Relation::More),
    ("<", Relation::Less),
];

impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let at = text.find(['!', '=', '<', '>']).unwrap_or(text.len());
        let (key, rest) = text.split_at(at);
        let operator = RELATIONS.into_iter().find(|(operator, _)| rest.starts_with(operator));
        match operator {
            Some((operator, relation)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                relation,
                value: rest[operator.len()..].trim().to_owned(),
            }),
            _ => Err(Error::Parse(format!(
                "`{text}` is not a condition; write `key=value`, with `=`, `!=`, `<`, `<=`, `>` or `>=`"
            ))),
        }
    }
}

impl Condition {
    /// A list meets a condition if one of its values does; `!=` must hold for all of them. An
    /// absent value differs from everything. Values are compared as [`crate::compare`] defines.
    fn holds(&self, value: Option<&Value>) -> bool {
        match (value, self.relation) {
            (None | Some(Value::Null), relation) => relation == Relation::Unequal,
            (Some(Value::Array(values)), Relation::Unequal) => {
                values.iter().all(|value| self.holds(Some(value)))
            }
            (Some(Value::Array(values)), _) => values.iter().any(|value| self.holds(Some(value))),
            (Some(value), relation) => self.compare(value, relation),
        }
    }

    fn compare(&self, value: &Value, relation: Relation) -> bool {
        let order = || compare::order(value, &self.value);
        match relation {
            Relation::Equal => compare::is_equal(value, &self.value),
            Relation::Unequal => !compare::is_equal(value, &self.value),
            Relation::AtLeast => order().is_ge(),
            Relation::AtMost => order().is_le(),
            Relation::More => order().is_gt(),
            Relation::Less => order().is_lt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filter(paths: &[&str]) -> Filter {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        Filter::new(&paths, Vec::new()).expect("globs")
    }

    #[test]
    fn paths_are_globs_folders_or_names() {
        for (patterns, path, wanted) in [
            (&[][..], "a/b.md", true),
            (&["*.md"], "a/b.md", true),
            (&["*.md"], "a/b.txt", false),
            (&["a"], "a/c/b.md", true),
            (&["a/"], "a/c/b.md", true),
            (&["./a/c"], "a/c/b.md", true),
            (&["a/*.md"], "a/c/b.md", false),
            (&["a/**/*.md"], "a/c/b.md", true),
            (&["!*.md"], "a/b.md", false),
            (&["!*.md"], "a/b.txt", true),
            (&["a", "!a/c"], "a/c/b.md", false),
        ] {
            assert_eq!(filter(patterns).matches_path(path), wanted, "{patterns:?} {path}");
        }
        assert!(Filter::new(&["[".to_owned()], Vec::new()).is_err());
        let below = filter(&["*.md"]).below(vec!["a[1]".to_owned()]);
        for (path, wanted) in [("a[1]/b.md", true), ("a[1]/b.txt", false), ("a1/b.md", false)] {
            assert_eq!(below.matches_path(path), wanted, "{path}");
        }
    }

    #[test]
    fn names_that_begin_alike_are_not_below_each_other() {
        for (name, folder, wanted) in [
            ("a/b", "a", true),
            ("a", "a", true),
            ("ab", "a", false),
            ("a/b", ".", true),
            ("/else/b", ".", false),
            ("/else/b", "/else", true),
            ("/else/b", "/", true),
            ("a/b", "/", false),
        ] {
            assert_eq!(is_below(name, folder), wanted, "{name} {folder}");
        }
    }

    #[test]
    fn conditions_look_into_lists() {
        let metadata = json!({"lang": "de", "year": 1899, "tags": ["a", "b"], "no": null});
        for (condition, wanted) in [
            ("lang=de", true),
            ("lang = de", true),
            ("lang!=de", false),
            ("year>=900", true),
            ("year<1899", false),
            ("year<=1899.0", true),
            ("year>1898", true),
            ("tags=b", true),
            ("tags=c", false),
            ("tags!=b", false),
            ("tags!=c", true),
            ("absent=x", false),
            ("absent!=x", true),
            ("no=x", false),
        ] {
            let parsed: Condition = condition.parse().expect(condition);
            assert_eq!(parsed.holds(metadata.get(&parsed.key)), wanted, "{condition}");
        }
        for text in ["", "lang", "=de", "!de", " =1"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
