//! Arguments of the commands that sort many texts: groups, classes, duplicates.

use super::{DeviceArguments, EncodingArguments, InputArguments, ModelArguments};
use crate::bytes;
use clap::{Args, ValueEnum};
use kokeshi_store::Address;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct ClusterArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Group the documents of this collection (see `kokeshi index`) instead of texts
    #[arg(long, value_name = "NAME", conflicts_with_all = ["texts", "input", "input_format"])]
    pub(crate) collection: Option<String>,
    /// Store of --collection [default: `.kokeshi/index.db` in the current folder or one above]
    #[arg(long, value_name = "STORE", requires = "collection")]
    pub(crate) store: Option<Address>,
    /// Keep blank texts, which are similar to everything
    #[arg(long)]
    pub(crate) keep_blank: bool,
    /// Number of groups [default: the number from 2 to 40 with the largest silhouette]
    #[arg(long, short = 'k', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) groups: Option<u32>,
    /// Task for all texts [default: `separation` if the model has it]
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Number of texts to show per group, the nearest to its centre first
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) examples: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a web page with a map of the texts; it loads nothing from elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Projection of the page's map
    #[arg(long, value_enum, default_value_t = MapKind::Pca, requires = "html")]
    pub(crate) map: MapKind,
    /// Known name, hub id or folder of the model [default: the collection's model, or `starter`]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapKind {
    /// The two directions in which the texts differ most: distances keep their meaning
    Pca,
    /// t-SNE: neighbours stay neighbours, distances between groups mean little
    Tsne,
}

#[derive(Args, Debug)]
pub(crate) struct ClassifyArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Choose among these labels by their meaning alone
    #[arg(
        long,
        value_name = "LABEL,…",
        value_delimiter = ',',
        required_unless_present_any = ["train", "classifier"],
        conflicts_with_all = ["train", "classifier"]
    )]
    pub(crate) labels: Vec<String>,
    /// Learn from examples: a JSONL or JSON file of objects with a text and a label, or a CSV, TSV
    /// or Parquet file with such columns; see --text-field and --label-field
    #[arg(long, value_name = "FILE", conflicts_with = "classifier")]
    pub(crate) train: Option<PathBuf>,
    /// Use a classifier that was written with --save
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task", "dimensions", "no_instruction"])]
    pub(crate) classifier: Option<PathBuf>,
    /// Write the classifier to a file, or to standard output with `-`; texts are then optional
    #[arg(long, value_name = "FILE", requires = "train")]
    pub(crate) save: Option<PathBuf>,
    /// Maximum number of training steps
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "train")]
    pub(crate) steps: usize,
    /// Field or column of the true label in --input files: adds accuracy, F1 and a confusion matrix
    #[arg(long, value_name = "FIELD", requires = "input")]
    pub(crate) truth: Option<String>,
    /// Field or column of the label, in the file of --train
    #[arg(long, value_name = "FIELD", default_value = "label")]
    pub(crate) label_field: String,
    /// Task for all texts and labels [default: `classification` if the model has it]
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Number of labels to show per text, the most likely first
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) top: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Known name, hub id or folder of the model [default: the classifier's model, or `starter`]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct DedupeArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Drop a text whose cosine to a kept text is this or more
    #[arg(long, value_name = "COSINE", default_value_t = 0.9, value_parser = cosine)]
    pub(crate) threshold: f32,
    /// Write the kept texts to a file, which appears only when it is complete: lines unchanged, and
    /// files by their paths [default: standard output, unless --groups or --json is given]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the dropped texts, each with the kept text that it repeats
    #[arg(long, conflicts_with = "json")]
    pub(crate) groups: bool,
    /// Print JSON, with both kept and dropped texts
    #[arg(long)]
    pub(crate) json: bool,
    /// Compare each text with all kept texts, however many there are
    #[arg(long)]
    pub(crate) exact: bool,
    /// Memory limit for the vectors of kept texts
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse, default_value = "4GB")]
    pub(crate) vector_memory: usize,
    /// Task for all texts [default: `text-matching` if the model has it]
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
}

fn cosine(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|cosine| *cosine > 0.0 && *cosine <= 1.0);
    number.ok_or_else(|| "expected a cosine above 0 and up to 1, such as 0.9".to_owned())
}
