//! Arguments of the commands that embed texts: where the texts come from, what is computed, and
//! how it is written.

use super::{DeviceArguments, ModelArguments};
use clap::{ArgAction, Args, ValueEnum};
use kokeshi::{Chunking, EmbeddingType};
use std::path::PathBuf;

/// The texts: arguments, files or standard input.
#[derive(Args, Debug)]
pub(crate) struct InputArguments {
    /// Texts, or `-` for standard input, which is also read if there are neither arguments nor
    /// --input
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
    /// Read texts from a file, a glob such as `'notes/*.md'`, or `-` for standard input; repeatable
    #[arg(long, value_name = "FILE|GLOB")]
    pub(crate) input: Vec<String>,
    /// Format of files and standard input.
    ///
    /// By default, files that end in `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` and `.parquet`
    /// are read as such, any other file is one document, and standard input has one text per line.
    /// With --chunk, standard input is one document too; with --late-chunking alone, each line of a
    /// file is a part of one document. Input compressed by gzip or Zstandard is decompressed.
    #[arg(long, value_enum)]
    pub(crate) input_format: Option<InputFormat>,
    /// Field or column of the text, in JSON, tables and Parquet [default: the first of `text`,
    /// `content`, `body`, `passage` and `abstract` that is not empty]
    #[arg(long, value_name = "FIELD")]
    pub(crate) text_field: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One text per line, blank lines included: vector n belongs to line n
    Lines,
    /// One JSON string or object with a text per line
    Jsonl,
    /// One text per file
    Document,
    /// An array of JSON strings or objects with a text
    Json,
    /// A table with a header, whose fields may be quoted, separated by `,`, `;`, tab or `|`
    Csv,
    /// A table with a header, whose fields are separated by tabs
    Tsv,
    /// A Parquet file
    Parquet,
}

/// How texts are encoded. Names and defaults are those of the Jina embeddings API.
#[derive(Args, Debug)]
pub(crate) struct EncodingArguments {
    /// Keep only the first N dimensions of each vector; not for jina-embeddings-v2, which was not
    /// trained for it
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// Truncate texts that are over the model's limit, with a warning, instead of failing
    #[arg(long)]
    pub(crate) truncate: bool,
    /// Omit the instruction that the task puts before each text
    #[arg(long)]
    pub(crate) no_instruction: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EmbedArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Task of the model, such as `retrieval.query`; without one, the base weights are used
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Scale vectors to unit length
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) normalized: bool,
    /// Cut documents into chunks with a vector each: `tokens:256`, `sentences`, `sentences:3`,
    /// `lines`, `paragraphs`, or `semantic:512` (the largest units of at most 512 tokens)
    #[arg(long, value_name = "HOW")]
    pub(crate) chunk: Option<Chunking>,
    /// Pool each chunk's vector from one pass over the whole document, so that it reflects its
    /// context.
    ///
    /// Without --chunk, the texts of one source (the command line, standard input, a file) are the
    /// parts of one document, joined by spaces. The hosted API offers late chunking with
    /// jina-embeddings-v3 only; here it also works with jina-embeddings-v2.
    #[arg(long)]
    pub(crate) late_chunking: bool,
    /// Tokens in a window of late chunking, which a longer document takes several of, a quarter
    /// overlapping (512 tokens at most) [default: the length up to which the model was trained]
    #[arg(long, value_name = "TOKENS", requires = "late_chunking")]
    pub(crate) window: Option<usize>,
    /// Encoding of vectors: `float`, `base64` (little-endian f32), `binary` or `ubinary` (packed
    /// sign bits); several, separated by commas, write each vector as an object
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "float")]
    pub(crate) embedding_type: Vec<EmbeddingType>,
    /// Field or column of the id of each record, which is written with its vector [default: `id` or
    /// `_id`, if a record has one]
    #[arg(long, value_name = "FIELD")]
    pub(crate) id_field: Option<String>,
    /// Do not write the texts of chunks with their vectors
    #[arg(long, requires = "chunk")]
    pub(crate) no_text: bool,
    /// Output format [default: by the ending of the --output file; otherwise a table on a
    /// terminal, JSONL elsewhere]
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Write to a file instead of standard output (`-`); it appears only when it is complete
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// One object, like the response of the Jina API
    Json,
    /// One object per vector
    Jsonl,
    /// A NumPy array, [vectors, dimensions]
    Npy,
    /// One row per vector, one column per dimension
    Csv,
    /// The texts and the first values of their vectors, for people
    Table,
}

#[derive(Args, Debug)]
#[command(arg(super::long_quiet()))]
pub(crate) struct SimilarityArguments {
    #[command(flatten)]
    pub(crate) input: InputArguments,
    /// Keep blank texts, which are similar to everything
    #[arg(long)]
    pub(crate) keep_blank: bool,
    /// Rank the texts by similarity to this query; without it, compare all texts with each other
    #[arg(long, short)]
    pub(crate) query: Option<String>,
    /// Task for all texts [default: `retrieval.query` and `retrieval.passage` with --query,
    /// otherwise `text-matching`, if the model has them]
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArguments,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the picture to an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Also write the picture to a web page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Known name, hub id or folder of the model; repeat to compare two models side by side.
    ///
    /// The comparison shows what a migration from the first model to the second changes for these
    /// texts. Ranks can be compared between models; scores cannot, because each model has its own
    /// scale.
    #[arg(long = "model", value_name = "MODEL", default_value = "starter")]
    pub(crate) models: Vec<String>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}
