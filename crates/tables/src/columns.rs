//! Which columns of a table are what.

use crate::error::{Error, Result};
use kokeshi_documents::TEXT_FIELDS;
use std::path::Path;

/// Usual names of the column of ids.
const ID_COLUMNS: [&str; 2] = ["id", "_id"];

/// The columns of the input by what they are, and that of the vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The texts; `None` is the first of the usual names.
    pub text: Option<String>,
    /// The ids, which are kept; `None` is `id` or `_id`, if there is one.
    pub id: Option<String>,
    /// The document that a row is a part of. Rows of a document are next to each other.
    pub document: Option<String>,
    /// The columns that are written with the vectors.
    pub keep: Keep,
    /// The name of the column of vectors.
    pub vector: String,
}

/// The columns that are written with the vectors, besides the ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// These.
    Named(Vec<String>),
    /// All.
    All,
}

/// The columns of one file, by their numbers in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileColumns {
    pub(crate) text: usize,
    pub(crate) id: Option<usize>,
    pub(crate) document: Option<usize>,
    /// In ascending order.
    pub(crate) kept: Vec<usize>,
}

impl Columns {
    /// The columns of the file at `path`, which has the columns `names`. `added` are the names of
    /// the columns that the output adds.
    pub(crate) fn of(&self, names: &[&str], path: &Path, added: &[&str]) -> Result<FileColumns> {
        let find = |name: &str| names.iter().position(|known| *known == name);
        let named = |name: &String| {
            find(name).ok_or_else(|| Error::NoColumn {
                path: path.to_owned(),
                name: name.clone(),
                known: listed(names.iter()),
            })
        };
        let text = match &self.text {
            Some(name) => named(name)?,
            None => {
                TEXT_FIELDS.iter().find_map(|name| find(name)).ok_or_else(|| Error::NoText {
                    path: path.to_owned(),
                    usual: listed(TEXT_FIELDS.iter()),
                    known: listed(names.iter()),
                })?
            }
        };
        let id = match &self.id {
            Some(name) => Some(named(name)?),
            None => ID_COLUMNS.iter().find_map(|name| find(name)),
        };
        let document = self.document.as_ref().map(named).transpose()?;
        let mut kept: Vec<usize> = match &self.keep {
            Keep::All => (0..names.len()).collect(),
            Keep::Named(kept) => kept.iter().map(named).collect::<Result<_>>()?,
        };
        kept.extend(id.into_iter().chain(document));
        kept.sort_unstable();
        kept.dedup();
        match kept.iter().map(|&column| names[column]).find(|name| added.contains(name)) {
            Some(name) => Err(Error::SameColumn { path: path.to_owned(), name: name.to_owned() }),
            None => Ok(FileColumns { text, id, document, kept }),
        }
    }
}

/// Names, as messages list them.
fn listed(names: impl ExactSizeIterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect();
    match (shown.len(), more) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        let keep = Keep::Named(Vec::new());
        Columns { text: None, id: None, document: None, keep, vector: "embedding".to_owned() }
    }

    fn of(columns: &Columns, names: &[&str]) -> Result<FileColumns> {
        columns.of(names, Path::new("a.csv"), &["embedding"])
    }

    #[test]
    fn usual_names_are_found_and_kept_columns_have_the_order_of_the_file() {
        let names = ["lang", "body", "_id", "text", "n"];
        let found = of(&columns(), &names).expect("columns");
        assert_eq!(found, FileColumns { text: 3, id: Some(2), document: None, kept: vec![2] });
        let named = Columns {
            text: Some("body".to_owned()),
            document: Some("lang".to_owned()),
            keep: Keep::Named(vec!["n".to_owned(), "_id".to_owned()]),
            ..columns()
        };
        let found = of(&named, &names).expect("columns");
        assert_eq!((found.text, found.document), (1, Some(0)));
        assert_eq!(found.kept, [0, 2, 4]);
        let all = Columns { keep: Keep::All, ..columns() };
        assert_eq!(of(&all, &names).expect("columns").kept, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_there_is() {
        let error = |columns: &Columns, names: &[&str]| {
            of(columns, names).expect_err("an error").to_string()
        };
        assert_eq!(
            error(&columns(), &["a"]),
            "a.csv has no column called `text`, `content`, `body`, `passage`, `abstract`; it has `a`"
        );
        let named = Columns { id: Some("key".to_owned()), ..columns() };
        assert_eq!(error(&named, &["text"]), "a.csv has no column `key`; it has `text`");
        let all = Columns { keep: Keep::All, ..columns() };
        assert!(error(&all, &["text", "embedding"]).contains("has a column `embedding`, and"));
    }
}
