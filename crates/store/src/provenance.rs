//! The provenance of vectors: what produced them.

use crate::error::{Error, Result};
use crate::record::Document;
use crate::storage::{Codes, Storage};
use serde_json::{Value, json};
use std::str::FromStr;

/// Everything that vectors must have in common to be comparable. Two sets of vectors may share a
/// collection only if all of it is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The model's name or folder, for people.
    pub model: String,
    /// The exact weights: a revision of the hub, or a hash of the files.
    pub revision: String,
    /// The task of passages, if the model has tasks.
    pub passage_task: Option<String>,
    /// The task of queries, if the model has tasks.
    pub query_task: Option<String>,
    /// Elements of a vector.
    pub dimensions: usize,
    /// Whether vectors have unit length. Scores are cosines only if they do.
    pub normalized: bool,
    /// How documents are cut into chunks, such as `structure:256`.
    pub chunking: String,
    /// Whether chunks were pooled from one pass over their document.
    pub late: bool,
    /// How vectors are stored.
    pub storage: Storage,
    /// Codes that find a short list, if there are any.
    pub codes: Option<Codes>,
}

impl Provenance {
    /// The name and revision of a model that was not recorded.
    pub const UNKNOWN: &str = "unknown";

    /// The provenance of foreign vectors.
    pub fn unknown(dimensions: usize, storage: Storage) -> Self {
        Self {
            model: Self::UNKNOWN.to_owned(),
            revision: Self::UNKNOWN.to_owned(),
            passage_task: None,
            query_task: None,
            dimensions,
            normalized: false,
            chunking: "rows".to_owned(),
            late: false,
            storage,
            codes: None,
        }
    }

    /// Whether the model of these vectors was not recorded.
    pub fn is_unknown(&self) -> bool {
        self.revision == Self::UNKNOWN
    }

