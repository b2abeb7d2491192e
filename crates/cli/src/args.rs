//! The command line: definitions and the prose of `--help`, nothing else.

mod collection;
mod migrate;
mod tasks;

pub(crate) use collection::*;
pub(crate) use migrate::*;
pub(crate) use tasks::*;

use crate::bytes;
use crate::commands::serve::ServeArguments;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use kokeshi::{Chunking, EmbeddingType, Level, Precision, SyntheticShape};
use std::path::PathBuf;
use std::time::Duration;

/// Text embeddings with jina-embeddings-v3 and jina-embeddings-v2, on this machine.
#[derive(Debug, Parser)]
#[command(name = "kokeshi", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the embeddings of texts, or of the chunks of documents
    Embed(EmbedArguments),
    /// Rank texts against a query, or compare texts with each other
    Similarity(SimilarityArguments),
    /// Find groups of texts that are about the same, and name them
    Cluster(ClusterArguments),
    /// Say which of some labels fits each text, by meaning or by examples
    Classify(Box<ClassifyArguments>),
    /// Leave out texts that say what another one says, in any language of the model
    Dedupe(DedupeArguments),
    /// Serve models over HTTP, as the APIs of Jina, OpenAI, TEI, Ollama and Cohere
    Serve(Box<ServeArguments>),
    /// Make files searchable, and keep what is searchable up to date
    Index(IndexArguments),
    /// Find what files say about something, by meaning and on request by words
    Search(SearchArguments),
    /// Show what is indexed, how, and whether it is up to date
    Status(StatusArguments),
    /// Index, and again whenever a file changes, until Ctrl-C
    Watch(WatchArguments),
    /// Make an approximate index of a very large collection in a file, and measure its recall
    Near(NearArguments),
    /// Take files out of a collection, or remove the collection; the files themselves stay
    Forget(ForgetArguments),
    /// Move a collection from one model to another beside the old one, checked, and with a way back
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Measure how well questions find their answers, where answers are known
    Eval(EvalArguments),
    /// Measure a model's speed, beside what this machine could reach
    Bench(BenchArguments),
    /// List, download, inspect and verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Print the text of a PDF file or web page that standard input holds, within limits
    #[command(hide = true)]
    Extract(ExtractArguments),
}

/// Which model runs.
#[derive(Args, Debug)]
pub(crate) struct ModelArguments {
    /// A known name (see `kokeshi models list`), a hub id `owner/name[@revision]`, or a folder
    #[arg(long, value_name = "MODEL", default_value = "starter")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

/// What models run on, and how much of it they may take.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DeviceArguments {
    #[command(flatten)]
    pub(crate) arithmetic: ArithmeticArguments,
    /// Memory that loaded models may take together, such as `4GB` or `1.5GiB`; the default is no
    /// limit. When the next model does not fit beside the others, those used longest ago make room
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse, env = "KOKESHI_MEMORY_BUDGET")]
    pub(crate) memory_budget: Option<usize>,
}

/// What computes, and how.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ArithmeticArguments {
    /// What computes: `cpu`, an NVIDIA card (`cuda`, or `cuda:1` for the second), `auto` for a card if
    /// there is one, or `reference` for the plain loops that define what is right
    #[arg(
        long,
        value_name = "DEVICE",
        value_parser = DeviceKind::parse,
        default_value = "auto",
        env = "KOKESHI_DEVICE"
    )]
    pub(crate) device: DeviceKind,
    /// Worker threads; the default is one a core. The vectors do not depend on it
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..),
        env = "KOKESHI_THREADS"
    )]
    pub(crate) threads: Option<u16>,
    /// Instruction set; the default is the fastest that this processor has
    #[arg(long, value_name = "LEVEL", value_parser = level, env = "KOKESHI_SIMD_LEVEL")]
    pub(crate) simd_level: Option<Level>,
    /// How products are computed; the default is `bf16` where the model is stored so and the
    /// processor multiplies it, else `f32`; on a card `bf16`, and `f16` on old ones
    #[arg(long, value_name = "PRECISION", value_parser = precisions(), env = "KOKESHI_PRECISION")]
    pub(crate) precision: Option<Precision>,
}

