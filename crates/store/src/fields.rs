//! Names of the fields in foreign data.

use serde::{Deserialize, Serialize};

/// Usual names of a field of texts, the likeliest first.
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
/// Usual names of the field that rows of one document share.
const DOCUMENTS: [&str; 5] = ["doc_id", "document_id", "docid", "parent_id", "source_id"];

/// A field of a foreign row, and what it could be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether it contains a text.
    pub is_text: bool,
    /// Whether it can identify a document.
    pub is_key: bool,
}

/// Names of the columns or fields of a foreign collection, which is a column of vectors in a table
/// or file, or a whole collection of a vector database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// The table, for PostgreSQL: `TABLE` or `SCHEMA.TABLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The field that identifies a row; points of a vector database have their own ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The text that was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field that rows of one document share. Without it, each row is a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The field that orders the rows of a document. Without it, they keep the order in which they
    /// are stored: in a file by line, in a table by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The name of the vector, for points that have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
}

impl Fields {
    /// The field of ids.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("id")
    }

    /// These names, completed from the fields of a row: if the field of texts or documents is not
    /// named, it is detected by its usual names, or for texts, as the only field with a text.
    #[must_use]
    pub fn detect(mut self, row: &[Field]) -> Self {
        let known = |names: &[&str], fits: fn(&Field) -> bool| {
            let named = |name: &&str| {
                let is_it = |field: &&Field| fits(field) && field.name.eq_ignore_ascii_case(name);
                row.iter().find(is_it).map(|field| field.name.clone())
            };
            names.iter().find_map(named)
        };
        if self.document.is_none() {
            let taken = [&self.text, &self.id, &self.order];
            self.document = known(&DOCUMENTS, |field| field.is_key)
                .filter(|name| taken.iter().all(|taken| taken.as_ref() != Some(name)));
        }
        if self.text.is_none() {
            let only = || {
                let taken = [self.id(), self.document.as_deref().unwrap_or_default()];
                let texts = row.iter().filter(|field| field.is_text);
                let mut texts = texts.filter(|field| !taken.contains(&field.name.as_str()));
                let one = texts.next().map(|field| field.name.clone());
                one.filter(|_| texts.next().is_none())
            };
            self.text = known(&TEXTS, |field| field.is_text).or_else(only);
        }
        self
    }

    /// The field of texts.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(fields: Fields, row: &[(&str, bool)]) -> (Option<String>, Option<String>) {
        let row = row.iter().map(|&(name, is_text)| {
            let name = name.to_owned();
            Field { name, is_text, is_key: true }
        });
        let fields = fields.detect(&row.collect::<Vec<_>>());
        (fields.text, fields.document)
    }

    #[test]
    fn fields_are_detected_by_their_usual_names() {
        let some = |name: &str| Some(name.to_owned());
        let row = [("id", true), ("Body", true), ("content", true), ("doc_id", true)];
        assert_eq!(detected(Fields::default(), &row), (some("content"), some("doc_id")));
        let given = Fields { text: some("Body"), document: some("id"), ..Fields::default() };
        assert_eq!(detected(given, &row), (some("Body"), some("id")));
        // A number is not a text; the only text is the text.
        let row = [("id", true), ("text", false), ("remark", true), ("parent_id", false)];
        assert_eq!(detected(Fields::default(), &row), (some("remark"), some("parent_id")));
        let row = [("id", true), ("remark", true), ("answer", true)];
        assert_eq!(detected(Fields::default(), &row), (None, None));
    }
}
