//! Arguments of the commands that embed texts: where the texts come from, what is computed, and
//! how it is written.

use super::{DeviceArguments, ModelArguments};
use crate::bytes;
use crate::env;
use clap::{ArgAction, Args, ValueEnum};
use kokeshi::{Chunking, EmbeddingType};
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Tokens in a window of late chunking; a longer document runs in several, which overlap by a
    /// quarter, but at most 512 tokens [default: the length up to which the model was trained]
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
    /// Unit of the offsets of chunks that are written next to those in bytes: `utf16` (code units) for
    /// JavaScript, Java and C#
    #[arg(long, value_name = "UNIT", value_enum, default_value_t, requires = "chunk")]
    pub(crate) offsets: OffsetUnit,
    /// Do not write the texts of chunks with their vectors
    #[arg(long, requires = "chunk")]
    pub(crate) no_text: bool,
    /// Output format [default: by the ending of the --output file; otherwise a table on a
    /// terminal, JSONL elsewhere]
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Write to a file instead of standard output (`-`); it appears only when it is complete.
    ///
    /// A folder (a path that ends in `/`) gets one Parquet file for each file of --input, or several
    /// for a large one. What is finished is not embedded again by the next run, so a run can be
    /// killed at any time, and several processes can share the work with --shard.
    #[arg(long, short, value_name = "FILE|FOLDER/")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    // Last, because its heading also applies to the options after it.
    #[command(flatten)]
    pub(crate) tables: TableArguments,
}

/// Options of a folder of Parquet files.
#[derive(Args, Debug)]
#[command(next_help_heading = "Folder of Parquet files as --output")]
pub(crate) struct TableArguments {
    /// Columns that are written with the vectors, as they are, besides the id: names separated by
    /// commas, or `all`
    #[arg(long, value_name = "FIELD,…|all", value_delimiter = ',')]
    pub(crate) keep: Vec<String>,
    /// Column of the document that a row is a part of, with --late-chunking; the rows of a document
    /// are next to each other
    #[arg(long, value_name = "FIELD", requires = "late_chunking")]
    pub(crate) document_field: Option<String>,
    /// Column of the vectors
    #[arg(long, value_name = "FIELD", default_value = "embedding")]
    pub(crate) vector_field: String,
    /// Type of the elements of vectors
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    pub(crate) vector_type: VectorElement,
    /// Embed only the files of process I of N, for example `--shard 2/8`; `auto/8` takes the process's
    /// number from Kubernetes (an indexed job) or Slurm (a job array)
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<ShardChoice>,
    /// Size from which an input file is cut into several, such as `256MiB`: Parquet between row
    /// groups, JSONL between lines [default: 256 MiB]
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse)]
    pub(crate) shard_size: Option<usize>,
}

/// The elements of vectors in Parquet files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VectorElement {
    /// 32-bit floats
    F32,
    /// 16-bit floats
    F16,
    /// Bytes, and a column of scales that they are multiplied by
    Int8,
    /// Signs, packed into signed bytes
    Binary,
    /// Signs, packed into unsigned bytes
    Ubinary,
}

/// One of several processes that share some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardChoice {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) count: usize,
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || "expected a number of N, such as `2/8`, from `1/8` to `8/8`".to_owned();
        let (number, count) = text.split_once('/').ok_or_else(expected)?;
        let count: usize = count.parse().map_err(|_| expected())?;
        if number == "auto" {
            let number = 1 + env::job_index()?;
            let choice = Some(Self { number, count }).filter(|_| number <= count);
            return choice.ok_or_else(|| {
                format!("this is process {number} of its job, but `{text}` has only {count}")
            });
        }
        let number = number.parse().map_err(|_| expected())?;
        let choice = Some(Self { number, count });
        choice.filter(|_| (1..=count).contains(&number)).ok_or_else(expected)
    }
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

/// The unit of a chunk's offsets, next to bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OffsetUnit {
    /// Characters (Unicode scalar values).
    #[default]
    Chars,
    /// UTF-16 code units.
    Utf16,
}

impl OffsetUnit {
    /// The columns of a range.
    pub(crate) fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Chars => ["char_start", "char_end"],
            Self::Utf16 => ["utf16_start", "utf16_end"],
        }
    }
}
