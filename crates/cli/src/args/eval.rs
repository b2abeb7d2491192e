//! Arguments of `kokeshi eval`: which sets, which shares of them, and what is compared.

use super::device::precisions;
use super::{ArithmeticArguments, DeviceArguments, MachineArguments};
use crate::bytes;
use clap::{ArgAction, Args, ValueEnum};
use kokeshi::Precision;
use kokeshi_collections::DocumentChunking;
use kokeshi_store::{Codes, Storage};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct EvalArguments {
    /// Sets of JSON lines, and folders of sets. The shape of a set determines what it measures:
    ///
    /// `sentence1`, `sentence2` with a `score` (sts), with a `label` 0 or 1 (pairs), or alone
    /// (bitext); `text`, `label` in NAME-train.jsonl and NAME-test.jsonl (classification) or in one
    /// file (clustering); a folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (retrieval),
    /// or with `documents.jsonl` and `questions.jsonl` (long).
    #[arg(value_name = "SET", required = true)]
    pub(crate) sets: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shares: ShareArguments,
    #[command(flatten)]
    pub(crate) texts: EvalTextArguments,
    #[command(flatten)]
    pub(crate) classifier: ProbeArguments,
    #[command(flatten)]
    pub(crate) sweep: SweepArguments,
    #[command(flatten)]
    pub(crate) search: EvalSearchArguments,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a web page with charts; it loads nothing from elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// What a set measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(crate) enum EvalKind {
    Sts,
    Pairs,
    Bitext,
    Retrieval,
    Classification,
    Clustering,
    Long,
}

/// What a text is embedded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextUse {
    Sts,
    Pairs,
    Bitext,
    Query,
    Passage,
    Classification,
    Clustering,
}

/// Which sets, and how much of each.
#[derive(Args, Debug)]
pub(crate) struct ShareArguments {
    /// Measure only these kinds of sets, separated by commas: sts, pairs, bitext, retrieval,
    /// classification, clustering, long
    #[arg(long, value_name = "KIND", value_delimiter = ',', hide_possible_values = true)]
    pub(crate) only: Vec<EvalKind>,
    /// Measure only these languages of sets that have one in their names, separated by commas
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) languages: Vec<String>,
    /// Draw at most N pairs, questions or tested texts of each set; of a kind with KIND=N, as in
    /// `sts=600,retrieval=400`. The same ones as Python's `random.Random(SEED).sample` draws
    #[arg(long, value_name = "[KIND=]N", value_delimiter = ',', value_parser = limit)]
    pub(crate) limit: Vec<Limit>,
    /// Seed of --limit, and of the first run of a classification
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Also search the passages of this language with the questions of the other languages of a
    /// set, and the reverse; the ids of both must be equal
    #[arg(long, value_name = "CODE")]
    pub(crate) cross_lingual: Option<String>,
    /// Whether a query finds the document with its own id: not if both have the same text (a query
    /// that is a document of the corpus), never (as BEIR), or always
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SameId::OtherText)]
    pub(crate) same_id: SameId,
}

/// Whether a query finds the document with its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SameId {
    /// If it has another text
    OtherText,
    /// Never
    Never,
    /// Always
    Always,
}

/// A limit of a kind, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) kind: Option<EvalKind>,
    pub(crate) count: usize,
}

/// A task of a use, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UseTask {
    pub(crate) text_use: Option<TextUse>,
    /// `None` for no task.
    pub(crate) task: Option<String>,
}

/// How the texts of sets become vectors.
#[derive(Args, Debug)]
pub(crate) struct EvalTextArguments {
    /// Task of all texts, or with USE=TASK of some: sts, pairs, bitext, query, passage,
    /// classification, clustering; `none` is no task [default: text-matching for sts and bitext,
    /// classification for pairs and classification, separation for clustering, retrieval.query and
    /// retrieval.passage, if the model has them]
    #[arg(long, value_name = "[USE=]TASK", value_delimiter = ',', value_parser = use_task)]
    pub(crate) task: Vec<UseTask>,
    /// Omit the instruction that the task puts before each text
    #[arg(long)]
    pub(crate) no_instruction: bool,
    /// Truncate texts to N tokens, special tokens and instruction included [default: the model's
    /// limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..))]
    pub(crate) max_tokens: Option<u32>,
    /// Put the title of a passage before its text
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) title: bool,
}

/// How classification is measured.
#[derive(Args, Debug)]
pub(crate) struct ProbeArguments {
    /// Examples of each label in a run of a classification
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_label: u32,
    /// Runs of a classification, each with other examples
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Inverse of the penalty of the logistic regression, the `C` of scikit-learn
    #[arg(long, value_name = "C", default_value_t = 1.0, value_parser = positive)]
    pub(crate) inverse_penalty: f64,
}

