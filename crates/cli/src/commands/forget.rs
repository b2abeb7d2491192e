//! `kokeshi forget`: removes indexed documents from a collection.

use super::confirm::confirm;
use crate::args::ForgetArguments;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use kokeshi_collections::{StoreLocation, is_below, left_out_kind};
use kokeshi_store::{Entry, Store};
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &ForgetArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let start = arguments.paths.first().and_then(|path| existing(path));
    let store = arguments.collection.store.as_ref();
    let location = StoreLocation::to_search(store, start.as_deref())?;
    let mut store = location.open()?;
    let _lock = store.lock()?;
    let collection = &arguments.collection.collection;
    if arguments.all {
        let count = store.count(collection)?.documents;
        if !arguments.yes {
            let documents = counted(count, "document");
            confirm(&format!("Remove collection `{collection}` ({documents}) permanently?"))?;
        }
        store.drop_collection(collection)?;
        printer
            .note(&format!("removed collection `{collection}` ({})", counted(count, "document")));
        return Ok(Exit::Success);
    }
    let removed = remove_paths(&mut *store, &location, collection, &arguments.paths, printer)?;
    printer.note(&format!("removed {} from `{collection}`", counted(removed, "document")));
    Ok(Exit::Success)
}

/// The path itself if it exists, or else the nearest folder above it that does.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

/// Removes the documents and roots at and below `paths`, and returns the number of documents.
fn remove_paths(
    store: &mut dyn Store,
    location: &StoreLocation,
    collection: &str,
    paths: &[PathBuf],
    printer: &Printer,
) -> anyhow::Result<usize> {
    let entries = store.list(collection)?;
    let roots = store.roots(collection)?;
    let mut removed = 0;
    for path in paths {
        let absolute = path.canonicalize().or_else(|_| std::path::absolute(path))?;
        let names = location.folder_names(&absolute);
        let is_forgotten = |path: &str| names.iter().any(|name| is_below(path, name));
        let (records, below): (Vec<&Entry>, Vec<&Entry>) = entries
            .iter()
            .filter(|entry| is_forgotten(&entry.path))
            .partition(|entry| left_out_kind(entry).is_some());
        let paths = |entries: &[&Entry]| -> Vec<String> {
            entries.iter().map(|entry| entry.path.clone()).collect()
        };
        let mut removed_roots = 0;
        for (root, _) in roots.iter().filter(|(root, _)| is_forgotten(root)) {
            removed_roots += usize::from(store.require_folders()?.remove_root(collection, root)?);
        }
        if below.is_empty() && records.is_empty() && removed_roots == 0 {
            let message = format!("nothing at {} is in `{collection}`", path.display());
            return Err(hinted(message, "`kokeshi status` shows what is indexed"));
        }
        removed += store.remove(collection, &paths(&below))?;
        store.remove(collection, &paths(&records))?;
        let is_inside = |(root, _): &(String, String)| {
            !is_forgotten(root) && names.iter().any(|name| is_below(name, root))
        };
        if roots.iter().any(is_inside) && path.exists() {
            printer.warning(&format!(
                "{} is in an indexed folder and comes back with the next `kokeshi index`; a line \
                 in an `.ignore` file excludes it",
                path.display()
            ));
        }
    }
    Ok(removed)
}
