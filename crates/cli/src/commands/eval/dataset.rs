//! A retrieval set in the layout of BEIR: `corpus.jsonl`, `queries.jsonl` and judgements.

use super::rows;
use super::share::Share;
use crate::args::SameId;
use crate::failure::hinted;
use crate::text_file;
use anyhow::Context;
use kokeshi_documents::MAX_FILE_BYTES;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Documents in one file to index: few enough to fit in memory at any length.
const DOCUMENTS_PER_FILE: usize = 500;

/// A set: documents, queries and judgements.
#[derive(Debug)]
pub(super) struct Dataset {
    corpus: PathBuf,
    /// Queries that have judgements.
    pub(super) queries: Vec<JudgedQuery>,
    same_id: SameId,
}

/// A query and its answers.
#[derive(Debug)]
pub(super) struct JudgedQuery {
    pub(super) id: String,
    pub(super) text: String,
    /// Documents that answer it, each with a grade above 0.
    pub(super) relevant: HashMap<String, f64>,
    /// Whether the document with its id is not to be found by it.
    pub(super) leaves_out_own: bool,
}

/// A document of a corpus.
pub(super) struct CorpusDocument {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) text: String,
}

/// Counts of a corpus.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CorpusCounts {
    pub(super) documents: usize,
    /// Documents that are judged as answers but are not in the corpus.
    pub(super) absent: usize,
    /// Queries that are documents of the corpus, which they do not find.
    pub(super) own: usize,
    /// Queries with the id of a document with another text.
    pub(super) namesakes: usize,
    pub(super) bytes: usize,
}

impl CorpusDocument {
    /// Its text, after its title if `with_title`.
    pub(super) fn passage(&self, with_title: bool) -> String {
        if with_title {
            format!("{} {}", self.title, self.text).trim().to_owned()
        } else {
            self.text.clone()
        }
    }

    /// Whether a query is this document: the words of its text are the same, with the title or
    /// without.
    fn is_query(&self, query: &str) -> bool {
        let text = || self.text.split_whitespace();
        query.split_whitespace().eq(text())
            || query.split_whitespace().eq(self.title.split_whitespace().chain(text()))
    }
}

impl Dataset {
    /// Reads queries and judgements; a share of the queries is drawn from their sorted ids.
    pub(super) fn read(folder: &Path, share: Share, same_id: SameId) -> anyhow::Result<Self> {
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
        rows::each(&folder.join("queries.jsonl"), |mut row| {
            let id = row.name("_id")?;
            if let Some(relevant) = judged.remove(&id) {
                let text = row.text("text")?;
                queries.push(JudgedQuery { id, text, relevant, leaves_out_own: false });
            }
            Ok(())
        })?;
        if let Some(id) = judged.keys().next() {
            anyhow::bail!("query `{id}` of {} is not in queries.jsonl", qrels.display());
        }
        if queries.is_empty() {
            anyhow::bail!("no query has an answer in {}", qrels.display());
        }
        Ok(Self { corpus, queries: drawn(queries, share), same_id })
    }

    /// Calls `each` with every document, in order. Afterwards it is known which queries leave their
    /// own document out.
    pub(super) fn documents(
        &mut self,
        mut each: impl FnMut(CorpusDocument) -> anyhow::Result<()>,
    ) -> anyhow::Result<CorpusCounts> {
        let ids = |query: &JudgedQuery| query.relevant.keys().cloned().collect::<Vec<_>>();
        let mut absent: HashSet<String> = self.queries.iter().flat_map(ids).collect();
        let numbered = self.queries.iter().enumerate();
        let numbers: HashMap<String, usize> =
            numbered.map(|(number, query)| (query.id.clone(), number)).collect();
        let (mut seen, mut counts) = (HashSet::new(), CorpusCounts::default());
        let (queries, same_id) = (&mut self.queries, self.same_id);
        rows::each(&self.corpus, |mut row| {
            let id = row.name("_id")?;
            anyhow::ensure!(
                seen.insert(id.clone()),
                "{}: `_id` {} occurs twice",
                row.location(),
                json!(id)
            );
            absent.remove(&id);
            let (title, text) = (row.optional_text("title")?, row.optional_text("text")?);
            counts.bytes += title.len() + text.len();
            let document = CorpusDocument { id, title, text };
            if let Some(&number) = numbers.get(&document.id) {
                let query = &mut queries[number];
                let is_same = document.is_query(&query.text);
                query.leaves_out_own = match same_id {
                    SameId::OtherText => is_same,
                    SameId::Never => true,
                    SameId::Always => false,
                };
                counts.own += usize::from(query.leaves_out_own);
                counts.namesakes += usize::from(!is_same);
            }
            each(document)
        })?;
        let corpus = self.corpus.display();
        anyhow::ensure!(counts.bytes > 0, "no document of {corpus} has a text");
        Ok(CorpusCounts { documents: seen.len(), absent: absent.len(), ..counts })
    }

    /// Writes the documents to files in `folder` that can be indexed: one row each, with its `_id`
    /// and its texts.
    pub(super) fn copy_corpus(&mut self, folder: &Path) -> anyhow::Result<CorpusCounts> {
        let (mut count, mut file) = (0_usize, None);
        let counts = self.documents(|document| {
            if count.is_multiple_of(DOCUMENTS_PER_FILE) {
                let path = folder.join(format!("{count:08}.jsonl"));
                file = Some(BufWriter::new(File::create(path)?));
            }
            count += 1;
            let CorpusDocument { id, title, text } = document;
            let mut row = json!({ "_id": id });
            // Rows with an empty text have no chunk, and are never found.
            if !title.is_empty() {
                row["title"] = title.into();
            }
            row["text"] = text.into();
            if let Some(file) = &mut file {
                writeln!(file, "{row}")?;
            }
            Ok(())
        })?;
        if let Some(mut file) = file {
            file.flush()?;
        }
        Ok(counts)
    }
}

impl JudgedQuery {
    /// The first `depth` documents that it may find.
    pub(super) fn allowed(&self, ids: impl Iterator<Item = String>, depth: usize) -> Vec<String> {
        ids.filter(|id| !(self.leaves_out_own && *id == self.id)).take(depth).collect()
    }
}

/// A share of `queries`, drawn from their sorted ids.
fn drawn(mut queries: Vec<JudgedQuery>, share: Share) -> Vec<JudgedQuery> {
    let mut ids: Vec<String> = queries.iter().map(|query| query.id.clone()).collect();
    ids.sort_unstable();
    let ids: HashSet<String> = share.draw(ids).into_iter().collect();
    queries.retain(|query| ids.contains(&query.id));
    queries
}

/// Grades above 0 by query and document, from three columns with or without a header.
fn judgements(path: &Path) -> anyhow::Result<BTreeMap<String, HashMap<String, f64>>> {
    let content = text_file::read(path, MAX_FILE_BYTES)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut judged: BTreeMap<String, HashMap<String, f64>> = BTreeMap::new();
    for (number, line) in (1..)
        .zip(content.trim_start_matches('\u{feff}').lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
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
