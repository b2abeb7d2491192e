//! `kokeshi search`: the chunks of a collection that are closest to a query.

mod show;

use crate::args::SearchArguments;
use crate::collection;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::printer::Printer;
use kokeshi_collections::{
    Error, OpenCollection, SearchRequest, SearchResults, StoreLocation, canonical,
};
use kokeshi_store::{AnnIndex, Filter, Hit, Store, UnusedReason};
use std::collections::HashSet;
use std::ops::Range;
use std::process::ExitCode;

/// Chunks that are searched for each document to be listed.
const CHUNKS_PER_FILE: usize = 20;

/// A hit, and the byte range of its best sentence.
struct SearchResult {
    hit: Hit,
    best: Range<usize>,
}

pub(crate) fn run(arguments: &SearchArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    if arguments.query.trim().is_empty() {
        return Err(hinted("the query is empty", "pass the text to search for"));
    }
    check_paths(arguments)?;
    let store = arguments.collection.store.as_ref();
    let within = arguments.within.first().map(std::path::PathBuf::as_path);
    let location = StoreLocation::to_search(store, within)?;
    let filter = filter(arguments, &location)?;
    let store = location.open()?;
    printer.detail(&format!("store {}", location.store));
    let SearchResults { collection, vector, mut hits } = search(arguments, &*store, &filter)?;
    if !arguments.exact {
        warn_unfit(&*store, &collection, printer)?;
    }
    if let Some(least) = arguments.min_score {
        hits.retain(|hit| hit.dense.is_some_and(|dense| dense.score >= least));
    }
    let is_empty = hits.is_empty();
    if arguments.files_with_matches {
        show::files(&files(&hits, arguments.limit), &location, printer)?;
    } else {
        let results = with_best_sentences(&collection, &vector, hits)?;
        match arguments.json {
            true => show::json(arguments, &collection, &location, &results, printer)?,
            false => show::text(arguments, &location, &results, printer)?,
        }
    }
    if is_empty && !arguments.json {
        printer.note(no_hit(&*store, &collection)?);
    }
    Ok(if is_empty { Exit::Negative.into() } else { ExitCode::SUCCESS })
}

/// # Errors
///
/// If a path to search in does not exist: probably the query lacks its quotes.
fn check_paths(arguments: &SearchArguments) -> anyhow::Result<()> {
    let Some(missing) = arguments.within.iter().find(|path| !path.exists()) else { return Ok(()) };
    let words = arguments.within.iter().map(|path| path.display().to_string());
    let query: Vec<String> = std::iter::once(arguments.query.clone()).chain(words).collect();
    Err(hinted(
        format!("there is no file or folder `{}` to search in", missing.display()),
        format!("a query of several words needs quotes: `kokeshi search \"{}\"`", query.join(" ")),
    ))
}

fn search(
    arguments: &SearchArguments,
    store: &dyn Store,
    filter: &Filter,
) -> anyhow::Result<SearchResults> {
    let limit = match arguments.files_with_matches {
        true => arguments.limit.saturating_mul(CHUNKS_PER_FILE),
        false => arguments.limit,
    };
    let request = SearchRequest {
        collection: &arguments.collection.collection,
        text: &arguments.query,
        hybrid: arguments.hybrid,
        limit,
        filter,
        exact: arguments.exact,
    };
    kokeshi_collections::search(store, &request, |name| {
        collection::to_search(store, name, &arguments.device)
    })
}

fn with_best_sentences(
    collection: &OpenCollection,
    vector: &[f32],
    hits: Vec<Hit>,
) -> anyhow::Result<Vec<SearchResult>> {
    let texts: Vec<&str> = hits.iter().map(|hit| hit.text.as_str()).collect();
    let best = collection.embedder.best_sentences(vector, &texts)?;
    Ok(hits.into_iter().zip(best).map(|(hit, best)| SearchResult { hit, best }).collect())
}

/// Warns if there is an index for approximate search that the search could not use.
fn warn_unfit(
    store: &dyn Store,
    collection: &OpenCollection,
    printer: &Printer,
) -> anyhow::Result<()> {
    let index = store.ann(&collection.name)?;
    if let Some(AnnIndex { unused: Some(UnusedReason::Unfit(reason)), .. }) = index {
        printer.warning(&format!(
            "the ANN index is not used, and all vectors are scanned: {reason}; \
             `kokeshi ann` rebuilds it"
        ));
    }
    Ok(())
}

/// Why there is no hit.
fn no_hit(store: &dyn Store, collection: &OpenCollection) -> anyhow::Result<&'static str> {
    let empty = store.count(&collection.name)?.chunks == 0;
    Ok(if empty { "nothing is indexed yet" } else { "nothing found under these conditions" })
}

fn filter(arguments: &SearchArguments, location: &StoreLocation) -> anyhow::Result<Filter> {
    let mut paths = arguments.path.clone();
    let mut within = Vec::new();
    for path in &arguments.within {
        let path = canonical(path)?;
        let name = location.document_name(&path);
        within.push(name.ok_or(Error::NotUtf8 { path })?);
    }
    // The root itself is not a restriction.
    if within.iter().any(|name| name == ".") {
        within.clear();
    }
    paths.retain(|path| !path.is_empty());
    Ok(Filter::new(&paths, arguments.conditions.clone())?.below(within))
}

/// The first `limit` documents of `hits`, in the order of their best chunks.
fn files(hits: &[Hit], limit: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let paths = hits.iter().map(|hit| hit.path.clone()).filter(|path| seen.insert(path.clone()));
    paths.take(limit).collect()
}
