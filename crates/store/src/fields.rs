//! How data that another program made is laid out.

use serde::{Deserialize, Serialize};

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

    /// The field of texts.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }
}
