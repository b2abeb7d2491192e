//! A retrieval set in the layout of BEIR: `corpus.jsonl`, `queries.jsonl` and judgements.

use crate::failure::hinted;
use crate::text_file;
use anyhow::Context;
use kokeshi_documents::MAX_FILE_BYTES;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Documents in one file to index: few enough to fit in memory at any length.
const DOCUMENTS_PER_FILE: usize = 500;

/// A set: documents, queries and judgements.
#[derive(Debug)]
pub(super) struct Dataset {
    /// The folder's name.
    pub(super) name: String,
    corpus: PathBuf,
    /// Queries that have judgements.
    pub(super) queries: Vec<JudgedQuery>,
}

/// A query and its answers.
#[derive(Debug)]
pub(super) struct JudgedQuery {
    pub(super) text: String,
    /// Documents that answer it, each with a grade above 0.
    pub(super) relevant: HashMap<String, f64>,
}

/// Counts of a corpus.
#[derive(Debug, Default)]
pub(super) struct CorpusCounts {
    pub(super) documents: usize,
    /// Documents that are judged as answers but are not in the corpus.
    pub(super) absent: usize,
}

impl Dataset {
    /// Reads queries and judgements; the corpus only when it is copied.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let corpus = folder.join("corpus.jsonl");
        fs::metadata(&corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
        let candidates = ["qrels.tsv", "qrels/test.tsv"].map(|name| folder.join(name));
        let qrels = candidates.iter().find(|path| path.is_file()).ok_or_else(|| {
            hinted(
                format!("no judgements in {}", folder.display()),
                "a set has `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or `qrels/test.tsv`",
            )
        })?;
        let mut judged = judgements(qrels)?;
        judged.retain(|_, relevant| !relevant.is_empty());
        let mut queries = Vec::new();
        each_object(&folder.join("queries.jsonl"), |id, row| {
            if let Some(relevant) = judged.remove(&id) {
                queries.push(JudgedQuery { text: text(row, "text").to_owned(), relevant });
            }
            Ok(())
        })?;
        if let Some(id) = judged.keys().next() {
            anyhow::bail!("query `{id}` of {} is not in queries.jsonl", qrels.display());
        }
        if queries.is_empty() {
            anyhow::bail!("no query has an answer in {}", qrels.display());
        }
        let name = folder.canonicalize().unwrap_or(folder.to_owned());
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, corpus, queries })
    }

    /// Writes the documents to files in `folder` that can be indexed: one row each, with its `_id`
    /// and its texts.
    pub(super) fn copy_corpus(&self, folder: &Path) -> anyhow::Result<CorpusCounts> {
        let mut absent: HashSet<&str> = self
            .queries
            .iter()
            .flat_map(|query| query.relevant.keys().map(String::as_str))
            .collect();
        let (mut seen, mut file, mut text_bytes) = (HashSet::new(), None, 0);
        each_object(&self.corpus, |id, row| {
            absent.remove(id.as_str());
            if seen.len() % DOCUMENTS_PER_FILE == 0 {
                let path = folder.join(format!("{:08}.jsonl", seen.len()));
                file = Some(BufWriter::new(File::create(path)?));
            }
            let mut document = json!({ "_id": id });
            for name in ["title", "text"] {
                let text = text(row, name);
                text_bytes += text.len();
                // Rows with an empty text have no chunk, and are never found.
                if name == "text" || !text.is_empty() {
                    document[name] = text.into();
                }
            }
            anyhow::ensure!(seen.insert(id), "`_id` {} occurs twice", document["_id"]);
            if let Some(file) = &mut file {
                writeln!(file, "{document}")?;
            }
            Ok(())
        })?;
        if let Some(mut file) = file {
            file.flush()?;
        }
        anyhow::ensure!(text_bytes > 0, "no document of {} has a text", self.corpus.display());
        Ok(CorpusCounts { documents: seen.len(), absent: absent.len() })
    }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

/// Calls `each` with the `_id` of every object in a JSONL file, and with the object.
fn each_object(
    path: &Path,
    mut each: impl FnMut(String, &Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let location = || format!("line {number} of {}", path.display());
        let line = line.with_context(location)?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Value = serde_json::from_str(&line).with_context(location)?;
        let id = match &row["_id"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => anyhow::bail!("{} has no `_id`", location()),
        };
        each(id, &row).with_context(location)?;
    }
    Ok(())
}

/// Grades above 0 by query and document, from three columns with or without a header.
fn judgements(path: &Path) -> anyhow::Result<BTreeMap<String, HashMap<String, f64>>> {
    let content = text_file::read(path, MAX_FILE_BYTES)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut judged: BTreeMap<String, HashMap<String, f64>> = BTreeMap::new();
    for (number, line) in (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let grade = match &columns[..] {
            [.., score] if columns.len() == 3 => score.parse::<f64>().ok(),
            _ => None,
        };
        match grade {
            Some(grade) => {
                let relevant = judged.entry(columns[0].to_owned()).or_default();
                if grade > 0.0 {
                    relevant.insert(columns[1].to_owned(), grade);
                }
            }
            None if number == 1 => {}
            None => anyhow::bail!(
                "line {number} of {} is not `query-id`, `corpus-id` and `score`, separated by tabs",
                path.display()
            ),
        }
    }
    Ok(judged)
}