/// What is compared.
#[derive(Args, Debug)]
pub(crate) struct SweepArguments {
    /// Known name (see `kokeshi models list`), hub id `owner/name[@revision]`, or folder of the
    /// model
    #[arg(long, value_name = "MODEL", default_value = "starter")]
    pub(crate) model: String,
    /// Keep only the first N dimensions of each vector; several, separated by commas, are compared,
    /// and computed in one pass
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) dimensions: Vec<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    /// Precision of products; several, separated by commas, are compared [default: `bf16` if the
    /// model is stored in bf16 and the processor can multiply it, otherwise `f32`; on a card
    /// `bf16`, or `f16` on older ones]
    #[arg(
        long,
        value_name = "PRECISION",
        value_delimiter = ',',
        value_parser = precisions(),
        env = "KOKESHI_PRECISION"
    )]
    pub(crate) precision: Vec<Precision>,
    /// Memory limit for the model, such as `4GB` or `1.5GiB` [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse, env = "KOKESHI_MEMORY_BUDGET")]
    pub(crate) memory_budget: Option<usize>,
}

impl SweepArguments {
    /// The device with one of the precisions.
    pub(crate) fn device(&self, precision: Option<Precision>) -> DeviceArguments {
        let arithmetic = ArithmeticArguments { machine: self.machine, precision };
        DeviceArguments { arithmetic, memory_budget: self.memory_budget, check_model: false }
    }
}

/// How retrieval sets are indexed and searched, and how long documents are cut.
#[derive(Args, Debug)]
pub(crate) struct EvalSearchArguments {
    /// Also compare the methods of `kokeshi search` on retrieval sets: late chunking and each chunk
    /// alone, each dense and hybrid, at the first of --dimensions [default: true, but false for the
    /// sets of a folder of sets, unless --late-chunking, --storage or --shortlist is given]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) search: Option<bool>,
    /// How documents are cut into chunks for search and for long sets, as in `kokeshi index`
    /// [default: `structure:256`]
    #[arg(long, value_name = "HOW")]
    pub(crate) chunk: Option<DocumentChunking>,
    /// Search only with late chunking, or only without it [default: both]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) late_chunking: Option<bool>,
    /// Tokens in a window of late chunking, in long sets [default: the length up to which the
    /// model was trained]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..))]
    pub(crate) window: Option<u32>,
    /// How search stores vectors: `f32`, `f16`, `int8` or `bits` [default: `f16`]
    #[arg(long, value_name = "TYPE")]
    pub(crate) storage: Option<Storage>,
    /// Also store compressed codes that pick a short list: `bits`, `int8`, or `int8:256`
    #[arg(long, value_name = "CODES")]
    pub(crate) shortlist: Option<Codes>,
}

impl EvalSearchArguments {
    /// Whether the methods of search are compared on a set that was named itself, or is in a folder
    /// of sets.
    pub(crate) fn applies(&self, is_named: bool) -> bool {
        let has_option =
            self.late_chunking.is_some() || self.storage.is_some() || self.shortlist.is_some();
        self.search.unwrap_or(is_named || has_option)
    }
}

/// Parses `N` or `KIND=N`.
fn limit(text: &str) -> Result<Limit, String> {
    let (kind, count) = match text.split_once('=') {
        Some((kind, count)) => (Some(EvalKind::from_str(kind.trim(), false)?), count),
        None => (None, text),
    };
    let count = count.trim().parse().ok().filter(|count| *count > 0);
    let count = count.ok_or("expected a number above 0, such as `600` or `sts=600`")?;
    Ok(Limit { kind, count })
}

/// Parses `TASK` or `USE=TASK`.
fn use_task(text: &str) -> Result<UseTask, String> {
    let (text_use, task) = match text.split_once('=') {
        Some((text_use, task)) => (Some(TextUse::from_str(text_use.trim(), false)?), task),
        None => (None, text),
    };
    let task = task.trim();
    if task.is_empty() {
        return Err("expected a task, such as `text-matching` or `none`".to_owned());
    }
    Ok(UseTask { text_use, task: (task != "none").then(|| task.to_owned()) })
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_tasks_are_of_one_kind_or_of_all() {
        assert_eq!(limit("600"), Ok(Limit { kind: None, count: 600 }));
        assert_eq!(limit("sts=7"), Ok(Limit { kind: Some(EvalKind::Sts), count: 7 }));
        for wrong in ["0", "sts=", "x=3", "-1", ""] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
        let task = Some("separation".to_owned());
        assert_eq!(use_task("separation"), Ok(UseTask { text_use: None, task: task.clone() }));
        let text_use = Some(TextUse::Query);
        assert_eq!(use_task("query=none"), Ok(UseTask { text_use, task: None }));
        assert!(use_task("queries=none").is_err() && use_task("sts=").is_err());
        assert!(positive("0").is_err() && positive("inf").is_err() && positive("0.5") == Ok(0.5));
    }
}
