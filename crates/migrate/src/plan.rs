//! The plan: a file that people read, edit and review before anything runs.

use crate::error::{Error, Result};
use crate::ledger::{MigrationProgress, State};
use kokeshi_store::{Address, Codes, Fields, Provenance, Storage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Maximum size of a plan, in bytes.
const MAX_PLAN_BYTES: u64 = 1 << 20;

/// A migration from one collection to another.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name in the ledger.
    pub name: String,
    /// The store of both sides, or of the new one: a file, or a server's address without the
    /// password.
    pub store: String,
    /// The store of the old side, if it is another one, or a JSONL or Parquet file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The name that readers use. It is switched to the new collection.
    pub switch: String,
    /// The name of the old collection after the switch, if `switch` was its own name.
    pub kept: String,
    /// Number of documents whose vectors `verify` computes again.
    pub sample: usize,
    /// A file of queries, for which the plan and `verify` rank documents.
    #[serde(default)]
    pub queries: Option<PathBuf>,
    /// The fields of foreign data, in `source` or else in `store`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Fields>,
    /// The old collection.
    pub from: Side,
    /// The new collection.
    pub to: Side,
}

/// A collection and what produces its vectors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Its name.
    pub collection: String,
    /// The model's name or folder.
    pub model: String,
    /// The exact weights.
    pub revision: String,
    /// Task of passages.
    #[serde(default)]
    pub passage_task: Option<String>,
    /// Task of queries.
    #[serde(default)]
    pub query_task: Option<String>,
    /// Elements of a vector.
    pub dimensions: usize,
    /// How documents were cut. Chunks are not changed.
    pub chunking: String,
    /// Whether chunks are pooled from one pass over their document.
    pub late_chunking: bool,
    /// How vectors are stored: `f32`, `f16`, `int8` or `bits`.
    pub storage: String,
    /// Codes that find a short list.
    #[serde(default)]
    pub shortlist: Option<String>,
}

impl Side {
    /// The side of `collection`, with its `provenance`.
    pub fn of(collection: &str, provenance: &Provenance) -> Self {
        Self {
            collection: collection.to_owned(),
            model: provenance.model.clone(),
            revision: provenance.revision.clone(),
            passage_task: provenance.passage_task.clone(),
            query_task: provenance.query_task.clone(),
            dimensions: provenance.dimensions,
            chunking: provenance.chunking.clone(),
            late_chunking: provenance.late,
            storage: provenance.storage.to_string(),
            shortlist: provenance.codes.map(|codes| codes.to_string()),
        }
    }

    /// Its provenance, as a store records it.
    ///
    /// # Errors
    ///
    /// If `storage` or `shortlist` cannot be parsed.
    pub fn provenance(&self) -> Result<Provenance> {
        let storage: Storage = self.storage.parse()?;
        let codes: Option<Codes> = self.shortlist.as_deref().map(str::parse).transpose()?;
        Ok(Provenance {
            model: self.model.clone(),
            revision: self.revision.clone(),
            passage_task: self.passage_task.clone(),
            query_task: self.query_task.clone(),
            dimensions: self.dimensions,
            normalized: true,
            chunking: self.chunking.clone(),
            late: self.late_chunking,
            storage,
            codes,
        })
    }
}

