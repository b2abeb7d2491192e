//! `kokeshi search`: what files say about something.

mod best;
mod show;

use crate::args::SearchArguments;
use crate::collection::place::{Place, real};
use crate::collection::settings::{self, Opened};
use crate::failure::hinted;
use crate::printer::Printer;
use kokeshi_store::{AnnIndex, Filter, Hit, Query, Store, UnusedReason};
use std::collections::HashSet;
use std::process::ExitCode;

/// Chunks that are looked at for each document wanted.
const CHUNKS_A_FILE: usize = 20;
/// How often a search begins anew because its collection is another one now.
const TRIES: usize = 3;

/// A hit with the range of its best sentence, in bytes of its text.
struct Result {
    hit: Hit,
    best: std::ops::Range<usize>,
}

pub(crate) fn run(arguments: &SearchArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    if arguments.query.trim().is_empty() {
        return Err(hinted("the query is empty", "say what to look for"));
    }
    let place = Place::to_search(
        arguments.collection.store.as_ref(),
        arguments.within.first().map(std::path::PathBuf::as_path),
    )?;
    let filter = filter(arguments, &place)?;
    let store = place.open()?;
    let (opened, vector, mut hits) = searched(arguments, &*store, &filter)?;
    if !arguments.exact {
        warn_unfit(&*store, &opened, printer)?;
    }
    if let Some(least) = arguments.min_score {
        hits.retain(|hit| hit.dense.is_some_and(|dense| dense.score >= least));
    }
    let found = !hits.is_empty();
    if arguments.files_with_matches {
        show::files(&files(&hits, arguments.limit), &place, printer)?;
    } else {
        let results = best::sentences(&opened, &vector, hits)?;
        match arguments.json {
            true => show::json(arguments, &opened, &place, &results, printer)?,
            false => show::people(arguments, &place, &results, printer)?,
        }
    }
    if !found && !arguments.json {
        printer.note(nothing(&*store, &opened)?);
    }
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is found, in which collection, with which vector.
///
/// # Errors
///
/// If the collection cannot be searched, or each time its name came to mean another one after the query was
/// embedded for it, as it does when a migration is switched: hits would be those of another model.
fn searched(
    arguments: &SearchArguments,
    store: &dyn Store,
    filter: &Filter,
) -> anyhow::Result<(Opened, Vec<f32>, Vec<Hit>)> {
    let limit = match arguments.files_with_matches {
        true => arguments.limit.saturating_mul(CHUNKS_A_FILE),
        false => arguments.limit,
    };
    for _ in 0..TRIES {
        let opened =
            settings::to_search(store, &arguments.collection.collection, &arguments.device)?;
        let vector = opened.embed_queries(&[&arguments.query])?.remove(0);
        let query = Query {
            vector: &vector,
            words: arguments.hybrid.then_some(&*arguments.query),
            limit,
            filter,
            exact: arguments.exact,
        };
        let hits = store.search(&opened.name, &query);
        let now = store.collection(&opened.name)?;
        if now.is_some_and(|now| now.provenance == opened.provenance) {
            return Ok((opened, vector, hits?));
        }
    }
    Err(hinted(
        format!("collection `{}` was replaced again and again", arguments.collection.collection),
        "search again",
    ))
}

/// Warns of an ANN index that search could not use.
fn warn_unfit(store: &dyn Store, opened: &Opened, printer: &Printer) -> anyhow::Result<()> {
    let index = store.ann(&opened.name)?;
    if let Some(AnnIndex { unused: Some(UnusedReason::Unfit(reason)), .. }) = index {
        printer.warning(&format!(
            "the ANN index is not used, and all vectors are scanned: {reason}; `kokeshi ann` builds \
             it again"
        ));
    }
    Ok(())
}

/// Why there is no hit.
fn nothing(store: &dyn Store, opened: &Opened) -> anyhow::Result<&'static str> {
    let empty = store.count(&opened.name)?.chunks == 0;
    Ok(if empty { "nothing is indexed yet" } else { "nothing found that meets the conditions" })
}

fn filter(arguments: &SearchArguments, place: &Place) -> anyhow::Result<Filter> {
    let mut paths = arguments.path.clone();
    let mut within = Vec::new();
    for path in &arguments.within {
        let real = real(path)?;
        let Some(name) = place.name(&real) else {
            return Err(hinted(
                format!("the name of {} is not in UTF-8", path.display()),
                "rename it",
            ));
        };
        within.push(name);
    }
    // The root itself is no restriction.
    if within.iter().any(|name| name == ".") {
        within.clear();
    }
    paths.retain(|path| !path.is_empty());
    Ok(Filter::new(&paths, arguments.conditions.clone())?.below(within))
}

/// The documents of `hits` by their best chunk, `limit` at most.
fn files(hits: &[Hit], limit: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let paths = hits.iter().map(|hit| hit.path.clone()).filter(|path| seen.insert(path.clone()));
    paths.take(limit).collect()
}
