//! Arguments of the commands that maintain and search collections.

use super::DeviceArguments;
use clap::{ArgAction, Args, ValueEnum};
use kokeshi_collections::{DEFAULT_COLLECTION, DocumentChunking};
use kokeshi_store::{Address, Codes, Condition, Storage};
use std::path::PathBuf;

/// A collection of a store.
#[derive(Args, Debug)]
pub(crate) struct CollectionArguments {
    /// Store: a file, or a server (`postgres://…`, `qdrant://…`, `milvus://…`, `chroma://…`)
    /// [default: `.kokeshi/index.db` in the indexed folder or one above]
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Collection in the store, or an alias; each collection has its own model
    #[arg(long, value_name = "NAME", default_value = DEFAULT_COLLECTION)]
    pub(crate) collection: String,
}

/// How vectors are produced and stored. An existing collection keeps its options: other values are
/// refused.
#[derive(Args, Clone, Debug)]
pub(crate) struct VectorArguments {
    /// Known name (see `kokeshi models list`), hub id or folder of the model [default: `starter`]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Keep only the first N dimensions of each vector
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// How vectors are stored: `f32`, `f16`, `int8` or `bits` [default: `f16`]
    #[arg(long, value_name = "TYPE")]
    pub(crate) storage: Option<Storage>,
    /// Also store compressed codes that pick a short list, for large collections: `bits`, `int8`,
    /// or `int8:256` (the first 256 dimensions). Scores are computed from the vectors
    #[arg(long, value_name = "CODES")]
    pub(crate) shortlist: Option<Codes>,
    /// How documents are cut into chunks: `structure:256` (at headings, list items, paragraphs and
    /// sentences, about 256 tokens each), or as in `kokeshi embed` [default: `structure:256`]
    #[arg(long, value_name = "HOW")]
    pub(crate) chunk: Option<DocumentChunking>,
    /// Pool each chunk's vector from one pass over the whole document, so that it reflects its
    /// context [default: true; `kokeshi eval` compares both]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) late_chunking: Option<bool>,
}

/// Which files are indexed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WalkArguments {
    /// Also index hidden files and folders
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Also index files that `.gitignore`, `.ignore` and the like exclude
    #[arg(long)]
    pub(crate) no_ignore: bool,
    /// Index only files that match the glob, or with a leading `!`, that do not match; repeatable
    #[arg(long, short, value_name = "GLOB")]
    pub(crate) glob: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct IndexArguments {
    /// Files and folders to index [default: those that were indexed into the collection before]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Also remove the documents of folders that are missing, empty or cannot be read
    #[arg(long)]
    pub(crate) prune_missing: bool,
    /// Move the documents of indexes in folders below into this one, and remove those indexes
    #[arg(long, requires = "paths")]
    pub(crate) take_over: bool,
    #[command(flatten)]
    pub(crate) collection: CollectionArguments,
    #[command(flatten)]
    pub(crate) walk: WalkArguments,
    #[command(flatten)]
    pub(crate) vectors: VectorArguments,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct SearchArguments {
    /// Text to search for, in any language that the model supports
    pub(crate) query: String,
    /// Search only these files and folders
    #[arg(value_name = "PATH")]
    pub(crate) within: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) collection: CollectionArguments,
    /// Maximum number of results
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
    /// Minimum cosine of a result
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) min_score: Option<f32>,
    /// Search only documents whose path matches the glob, or with a leading `!`, does not match;
    /// repeatable
    #[arg(long, value_name = "GLOB")]
    pub(crate) path: Vec<String>,
    /// Search only chunks whose metadata meets the condition: `key=value`, or with `!=`, `<`, `<=`,
    /// `>`, `>=`; repeatable, and all conditions must hold
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) conditions: Vec<Condition>,
    /// Also search by words (BM25), and fuse both rankings
    #[arg(long)]
    pub(crate) hybrid: bool,
    /// Scan all vectors, even if the collection has codes for short lists or an ANN index
    #[arg(long)]
    pub(crate) exact: bool,
    /// Number of sentences to show on either side of the best one
    #[arg(long, short = 'C', value_name = "N", default_value_t = 1)]
    pub(crate) context: usize,
    /// Show how each result's score is composed
    #[arg(long)]
    pub(crate) why: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "files_with_matches")]
    pub(crate) json: bool,
    /// Print only the paths of documents, best first
    #[arg(long, short = 'l')]
    pub(crate) files_with_matches: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArguments {
    /// File or folder whose index to show [default: the current folder]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Store: a file or a server [default: `.kokeshi/index.db` in the folder of PATH or one above]
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    pub(crate) index: IndexArguments,
}

#[derive(Args, Debug)]
pub(crate) struct AnnArguments {
    #[command(flatten)]
    pub(crate) collection: CollectionArguments,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ForgetArguments {
    /// Files and folders to forget; they need not exist any more
    #[arg(value_name = "PATH", required_unless_present = "all")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) collection: CollectionArguments,
    /// Remove the whole collection, including its settings
    #[arg(long, conflicts_with = "paths")]
    pub(crate) all: bool,
    /// Skip the confirmation of --all
    #[arg(long, requires = "all")]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExtractArguments {
    /// The format of standard input
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) format: ExtractFormat,
    /// Limit of the address space, in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<u64>,
    /// The process that started this one, which ends with it
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArguments {
    /// The file of the graph
    pub(crate) file: PathBuf,
    /// Limit of the address space, in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<u64>,
    /// The process that started this one, which ends with it
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExtractFormat {
    Docx,
    Epub,
    Html,
    Odt,
    Pdf,
    Pptx,
}