impl Plan {
    /// Reads the plan at `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not a plan.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let refused = |reason: String| Error::Plan { path: path.to_owned(), reason };
        // Reading a pipe or a device may never end.
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > MAX_PLAN_BYTES {
            let limit = MAX_PLAN_BYTES >> 20;
            return Err(refused(format!("it is not a file of at most {limit} MiB")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let plan: Self = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if plan.from.collection == plan.to.collection && !plan.is_between_stores() {
            return Err(refused(format!(
                "it reads and writes the same collection, `{}`",
                plan.to.collection
            )));
        }
        plan.to.provenance().map_err(|error| refused(error.to_string()))?;
        Ok(plan)
    }

    /// The file's text, which begins with `notes` as comments.
    ///
    /// # Errors
    ///
    /// If it cannot be written as TOML.
    pub fn render(&self, notes: &str) -> Result<String> {
        let body = toml::to_string(self).map_err(|error| Error::Plan {
            path: PathBuf::from(&self.name),
            reason: error.to_string(),
        })?;
        let mut text = String::new();
        for line in notes.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        Ok(text + "\n" + &body)
    }

    /// The side that readers use in `state`.
    pub fn active_side(&self, state: State) -> &Side {
        match state {
            State::Switched | State::Cleaned => &self.to,
            State::Planned | State::Running | State::Verified | State::RolledBack => &self.from,
        }
    }

    /// Whether the store is a file, which searches exactly.
    pub(crate) fn store_is_file(&self) -> bool {
        matches!(Address::from(self.store.as_str()), Address::File(_))
    }

    /// Whether the store normalizes vectors again, as vector databases do, which changes their last
    /// bits.
    pub(crate) fn store_normalizes(&self) -> bool {
        !self.store_is_file() && !self.store.starts_with("postgres")
    }

    /// Checks that the plan is the one that the migration began with, as far as its steps depend on
    /// it: `sample` and `queries` may change, and until the switch also the names that it uses.
    ///
    /// # Errors
    ///
    /// [`Error::Edited`], which names the first line that differs.
    pub(crate) fn check_unedited(&self, progress: &MigrationProgress) -> Result<()> {
        let now = self.to_value();
        let recorded = match &progress.record {
            Some(record) => record.plan.clone(),
            // An earlier version recorded only the sides.
            None => {
                let sides = progress.fingerprint.split_once('\n').unwrap_or_default();
                let side = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
                let mut plan = now.clone();
                plan["from"] = side(sides.0);
                plan["to"] = side(sides.1);
                plan
            }
        };
        let is_free = |key: &str| match key {
            "sample" | "queries" => true,
            "switch" | "kept" => !matches!(progress.state, State::Switched | State::Cleaned),
            // A ledger in the store's own file belongs to that file, wherever it is now.
            "store" => self.store_is_file(),
            _ => false,
        };
        match difference("", &recorded, &now, &is_free) {
            None => Ok(()),
            Some((line, recorded)) => {
                Err(Error::Edited { name: self.name.clone(), line, recorded })
            }
        }
    }

    /// Its keys and values.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Everything that determines the vectors of both sides. If it has changed since the migration
    /// began, the vectors that are already written are not comparable with new ones.
    pub fn fingerprint(&self) -> String {
        let side = |side: &Side| serde_json::to_string(side).unwrap_or_default();
        format!("{}\n{}", side(&self.from), side(&self.to))
    }
}

/// The first line of a plan that differs from what was recorded, and what it was.
fn difference(
    table: &str,
    recorded: &Value,
    now: &Value,
    is_free: &dyn Fn(&str) -> bool,
) -> Option<(String, String)> {
    let empty = Map::new();
    let (old, new) = (recorded.as_object().unwrap_or(&empty), now.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys.into_iter().filter(|key| !is_free(&format!("{table}{key}"))) {
        let [was, is] = [old, new].map(|side| side.get(key).unwrap_or(&Value::Null));
        if was.is_object() && is.is_object() {
            let found = difference(&format!("{table}{key}."), was, is, is_free);
            if found.is_some() {
                return found;
            }
        } else if was != is {
            let line = match is {
                Value::Null => format!("{table}{key} (missing)"),
                is => format!("{table}{key} = {is}"),
            };
            let was = if was.is_null() { "missing".to_owned() } else { format!("`{was}`") };
            return Some((line, was));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let side = |collection: &str, dimensions| Side {
            collection: collection.to_owned(),
            model: "starter".to_owned(),
            revision: "sha256:01".to_owned(),
            passage_task: None,
            query_task: Some("retrieval.query".to_owned()),
            dimensions,
            chunking: "structure:256".to_owned(),
            late_chunking: true,
            storage: "f16".to_owned(),
            shortlist: Some("bits".to_owned()),
        };
        Plan {
            name: "notes-v3".to_owned(),
            store: "index.db".to_owned(),
            source: Some("old.jsonl".to_owned()),
            fields: Some(Fields { text: Some("body".to_owned()), ..Fields::default() }),
            switch: "notes".to_owned(),
            kept: "notes-before".to_owned(),
            sample: 100,
            queries: None,
            from: side("notes", 768),
            to: side("notes-v3", 1024),
        }
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.toml");
        let text = plan().render("What it does.\n\nAnd why.").expect("a text");
        assert!(text.starts_with("# What it does.\n#\n# And why.\n\nname = "), "{text}");
        std::fs::write(&path, &text).expect("a file");
        assert_eq!(Plan::read(&path).expect("a plan"), plan());
        let text = text.replace("collection = \"notes-v3\"", "collection = \"notes\"");
        for (from, to, wanted) in [
            ("source = \"old.jsonl\"\n", "", "same collection"),
            ("storage = \"f16\"", "storage = \"f17\"", "f17"),
            ("sample", "simple", "simple"),
        ] {
            std::fs::write(&path, text.replace(from, to)).expect("a file");
            let error = Plan::read(&path).expect_err("refused").to_string();
            assert!(error.contains(wanted) && error.contains("plan.toml"), "{error}");
        }
    }

    #[test]
    fn names_do_not_change_the_fingerprint() {
        let renamed = Plan { kept: "old".to_owned(), sample: 5, ..plan() };
        assert_eq!(renamed.fingerprint(), plan().fingerprint());
        let mut other = plan();
        other.to.dimensions = 512;
        assert_ne!(other.fingerprint(), plan().fingerprint());
    }
}
