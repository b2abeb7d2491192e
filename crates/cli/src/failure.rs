//! Errors and how they are reported to the user.

use crate::exit::Exit;
use crate::printer::Printer;
use crate::recent;
use clap::CommandFactory;
use clap::error::ErrorKind;
use kokeshi_collections::StoreLocation;
use std::io;
use std::path::{Path, PathBuf};

/// An error with a hint, reported as `error: …` and `hint: …`.
#[derive(Debug)]
struct Hinted {
    message: String,
    hint: String,
}

/// An error with a hint.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into() }.into()
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// A usage error that the definitions of the options cannot express.
pub(crate) fn usage(message: &str) -> anyhow::Error {
    crate::args::Arguments::command().error(ErrorKind::ArgumentConflict, message).into()
}

/// Whether the reader of our output is gone, as in `kokeshi embed … | head`: not a failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The message of `error`, the advice of its causes, and the exit status, for a log.
pub(crate) fn described(error: &anyhow::Error) -> (String, Vec<String>, Exit) {
    match error.downcast_ref::<clap::Error>() {
        Some(usage) => (usage.render().to_string(), Vec::new(), Exit::Usage),
        None => (message(error), error.chain().filter_map(hint).collect(), Exit::Failure),
    }
}

/// Prints `error` and returns the exit status.
pub(crate) fn report(error: &anyhow::Error, printer: &Printer) -> Exit {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // If standard error is closed, nothing is left to do.
        let _ = usage.print();
        return Exit::Usage;
    }
    printer.error(&message(error));
    for hint in error.chain().filter_map(hint) {
        printer.hint(&hint);
    }
    Exit::Failure
}

/// The hint of a cause: ours, the engine's or the store's.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let ours = cause.downcast_ref::<Hinted>().map(|hinted| hinted.hint.clone());
    ours.or_else(|| cause.downcast_ref::<kokeshi::Error>().and_then(kokeshi::Error::hint))
        .or_else(|| cause.downcast_ref::<kokeshi_store::Error>().and_then(store_hint))
        .or_else(|| cause.downcast_ref().and_then(collection_hint))
        .or_else(|| match cause.downcast_ref()? {
            kokeshi_migrate::Error::Store(error) => store_hint(error),
            kokeshi_migrate::Error::Engine(error) => error.hint(),
            _ => None,
        })
}