/// Parses a precision, and describes each to the help.
fn precisions() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: Precision| {
        PossibleValue::new(precision.name()).help(match precision {
            Precision::F32 => "As exact as the published implementation in f32",
            Precision::Bf16 => {
                "Factors are rounded to bf16: vectors move by less than 0.0002 in cosine"
            }
            Precision::F16 => "On a card: states and weights in f16",
            Precision::Int8 => {
                "Linear layers in eight bits: half the memory of bf16; vectors move by less than 0.005 in \
                 cosine"
            }
        })
    };
    PossibleValuesParser::new(Precision::ALL.map(value)).try_map(|name| name.parse::<Precision>())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Auto,
    Cpu,
    Cuda(usize),
    Reference,
}

impl DeviceKind {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "reference" => Ok(Self::Reference),
            _ => {
                let ordinal = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                let known = "it is auto, cpu, cuda, cuda:N (N is the number of a card, from 0) or reference";
                ordinal.map(Self::Cuda).ok_or_else(|| known.to_owned())
            }
        }
    }
}

/// A level that this processor can run.
fn level(name: &str) -> Result<Level, String> {
    one_of(Level::ALL.into_iter().filter(|level| level.is_available()), Level::name, name)
}

/// Where texts come from.
#[derive(Args, Debug)]
pub(crate) struct InputArguments {
    /// Texts; without any, and without --input, they are read from standard input
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
    /// Read texts from a file, a glob such as `'notes/*.md'`, or `-` for standard input; may be
    /// given several times
    #[arg(long, value_name = "FILE|GLOB")]
    pub(crate) input: Vec<String>,
    /// What files and standard input hold.
    ///
    /// Without it: `.jsonl` and `.ndjson` files are JSONL; any other file is one document; standard
    /// input is one text a line. With --chunk, standard input is one document as well; with
    /// --late-chunking alone, each line of a file is a part of it.
    #[arg(long, value_enum)]
    pub(crate) input_format: Option<InputFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Every line is a text, blank ones too: vector n belongs to line n
    Lines,
    /// Every line is a JSON string, or an object with a `text` field
    Jsonl,
    /// The whole file is one text
    Document,
}

/// What is computed. Names and defaults are those of the Jina embeddings API.
#[derive(Args, Debug)]
pub(crate) struct EncodingArguments {
    /// Keep only the first N dimensions of each vector; jina-embeddings-v2 was not trained for it
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// Cut the tail off texts beyond the model's limit, with a warning, instead of failing
    #[arg(long)]
    pub(crate) truncate: bool,
    /// Leave out the instruction that the task puts before each text
    #[arg(long)]
    pub(crate) no_instruction: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EmbedArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Task of the model, such as `retrieval.query`; without one, the base weights run
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Scale vectors to unit length
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) normalized: bool,
    /// Cut documents: `tokens:256`, `sentences`, `sentences:3`, `lines`, `paragraphs`, or
    /// `semantic:512` (the largest units of at most 512 tokens). One vector a chunk
    #[arg(long, value_name = "HOW")]
    pub(crate) chunk: Option<Chunking>,
    /// Pool each vector from one pass over the whole document, so that chunks know their context.
    ///
    /// Without --chunk, the texts of one source (the command line, standard input, a file) are the
    /// parts of one document, joined by spaces. The hosted API has it for jina-embeddings-v3 only;
    /// here jina-embeddings-v2 has it too.
    #[arg(long)]
    pub(crate) late_chunking: bool,
    /// How vectors are written: `float`, `base64` (little-endian f32), `binary` or `ubinary`
    /// (packed sign bits). Several, separated by commas, make each vector an object
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "float")]
    pub(crate) embedding_type: Vec<EmbeddingType>,
    /// Output format; the default is a table on a terminal, what the name of the --output file
    /// says, and JSONL elsewhere
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Write to a file, which appears only when it is complete, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// One object like the response of the Jina API
    Json,
    /// One object a vector
    Jsonl,
    /// A NumPy array, [vectors, dimensions]
    Npy,
    /// One row a vector, one column a dimension
    Csv,
    /// For people: the texts and the first values of their vectors
    Table,
}