    /// Every property with its value, for people.
    fn properties(&self) -> [(&'static str, String); 9] {
        let task = |task: &Option<String>| task.clone().unwrap_or_else(|| "none".to_owned());
        let codes = self.codes.map_or_else(|| "none".to_owned(), |codes| codes.to_string());
        [
            ("weights", format!("{} ({})", self.model, self.revision)),
            ("passage task", task(&self.passage_task)),
            ("query task", task(&self.query_task)),
            ("dimensions", self.dimensions.to_string()),
            ("normalized", self.normalized.to_string()),
            ("chunking", self.chunking.clone()),
            ("late chunking", self.late.to_string()),
            ("storage", self.storage.to_string()),
            ("short list", codes),
        ]
    }

    /// Checks the width of a vector.
    ///
    /// # Errors
    ///
    /// [`Error::WidthMismatch`] if a vector does not have the dimensions of the collection.
    pub fn check_width(&self, found: usize) -> Result<()> {
        let wanted = self.dimensions;
        if found == wanted { Ok(()) } else { Err(Error::WidthMismatch { found, wanted }) }
    }

    /// Checks the width of every chunk's vector.
    ///
    /// # Errors
    ///
    /// As [`Self::check_width`].
    pub fn check_widths(&self, documents: &[Document]) -> Result<()> {
        let mut chunks = documents.iter().flat_map(|document| &document.chunks);
        chunks.try_for_each(|chunk| self.check_width(chunk.vector.len()))
    }

    /// The JSON form in which stores keep it.
    pub fn to_json(&self) -> Value {
        json!({
            "model": self.model,
            "revision": self.revision,
            "passage_task": self.passage_task,
            "query_task": self.query_task,
            "dimensions": self.dimensions,
            "normalised": self.normalized,
            "chunking": self.chunking,
            "late": self.late,
            "storage": self.storage.name(),
            "codes": self.codes.map(|codes| codes.to_string()),
        })
    }

    /// Parses the output of [`Self::to_json`]; `None` if it is anything else.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Self {
            model: text("model")?,
            revision: text("revision")?,
            passage_task: text("passage_task"),
            query_task: text("query_task"),
            dimensions: value["dimensions"].as_u64()? as usize,
            normalized: value["normalised"].as_bool()?,
            chunking: text("chunking")?,
            late: value["late"].as_bool()?,
            storage: Storage::from_str(value["storage"].as_str()?).ok()?,
            codes: text("codes").map(|codes| codes.parse()).transpose().ok()?,
        })
    }

    /// Checks that a store can keep such vectors.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the storage or the codes are not among `storages` and `codes`,
    /// which the store `store` supports.
    pub fn check_storable(
        &self,
        store: &str,
        storages: &[Storage],
        codes: &[Storage],
    ) -> Result<()> {
        let names = |storages: &[Storage]| {
            let names: Vec<_> = storages.iter().map(|storage| format!("`{storage}`")).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let refused = |wanted: String, known: String| {
            Err(Error::Unsupported { store: store.to_owned(), wanted, known })
        };
        if !storages.contains(&self.storage) {
            return refused(format!("vectors stored as `{}`", self.storage), names(storages));
        }
        match self.codes {
            Some(own) if !codes.contains(&own.storage) || own.dimensions.is_some() => {
                refused(format!("short lists by `{own}`"), names(codes))
            }
            _ => Ok(()),
        }
    }

    /// Checks that vectors of two provenances are comparable.
    ///
    /// # Errors
    ///
    /// [`Error::ProvenanceMismatch`] if vectors of `other` must not be added to `collection`, whose
    /// provenance is `self`.
    pub fn check_same(&self, collection: &str, other: &Self) -> Result<()> {
        // The model's name does not count: the same weights may be in several locations.
        let unnamed = |side: &Self| Self { model: String::new(), ..side.clone() };
        if unnamed(self) == unnamed(other) {
            return Ok(());
        }
        let pairs = self.properties().into_iter().zip(other.properties());
        let differences: Vec<String> = pairs
            .filter(|((name, own), (_, other_value))| {
                if *name == "weights" {
                    self.revision != other.revision
                } else {
                    own != other_value
                }
            })
            .map(|((name, own), (_, other_value))| {
                format!("its {name} is {own}, not {other_value}")
            })
            .collect();
        Err(Error::ProvenanceMismatch {
            collection: collection.to_owned(),
            differences: differences.join("; "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            model: "starter".to_owned(),
            revision: "sha256:01".to_owned(),
            passage_task: Some("retrieval.passage".to_owned()),
            query_task: Some("retrieval.query".to_owned()),
            dimensions: 256,
            normalized: true,
            chunking: "structure:256".to_owned(),
            late: true,
            storage: Storage::F16,
            codes: None,
        }
    }

    #[test]
    fn the_same_weights_under_another_name_are_the_same() {
        let moved = Provenance { model: "/models/starter".to_owned(), ..provenance() };
        assert!(provenance().check_same("notes", &moved).is_ok());
    }

    #[test]
    fn the_json_form_is_parsed_back() {
        let all = Provenance { codes: "int8:64".parse().ok(), ..provenance() };
        for one in [all, Provenance { passage_task: None, ..provenance() }] {
            assert_eq!(Provenance::from_json(&one.to_json()), Some(one));
        }
        assert_eq!(Provenance::from_json(&serde_json::json!({"model": "starter"})), None);
    }

    #[test]
    fn every_difference_is_named_with_both_sides() {
        let other = Provenance {
            revision: "sha256:02".to_owned(),
            passage_task: None,
            dimensions: 128,
            normalized: false,
            late: false,
            storage: Storage::Bits,
            ..provenance()
        };
        let error = provenance().check_same("notes", &other).expect_err("mixed").to_string();
        for part in [
            "`notes`",
            "starter (sha256:01), not starter (sha256:02)",
            "passage task is retrieval.passage, not none",
            "dimensions is 256, not 128",
            "normalized is true, not false",
            "late chunking is true, not false",
            "storage is f16, not bits",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("query task") && !error.contains("short list"), "{error}");
    }
}
