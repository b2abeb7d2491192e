//! `kokeshi forget`: what was indexed, taken out again.

use crate::args::ForgetArguments;
use crate::collection::place::{Place, is_below};
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use kokeshi_store::Store;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(arguments: &ForgetArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let near = arguments.paths.first().and_then(|path| existing(path));
    let place = Place::to_search(arguments.collection.store.as_ref(), near.as_deref())?;
    let mut store = place.open()?;
    let _lock = store.lock()?;
    let collection = &arguments.collection.collection;
    if arguments.all {
        let count = store.count(collection)?.documents;
        store.drop_collection(collection)?;
        printer
            .note(&format!("removed collection `{collection}` ({})", counted(count, "document")));
        return Ok(ExitCode::SUCCESS);
    }
    let removed = paths(&mut *store, &place, collection, &arguments.paths, printer)?;
    printer.note(&format!("removed {} from `{collection}`", counted(removed, "document")));
    Ok(ExitCode::SUCCESS)
}

/// The nearest folder above a path that may be gone.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

fn paths(
    store: &mut dyn Store,
    place: &Place,
    collection: &str,
    paths: &[PathBuf],
    printer: &Printer,
) -> anyhow::Result<usize> {
    let entries = store.list(collection)?;
    let roots = store.roots(collection)?;
    let mut removed = 0;
    for path in paths {
        let real = path.canonicalize().or_else(|_| std::path::absolute(path))?;
        let name = place.name(&real).unwrap_or_default();
        let below: Vec<String> = entries
            .iter()
            .filter(|entry| is_below(&entry.path, &name))
            .map(|entry| entry.path.clone())
            .collect();
        let gone = roots.iter().filter(|(root, _)| is_below(root, &name));
        let mut forgotten = 0;
        for (root, _) in gone {
            forgotten += usize::from(store.require_folders()?.remove_root(collection, root)?);
        }
        if below.is_empty() && forgotten == 0 {
            let message = format!("nothing at {} is in `{collection}`", path.display());
            return Err(hinted(message, "`kokeshi status` shows what is indexed"));
        }
        removed += store.remove(collection, &below)?;
        if roots.iter().any(|(root, _)| root != &name && is_below(&name, root)) && path.exists() {
            printer.warning(&format!(
                "{} lies in a folder that is indexed, and comes back with the next `kokeshi index`; \
                 a line in a file `.ignore` keeps it out",
                path.display()
            ));
        }
    }
    Ok(removed)
}
