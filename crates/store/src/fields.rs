//! How data that another program made is laid out.

use serde::{Deserialize, Serialize};

/// Names that fields of texts often have, the likeliest first.
const TEXTS: [&str; 9] = [
    "text",
    "content",
    "body",
    "page_content",
    "chunk_text",
    "chunk",
    "passage",
    "document",
    "description",
];
/// The same for what rows of a document have in common.
const DOCUMENTS: [&str; 5] = ["doc_id", "document_id", "docid", "parent_id", "source_id"];

/// A field of a row that another program made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    /// Whether it holds a text.
    pub(crate) is_text: bool,
    /// Whether documents can be told apart by it.
    pub(crate) is_key: bool,
}

/// Names of the columns or fields that others keep texts in. A collection of theirs is what holds
/// vectors: a column of a table or a file, or a whole collection of an engine of points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// The table, for PostgreSQL: `TABLE` or `SCHEMA.TABLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What tells rows apart; engines of points have ids of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The text that was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What rows of one document have in common. Without it, each row is a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// What rows of a document are in order by. Without it, they are as they come: in a file by their
    /// lines, in a table by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Which of its vectors, for a point that has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
}

impl Fields {
    /// The field of ids.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("id")
    }

    /// These, with the field of texts and that of documents found among those that a row has, unless they
    /// are named: by their usual names, or for texts, because no other field has one.
    pub(crate) fn found(mut self, seen: &[Seen]) -> Self {
        let known = |names: &[&str], counts: fn(&Seen) -> bool| {
            let named = |name: &&str| {
                let fits = |seen: &&Seen| counts(seen) && seen.name.eq_ignore_ascii_case(name);
                seen.iter().find(fits).map(|seen| seen.name.clone())
            };
            names.iter().find_map(named)
        };
        if self.document.is_none() {
            let taken = [&self.text, &self.id, &self.order];
            self.document = known(&DOCUMENTS, |seen| seen.is_key)
                .filter(|name| taken.iter().all(|taken| taken.as_ref() != Some(name)));
        }
        if self.text.is_none() {
            let only = || {
                let taken = [self.id(), self.document.as_deref().unwrap_or_default()];
                let texts = seen.iter().filter(|seen| seen.is_text);
                let mut texts = texts.filter(|seen| !taken.contains(&seen.name.as_str()));
                let one = texts.next().map(|seen| seen.name.clone());
                one.filter(|_| texts.next().is_none())
            };
            self.text = known(&TEXTS, |seen| seen.is_text).or_else(only);
        }
        self
    }

    /// The field of texts.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: Fields, seen: &[(&str, bool)]) -> (Option<String>, Option<String>) {
        let seen = seen.iter().map(|&(name, is_text)| {
            let name = name.to_owned();
            Seen { name, is_text, is_key: true }
        });
        let found = fields.found(&seen.collect::<Vec<_>>());
        (found.text, found.document)
    }

    #[test]
    fn fields_are_found_by_their_usual_names() {
        let some = |name: &str| Some(name.to_owned());
        let row = [("id", true), ("Body", true), ("content", true), ("doc_id", true)];
        assert_eq!(found(Fields::default(), &row), (some("content"), some("doc_id")));
        let said = Fields { text: some("Body"), document: some("id"), ..Fields::default() };
        assert_eq!(found(said, &row), (some("Body"), some("id")));
        // A number is no text, and where there is but one text, it is that.
        let row = [("id", true), ("text", false), ("remark", true), ("parent_id", false)];
        assert_eq!(found(Fields::default(), &row), (some("remark"), some("parent_id")));
        let row = [("id", true), ("remark", true), ("answer", true)];
        assert_eq!(found(Fields::default(), &row), (None, None));
    }
}
