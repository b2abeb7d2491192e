//! `kokeshi status`: the collections of a store, and whether they are up to date.

use super::left_out;
use crate::args::StatusArguments;
use crate::bytes;
use crate::exit::Exit;
use crate::layout::counted;
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_collections::{
    IndexPlan, LeftOut, StoreLocation, Unreachable, left_out_kind, recorded_mounts, recorded_roots,
};
use kokeshi_store::{AnnIndex, Collection, Counts, Store, UnusedReason};
use serde_json::json;
use std::fmt::Write;

/// A collection compared with the files it was indexed from.
struct CollectionState {
    collection: Collection,
    counts: Counts,
    ann: Option<AnnIndex>,
    /// Paths that were indexed, relative to the current folder.
    roots: Vec<String>,
    /// Files that are new or changed.
    changed: usize,
    /// Documents whose files no longer exist.
    gone: usize,
    left_out: Vec<LeftOut>,
    unreachable: Vec<Unreachable>,
}

pub(crate) fn run(arguments: &StatusArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let location = StoreLocation::to_search(arguments.store.as_ref(), arguments.path.as_deref())?;
    let store = location.open()?;
    let states =
        store.collections()?.into_iter().map(|collection| state(&*store, &location, collection));
    let states = states.collect::<anyhow::Result<Vec<_>>>()?;
    let size = location.file().map(std::fs::metadata).transpose()?.map(|file| file.len());
    match arguments.json {
        true => printer.print(&json_of(&location, size, &states)?)?,
        false => printer.print_lines(&text_of(&location, size, &states))?,
    }
    Ok(Exit::Success)
}

fn state(
    store: &dyn Store,
    location: &StoreLocation,
    collection: Collection,
) -> anyhow::Result<CollectionState> {
    let name = &collection.name;
    let roots = store.roots(name)?.into_iter().map(|(root, _)| location.display_path(&root));
    let roots = roots.collect();
    let entries = store.list(name)?;
    let records = entries.iter().filter(|entry| left_out_kind(entry).is_some()).count();
    let indexed = (recorded_roots(store, location, name)?, recorded_mounts(store, name)?);
    let mut plan = IndexPlan::new(location, &indexed.0, &indexed.1, entries)?;
    plan.settle();
    let (changed, gone) = (plan.tasks.len(), plan.gone.len());
    let IndexPlan { left_out, unreachable, .. } = plan;
    let mut counts = store.count(name)?;
    counts.documents = counts.documents.saturating_sub(records);
    let ann = store.ann(name)?;
    Ok(CollectionState { collection, counts, ann, roots, changed, gone, left_out, unreachable })
}

fn text_of(location: &StoreLocation, size: Option<u64>, states: &[CollectionState]) -> String {
    let size = size.map_or_else(String::new, |size| format!(": {}", bytes::format(size)));
    let mut text = format!("{}{size}\n", visible(&location.display_store().to_string()));
    if states.is_empty() {
        text.push_str("no collection yet\n");
    }
    for state in states {
        let CollectionState { collection, counts, ann, roots, .. } = state;
        let provenance = &collection.provenance;
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<11}{}", visible(value));
        };
        let mut title = vec![collection.name.clone()];
        title.extend(collection.aliases.iter().map(|alias| format!("alias {alias}")));
        let contents = [counted(counts.documents, "document"), counted(counts.chunks, "chunk")];
        line("", "");
        line("collection", &title.join(", "));
        line("contents", &contents.join(", "));
        line("paths", &roots.join(", "));
        line("model", &format!("{} ({})", provenance.model, provenance.revision));
        let tasks = [&provenance.passage_task, &provenance.query_task]
            .map(|task| task.as_deref().unwrap_or("none"));
        line("tasks", &format!("{} for documents, {} for queries", tasks[0], tasks[1]));
        let codes =
            provenance.codes.map_or_else(String::new, |codes| format!(", short list by {codes}"));
        let length = if provenance.normalized { "unit length" } else { "any length" };
        line(
            "vectors",
            &format!(
                "{} dimensions, {length}, {}{codes}",
                provenance.dimensions, provenance.storage
            ),
        );
        let late = if provenance.late { "late chunking" } else { "each chunk alone" };
        line("chunks", &format!("{}, {late}", provenance.chunking));
        if let Some(index) = ann {
            line("ANN index", &describe_index(index));
        }
        if !state.left_out.is_empty() {
            line("left out", &left_out::kinds(&state.left_out));
        }
        line("state", &describe_state(state));
    }
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Whether the collection has what the files have.
fn describe_state(state: &CollectionState) -> String {
    let mut parts: Vec<String> =
        state.unreachable.iter().map(left_out::unreachable_message).collect();
    if (state.changed, state.gone) != (0, 0) {
        parts.push(format!(
            "{} to look at, {} gone: `kokeshi index` updates the collection",
            counted(state.changed, "file"),
            state.gone
        ));
    }
    if parts.is_empty() { "up to date".to_owned() } else { parts.join("; ") }
}

/// An ANN index in one line.
fn describe_index(index: &AnnIndex) -> String {
    let AnnIndex { vectors, newer, bytes, recall, unused, .. } = index;
    let index = format!("{vectors} vectors, recall@10 {recall:.4}, {}", bytes::format(*bytes));
    match (unused, newer) {
        (Some(UnusedReason::Unfit(reason)), _) => {
            format!("{index}; not used: {reason}; `kokeshi ann` rebuilds it")
        }
        (Some(UnusedReason::Outgrown), _) => {
            format!(
                "{index}; {newer} are newer, and search scans all vectors: `kokeshi ann` rebuilds it"
            )
        }
        (None, 0) => index,
        (None, _) => format!("{index}; {newer} are newer"),
    }
}

fn json_of(
    location: &StoreLocation,
    size: Option<u64>,
    states: &[CollectionState],
) -> anyhow::Result<String> {
    let collections = states.iter().map(|state| {
        let CollectionState { collection, counts, ann, roots, .. } = state;
        let provenance = &collection.provenance;
        json!({
            "name": collection.name,
            "aliases": collection.aliases,
            "created": collection.created,
            "documents": counts.documents,
            "chunks": counts.chunks,
            "paths": roots,
            "model": provenance.model,
            "revision": provenance.revision,
            "passage_task": provenance.passage_task,
            "query_task": provenance.query_task,
            "dimensions": provenance.dimensions,
            "normalised": provenance.normalized,
            "chunking": provenance.chunking,
            "late_chunking": provenance.late,
            "storage": provenance.storage.name(),
            "shortlist": provenance.codes.map(|codes| codes.to_string()),
            "near": ann.as_ref().map(|index| json!({
                "made": index.built_at,
                "vectors": index.vectors,
                "newer": index.newer,
                "bytes": index.bytes,
                "recall_10": index.recall,
                "used": index.unused.is_none(),
            })),
            "files_to_look_at": state.changed,
            "files_gone": state.gone,
            "files_left_out": state.left_out.len(),
            "unreachable": state.unreachable.iter().map(left_out::unreachable_message)
                .collect::<Vec<_>>(),
        })
    });
    let collections: Vec<_> = collections.collect();
    let status =
        json!({ "store": location.store.to_string(), "bytes": size, "collections": collections });
    Ok(serde_json::to_string_pretty(&status)? + "\n")
}
