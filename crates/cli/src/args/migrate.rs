//! Arguments of `kokeshi migrate`.

use super::DeviceArguments;
use clap::{ArgAction, Args, Subcommand};
use kokeshi_collections::DEFAULT_COLLECTION;
use kokeshi_store::{Address, Codes, Fields, Storage};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Examine a collection, report what moving it to another model changes, and write a plan to
    /// review
    Plan(Box<MigratePlanArguments>),
    /// Fill the new collection; documents that it already has are left alone, so a run can be
    /// stopped and repeated at any time
    Run(MigrateRunArguments),
    /// Compare both collections, embed a sample again, and report whether a switch is safe
    Verify(MigrateVerifyArguments),
    /// Switch readers to the new collection in one step
    Switch(MigrateSwitchArguments),
    /// Switch readers back to the old collection in one step
    Rollback(MigrateSwitchArguments),
    /// Remove the old collection after a switch
    Clean(MigrateCleanArguments),
    /// Show the progress of migrations
    Status(MigrateStatusArguments),
}

#[derive(Args, Debug)]
pub(crate) struct MigratePlanArguments {
    /// Collection to move, or its alias; for a table or a file of rows, the column of vectors
    /// [default: `default`; for a table `embedding`, for a file `vector`]
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Collection to create
    #[arg(long, value_name = "NAME")]
    pub(crate) to: String,
    /// Store of both collections, or with --source, of the new one [default: `.kokeshi/index.db` in
    /// the current folder or one above]
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Where the old collection is, if not in --store: another store, or a JSONL or Parquet file of
    /// rows
    #[arg(long, value_name = "SOURCE", env = "KOKESHI_SOURCE", hide_env_values = true)]
    pub(crate) source: Option<Address>,
    /// Known name (see `kokeshi models list`), hub id or folder of the new model [default:
    /// `jina-embeddings-v3`]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Use the task `text-matching` for documents and queries alike, as with jina-embeddings-v2,
    /// instead of `retrieval.passage` and `retrieval.query`
    #[arg(long)]
    pub(crate) like_v2: bool,
    /// Keep only the first N dimensions of each vector; 768 is the width of the v2 base models
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// How vectors are stored: `f32`, `f16`, `int8` or `bits` [default: as in the old collection;
    /// with --source, the store's own default]
    #[arg(long, value_name = "TYPE")]
    pub(crate) storage: Option<Storage>,
    /// Compressed codes that pick a short list: see `kokeshi index` [default: as in the old
    /// collection]
    #[arg(long, value_name = "CODES")]
    pub(crate) shortlist: Option<Codes>,
    /// Pool each chunk's vector from one pass over the whole document, so that it reflects its
    /// context
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) late_chunking: bool,
    /// Queries to compare both models on: one JSON object per line with `query` and, if known,
    /// `relevant`, the paths of the documents that answer it
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// Model that may have produced the old vectors, besides the recorded one and every
    /// jina-embeddings-v2 on this machine; repeatable
    #[arg(long, value_name = "MODEL")]
    pub(crate) candidate: Vec<String>,
    /// Number of documents to examine now, and again in `verify`
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: u32,
    /// File of the plan [default: the new collection's name with `.plan.toml`]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
    // Last, because its heading also applies to the options after it.
    #[command(flatten)]
    pub(crate) fields: FieldsArguments,
}

impl MigratePlanArguments {
    /// The collection to move.
    pub(crate) fn from(&self) -> &str {
        self.from.as_deref().unwrap_or_else(|| match (&self.source, &self.fields.table) {
            (_, Some(_)) => "embedding",
            (Some(source), None) if source.is_rows() => "vector",
            _ => DEFAULT_COLLECTION,
        })
    }
}

/// The layout of foreign data.
#[derive(Args, Debug)]
#[command(next_help_heading = "Data of other programs")]
pub(crate) struct FieldsArguments {
    /// Table in PostgreSQL: `TABLE` or `SCHEMA.TABLE`
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Column or field that identifies a row [default: `id`]
    #[arg(long, value_name = "FIELD")]
    pub(crate) id: Option<String>,
    /// Column or field of the text [default: the first of `text`, `content`, `body` and other usual
    /// names, or the only one that contains texts]
    #[arg(long, value_name = "FIELD")]
    pub(crate) text: Option<String>,
    /// Column or field that the rows of a document share, so that they are embedded in one pass
    /// [default: `doc_id` or similar; without one, each row is a document]
    #[arg(long, value_name = "FIELD")]
    pub(crate) document: Option<String>,
    /// Column or field that orders the rows of a document [default: their ids in a table, their
    /// order in a file]
    #[arg(long, value_name = "FIELD")]
    pub(crate) order: Option<String>,
    /// Name of the vector, if points have several
    #[arg(long, value_name = "NAME")]
    pub(crate) vector: Option<String>,
}

impl FieldsArguments {
    /// The layout; `None` if no option describes it.
    pub(crate) fn fields(&self) -> Option<Fields> {
        let Self { table, id, text, document, order, vector } = self;
        let all = [table, id, text, document, order, vector];
        let is_given = all.iter().any(|field| field.is_some());
        let [table, id, text, document, order, vector] = all.map(Clone::clone);
        is_given.then_some(Fields { table, id, text, document, order, vector })
    }
}

/// A plan, and the addresses of both sides if they have passwords.
#[derive(Args, Debug)]
pub(crate) struct PlanArguments {
    /// Plan file
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,
    /// Address of the store, if it has a password: plans do not contain passwords
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Address of the source, if it has a password
    #[arg(long, value_name = "SOURCE", env = "KOKESHI_SOURCE", hide_env_values = true)]
    pub(crate) source: Option<Address>,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateRunArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Maximum number of chunks per second to read from the old collection
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Afterwards, remove documents that only the new collection has: those that were deleted from
    /// the old one, but also those that others have written only to the new one
    #[arg(long)]
    pub(crate) prune: bool,
    /// Print progress as JSON, one object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct MigrateVerifyArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Also write an HTML page, which loads nothing from elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateSwitchArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Only print the calls or SQL statements
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateCleanArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Skip the confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only print what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateStatusArguments {
    /// Plan file [default: all migrations of the store]
    #[arg(value_name = "PLAN")]
    pub(crate) plan: Option<PathBuf>,
    /// Store [default: the plan's, or `.kokeshi/index.db` in the current folder or one above]
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
