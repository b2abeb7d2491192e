//! `kokeshi search`: the chunks of a collection that are closest to a query.

mod show;

use crate::args::SearchArguments;
use crate::collection;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::layout::counted;
use crate::printer::Printer;
use kokeshi_collections::{
    Error, IndexChoice, OpenCollection, OutdatedIndex, SearchRequest, SearchResults, Staleness,
    StoreLocation, canonical, choose_index, distinct_hits, stale,
};
use kokeshi_store::{AnnIndex, Filter, Hit, Store, UnusedReason};
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// Chunks that are searched for each document to be listed.
const CHUNKS_PER_FILE: usize = 20;

/// A hit, the byte range of its best sentence, and what else is known about it.
struct SearchResult {
    hit: Hit,
    best: Range<usize>,
    /// Later hits with the same text.
    identical: Vec<Hit>,
    /// How the file differs from what was indexed.
    stale: Option<Staleness>,
}

/// A hit with the later hits that have the same text.
type Group = (Hit, Vec<Hit>);

pub(crate) fn run(arguments: &SearchArguments, printer: &Printer) -> anyhow::Result<Exit> {
    if arguments.query.trim().is_empty() {
        return Err(hinted("the query is empty", "pass the text to search for"));
    }
    check_paths(arguments)?;
    let store = arguments.collection.store.as_ref();
    let within = arguments.within.first().map(std::path::PathBuf::as_path);
    let location = match store {
        Some(_) => StoreLocation::to_search(store, within)?,
        None => nearest(within.unwrap_or(Path::new(".")), arguments, printer)?,
    };
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
        let groups = distinct_hits(hits, arguments.limit);
        let results = described(&collection, &vector, groups, (&*store, &location))?;
        match arguments.json {
            true => show::json(arguments, &collection, &location, &results, printer)?,
            false => show::text(arguments, &location, &results, printer)?,
        }
    }
    if is_empty && !arguments.json {
        printer.note(no_hit(&*store, &collection)?);
    }
    Ok(if is_empty { Exit::Negative } else { Exit::Success })
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
        // Hits with the same text are shown as one.
        distinct: !arguments.files_with_matches,
        filter,
        exact: arguments.exact,
    };
    let results = kokeshi_collections::search(store, &request, |name| {
        collection::to_search(store, name, &arguments.device)
    });
    results.map_err(over_long)
}

/// The error of a query over the model's limit, which a search does not truncate.
fn over_long(error: anyhow::Error) -> anyhow::Error {
    let Some(Error::Engine(engine)) = error.downcast_ref() else { return error };
    let (size, limit) = match engine {
        kokeshi::Error::TooLong { tokens, limit, .. } => (format!("{tokens} tokens"), limit),
        kokeshi::Error::TooLarge { bytes, limit, .. } => (format!("{bytes} bytes"), limit),
        _ => return error,
    };
    let message = format!("the query has {size}; the limit of the model is {limit}");
    hinted(message, "search for less of the text, such as its most important sentences")
}

/// The nearest index that is up to date; see [`choose_index`].
fn nearest(
    path: &Path,
    arguments: &SearchArguments,
    printer: &Printer,
) -> anyhow::Result<StoreLocation> {
    let IndexChoice { location, passed_over } =
        choose_index(path, &arguments.collection.collection)?;
    if let Some(OutdatedIndex { location: nearer, differences }) = passed_over {
        printer.warning(&format!(
            "{} is out of date ({} to look at), so {} is searched",
            nearer.store,
            counted(differences, "file"),
            location.store
        ));
    }
    Ok(location)
}

/// The groups with their best sentences, and whether their files have changed.
fn described(
    collection: &OpenCollection,
    vector: &[f32],
    groups: Vec<Group>,
    (store, location): (&dyn Store, &StoreLocation),
) -> anyhow::Result<Vec<SearchResult>> {
    let texts: Vec<&str> = groups.iter().map(|(hit, _)| hit.text.as_str()).collect();
    let best = collection.embedder.best_sentences(vector, &texts)?;
    let mut paths: Vec<String> = groups.iter().map(|(hit, _)| hit.path.clone()).collect();
    paths.sort();
    paths.dedup();
    let stale = stale(store, location, &collection.name, &paths)?;
    let results = groups.into_iter().zip(best).map(|((hit, identical), best)| {
        let stale = stale.get(&hit.path).copied();
        SearchResult { hit, best, identical, stale }
    });
    Ok(results.collect())
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
        let names = location.folder_names(&path);
        if names.is_empty() {
            return Err(Error::NotUtf8 { path }.into());
        }
        within.extend(names);
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
