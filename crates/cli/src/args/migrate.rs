//! Arguments of `kokeshi migrate`.

use super::DeviceArguments;
use clap::{ArgAction, Args, Subcommand};
use kokeshi_collections::DEFAULT_COLLECTION;
use kokeshi_store::{Address, Codes, Fields, Storage};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Look at a collection, say what a move to another model means, and write a plan to review
    Plan(Box<MigratePlanArguments>),
    /// Fill the new collection; what is there already is left alone, so that it can be stopped and
    /// run again at any time
    Run(MigrateRunArguments),
    /// Compare both collections, embed a sample again, and say whether a switch is safe
    Verify(MigrateVerifyArguments),
    /// Let readers have the new collection, in one step
    Switch(MigrateSwitchArguments),
    /// Let readers have the old collection again, in one step
    Rollback(MigrateSwitchArguments),
    /// Remove the old collection after a switch
    Clean(MigrateCleanArguments),
    /// Show how far migrations are
    Status(MigrateStatusArguments),
}

#[derive(Args, Debug)]
pub(crate) struct MigratePlanArguments {
    /// The collection to move, or its alias; of a table or a file of rows, its column of vectors. The
    /// default is `default`, or `embedding` of a table and `vector` of a file
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// The collection to make
    #[arg(long, value_name = "NAME")]
    pub(crate) to: String,
    /// The store of both, or of the new one. Without it: `.kokeshi/index.db` in this folder or in one
    /// above
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Where the old one lies, if that is elsewhere: another store, or a JSONL or Parquet file of rows
    #[arg(long, value_name = "SOURCE", env = "KOKESHI_SOURCE", hide_env_values = true)]
    pub(crate) source: Option<Address>,
    #[command(flatten)]
    pub(crate) fields: FieldsArguments,
    /// The new model: a known name (see `kokeshi models list`), a hub id or a folder
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Use the task `text-matching` on both sides, to behave as jina-embeddings-v2 did; without it,
    /// `retrieval.passage` and `retrieval.query`
    #[arg(long)]
    pub(crate) like_v2: bool,
    /// Keep only the first N dimensions of each vector; 768 keeps the width of v2
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// How vectors are stored: `f32`, `f16`, `int8` or `bits`; the default is as before
    #[arg(long, value_name = "TYPE")]
    pub(crate) storage: Option<Storage>,
    /// Codes that find a short list; the default is as before
    #[arg(long, value_name = "CODES")]
    pub(crate) shortlist: Option<Codes>,
    /// Pool the chunks of a document from one pass over it; the default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) late_chunking: bool,
    /// Queries to try both models with: a JSON object a line, with `query` and, if known, `relevant`,
    /// the paths of documents that answer it
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// Models that may have made the old vectors, beside the recorded one and those of
    /// jina-embeddings-v2 that are on this machine; may be given several times
    #[arg(long, value_name = "MODEL")]
    pub(crate) candidate: Vec<String>,
    /// Documents that are looked at now, and again by `verify`
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: u32,
    /// Where the plan is written; the default is the new collection's name with `.plan.toml`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
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

/// How data is laid out that another program made.
#[derive(Args, Debug)]
#[command(next_help_heading = "Data of other programs")]
pub(crate) struct FieldsArguments {
    /// The table, in PostgreSQL: `TABLE` or `SCHEMA.TABLE`
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// The column or field that tells rows apart; the default is `id`
    #[arg(long, value_name = "FIELD")]
    pub(crate) id: Option<String>,
    /// The column or field of texts; without it, the first that is there of `text`, `content`, `body` and other
    /// usual names, or the only one with texts
    #[arg(long, value_name = "FIELD")]
    pub(crate) text: Option<String>,
    /// The column or field that rows of one document have in common, so that they are embedded in one
    /// pass; without it, `doc_id` or the like, and where there is none, each row is a document
    #[arg(long, value_name = "FIELD")]
    pub(crate) document: Option<String>,
    /// The column or field that rows of one document are in order by; without it, they are in the order
    /// of their ids in a table, and elsewhere as they come
    #[arg(long, value_name = "FIELD")]
    pub(crate) order: Option<String>,
    /// Which vectors, where points of a collection have several
    #[arg(long, value_name = "NAME")]
    pub(crate) vector: Option<String>,
}

impl FieldsArguments {
    /// The layout; `None` if nothing is said of it.
    pub(crate) fn fields(&self) -> Option<Fields> {
        let Self { table, id, text, document, order, vector } = self;
        let all = [table, id, text, document, order, vector];
        let said = all.iter().any(|field| field.is_some());
        let [table, id, text, document, order, vector] = all.map(Clone::clone);
        said.then_some(Fields { table, id, text, document, order, vector })
    }
}

/// A plan, and where both sides lie if the plan cannot say it.
#[derive(Args, Debug)]
pub(crate) struct PlanArguments {
    /// The plan's file
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,
    /// The store, where its address has a password, which plans do not hold
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// The source, for the same reason
    #[arg(long, value_name = "SOURCE", env = "KOKESHI_SOURCE", hide_env_values = true)]
    pub(crate) source: Option<Address>,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateRunArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Read at most N chunks a second from the old collection
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Afterwards, remove documents of the new collection that the old one does not have: those that
    /// were deleted there, but also those that others have written to the new one alone
    #[arg(long)]
    pub(crate) prune: bool,
    /// Print progress as JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "it is a number above 0".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct MigrateVerifyArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Also write a page that a browser shows, without anything from elsewhere
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
    /// Only print the calls or statements
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateCleanArguments {
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only print what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateStatusArguments {
    /// A plan; without one, all migrations of the store
    #[arg(value_name = "PLAN")]
    pub(crate) plan: Option<PathBuf>,
    /// The store. Without it: the plan's, or `.kokeshi/index.db` in this folder or in one above
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