/// What to do about an error of a store, where its message does not say so.
fn store_hint(error: &kokeshi_store::Error) -> Option<String> {
    use kokeshi_store::Error;
    let hint = match error {
        Error::Missing { .. } => "`kokeshi index PATH` creates one",
        Error::NewerSchema { .. } => "use the newer kokeshi, or another file with --store",
        Error::Busy { .. } => "wait until it is done and run this again",
        Error::DiskFull { .. } => {
            "free some space and run this again: it continues where it stopped"
        }
        Error::NoSpaceForAnnIndex { .. } => "free some space and run this again",
        Error::Damaged { .. } => "remove the file and index again; the documents are not affected",
        Error::ProvenanceMismatch { collection, .. } => {
            return Some(format!(
                "index into another collection with --collection NAME, or remove `{collection}` with \
                 `kokeshi forget --collection {collection} --all` and index again"
            ));
        }
        Error::InvalidAddress { .. } => {
            "a store is a file, postgres://USER@HOST/DATABASE, qdrant://HOST:6333, \
             milvus://HOST:19530 or chroma://HOST:8000"
        }
        Error::Unreachable { .. } => "check that the server is running, and its host and port",
        Error::LoginRefused { .. } => {
            "give both in the address, SCHEME://USER:PASSWORD@HOST, for example in the variable \
             KOKESHI_STORE"
        }
        Error::NoVectorSupport { .. } => {
            "install pgvector 0.8 or newer on the server, and have an administrator run \
             `CREATE EXTENSION vector` in this database"
        }
        Error::MissingFeature { feature, .. } => {
            return Some(format!("build with `--features {feature}` or `--features full`"));
        }
        Error::CannotFollow { statements, .. } if statements.is_empty() => {
            "drop what is named before the switch, and create it again after that"
        }
        Error::CannotFollow { statements, .. } => {
            return Some(format!(
                "remove what is named before the switch, and create it again after that: {}",
                statements.join("; ")
            ));
        }
        Error::NoHybridSearch { .. } => "search by meaning alone, without --hybrid",
        Error::NoTable { .. } => "name the table with --table NAME",
        Error::NoDocument { .. } => "fill the column, or leave --document out",
        Error::AmbiguousVector { .. } => "name one of them with --vector NAME",
        Error::NotCopyable { .. } => "copy it into a collection of kokeshi with --source",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to do about an error of a collection.
fn collection_hint(error: &kokeshi_collections::Error) -> Option<String> {
    use kokeshi_collections::Error;
    Some(match error {
        Error::NoCommonFolder => "choose the store with --store FILE".to_owned(),
        Error::NoIndex { path } => no_index_hint(path),
        Error::NotUtf8 { .. } => "rename it".to_owned(),
        Error::WeightsChanged { .. } => {
            "vectors of different weights cannot be compared: `kokeshi migrate plan --to NAME \
             --model MODEL` moves the collection to a model that is here, without downtime; \
             indexing again into another collection with --collection NAME works as well"
                .to_owned()
        }
        Error::Replaced { .. } => "search again".to_owned(),
        Error::Store(error) => return store_hint(error),
        Error::Engine(error) => return error.hint(),
        Error::Io { .. }
        | Error::Read { .. }
        | Error::NoCollection { .. }
        | Error::Chunking(_)
        | Error::WriterStopped
        | Error::Documents(_) => return None,
    })
}

/// Names the indexes in folders below, and those that were made lately.
fn no_index_hint(path: &Path) -> String {
    const SHOWN: usize = 5;
    let below = StoreLocation::all_below(path, 3).into_iter();
    let below = below.filter_map(|index| Some(index.root()?.to_owned()));
    let below: Vec<PathBuf> = below.take(SHOWN).collect();
    let lately = recent::folders().into_iter().filter(|folder| !below.contains(folder));
    let lately: Vec<PathBuf> = lately.take(SHOWN).collect();
    let names = |folders: &[PathBuf]| {
        let name =
            |folder: &PathBuf| folder.strip_prefix(path).unwrap_or(folder).display().to_string();
        folders.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let mut hint = Vec::new();
    if !below.is_empty() {
        hint.push(format!("there is one in {}: name the folder after the query", names(&below)));
    }
    if !lately.is_empty() {
        hint.push(format!("made lately: {}", names(&lately)));
    }
    hint.push("`kokeshi index PATH` creates one; --store FILE selects another one".to_owned());
    hint.join("; ")
}

/// The causes joined by colons, without those that the message already quotes.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_store::Error;

    #[test]
    fn errors_of_stores_have_hints() {
        let (store, reason) = ("postgres://host".to_owned(), "no".to_owned());
        let refused = Error::LoginRefused { store: store.clone(), reason: reason.clone() };
        let unreachable = Error::Unreachable { store: store.clone(), reason: reason.clone() };
        let unprepared = Error::NoVectorSupport { store, reason };
        let full = Error::DiskFull { path: "index.db".into() };
        for (error, part) in [
            (full, "free some space"),
            (refused, "KOKESHI_STORE"),
            (unreachable, "host and port"),
            (unprepared, "CREATE EXTENSION vector"),
        ] {
            assert!(store_hint(&error).is_some_and(|hint| hint.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_missing_feature_is_named_with_the_flags_that_add_it() {
        let error = Error::MissingFeature { action: "open x".to_owned(), feature: "postgres" };
        let hint = store_hint(&error);
        assert_eq!(hint.as_deref(), Some("build with `--features postgres` or `--features full`"));
    }
}