#[derive(Args, Debug)]
pub(crate) struct SimilarityArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Rank the texts against this query; without it, all texts are compared with each other
    #[arg(long, short)]
    pub(crate) query: Option<String>,
    /// Task for all texts. Without it, where a model has them: `retrieval.query` and
    /// `retrieval.passage` with --query, else `text-matching`
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also draw the picture into an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Also draw the picture into a web page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// A known name, a hub id or a folder. Given twice, both models' results stand side by side:
    /// what changes for these texts with a migration from the first to the second.
    ///
    /// Ranks can be compared between models; scores cannot, because each model has a scale of its
    /// own.
    #[arg(long = "model", value_name = "MODEL", default_value = "starter")]
    pub(crate) models: Vec<String>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    /// A known name, a hub id or a folder; it needs no tokenizer, since token ids are drawn at
    /// random
    #[arg(long, value_name = "MODEL", default_value = "starter")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) arithmetic: ArithmeticArguments,
    /// Time every batch once, instead of for a second and three times at least
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print JSON, with the time of every run
    #[arg(long)]
    pub(crate) json: bool,
    /// Also draw the shares of the floor into an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Measure memory instead of time: what is resident beside the pages of mapped files after
    /// loading, with a batch of 8×512 tokens, and after BATCHES of 1 to 8 texts of 8 to 512 tokens
    #[arg(
        long,
        value_name = "BATCHES",
        num_args = 0..=1,
        default_missing_value = "1000",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["quick", "svg"]
    )]
    pub(crate) memory: Option<u32>,
    /// Print the batches instead of timing them, so that other programs can be timed over the same
    /// tokens: a line of JSON each, with the token ids and the task of every text
    #[arg(long, conflicts_with_all = ["quick", "json", "svg", "memory"])]
    pub(crate) print_batches: bool,
    /// Run batches from standard input, in the form of --print-batches, each once and as soon as it
    /// is there; answer with lines of JSON: first what computes, then for each batch the seconds of
    /// its pass and the mean state of each text
    #[arg(long, conflicts_with_all = ["quick", "json", "svg", "memory", "print_batches"])]
    pub(crate) read_batches: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Show the known models, and which of them are on this machine
    List(ListArguments),
    /// Download a model into the cache that Hugging Face tools share
    Pull(PullArguments),
    /// Show a model's configuration, tensors, tasks, tokenizer and licence
    Info(InfoArguments),
    /// Compare a model with vectors published for the released weights; products are in f32 unless
    /// --precision says otherwise
    Verify(VerifyArguments),
    /// Write a checkpoint with random weights, to see size, memory and speed without a download
    Synthesize(SynthesizeArguments),
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PullArguments {
    /// A known name or a hub id `owner/name[@revision]`
    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct InfoArguments {
    /// A known name, a hub id, or a folder
    #[arg(default_value = "starter")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// A known name, a hub id, or a folder
    #[arg(default_value = "jina-embeddings-v3")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct SynthesizeArguments {
    /// The folder to create
    pub(crate) folder: PathBuf,
    /// `v3` as released (1.1 GB), `tiny` of the same architecture, or `v2-base`
    #[arg(long, default_value = SyntheticShape::V3.name(), value_parser = shape)]
    pub(crate) shape: SyntheticShape,
    /// Seed of the weights; the same seed writes the same file
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn shape(name: &str) -> Result<SyntheticShape, String> {
    one_of(SyntheticShape::ALL, SyntheticShape::name, name)
}

/// A number of seconds, such as `30` or `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    number.filter(|time| !time.is_zero()).ok_or_else(|| "expected seconds, above 0".to_owned())
}

/// The value called `name`, or which names there are.
fn one_of<T: Copy>(
    values: impl IntoIterator<Item = T>,
    name_of: fn(T) -> &'static str,
    name: &str,
) -> Result<T, String> {
    let values: Vec<T> = values.into_iter().collect();
    values.iter().copied().find(|&value| name_of(value) == name).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|&value| format!("`{}`", name_of(value))).collect();
        format!("expected {}", names.join(" or "))
    })
}
