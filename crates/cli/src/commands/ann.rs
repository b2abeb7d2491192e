//! `kokeshi ann`: builds an ANN index and measures it.

use super::index::stop_on_ctrl_c;
use crate::args::AnnArguments;
use crate::bytes;
use crate::exit::Exit;
use crate::meter::Progress;
use crate::printer::Printer;
use kokeshi_collections::StoreLocation;
use kokeshi_store::{AnnBuild, BuildStep, Error};
use serde_json::json;
use std::sync::atomic::Ordering;

pub(crate) fn run(arguments: &AnnArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let location = StoreLocation::to_search(arguments.collection.store.as_ref(), None)?;
    let collection = &arguments.collection.collection;
    let mut store = location.open()?;
    let progress = Progress::new(Some(0), printer);
    let built = store.build_ann(collection, &|BuildStep { name, done, total }| {
        progress.set_total(total as u64);
        progress.set_done(done as u64);
        progress.say(name);
        !stop.load(Ordering::Relaxed)
    });
    drop(progress);
    let built = match built {
        Err(Error::Stopped) => {
            printer.note("stopped: nothing was changed");
            return Ok(Exit::Interrupted);
        }
        built => built?,
    };
    match arguments.json {
        true => printer.print(&json_of(collection, &store.name(), &built)?)?,
        false => printer.print_lines(&text_of(collection, &store.name(), &built))?,
    }
    Ok(Exit::Success)
}

fn text_of(collection: &str, store: &str, built: &AnnBuild) -> String {
    let AnnBuild { vectors, seconds, bytes, queries, recall, exact_ms, ann_ms } = built;
    let bytes = bytes::format(*bytes);
    format!(
        "{store}: ANN index of {vectors} vectors of `{collection}` built in {seconds:.1} s, {bytes}\n  \
         recall@10  {recall:.4}, with {queries} vectors of the collection as queries, not \
         counting themselves\n  \
         search     {ann_ms:.2} ms (median), {exact_ms:.2} ms exact\n"
    )
}

fn json_of(collection: &str, store: &str, built: &AnnBuild) -> anyhow::Result<String> {
    let AnnBuild { vectors, seconds, bytes, queries, recall, exact_ms, ann_ms } = built;
    let built = json!({
        "store": store,
        "collection": collection,
        "vectors": vectors,
        "seconds": seconds,
        "bytes": bytes,
        "recall_10": recall,
        "queries": queries,
        "sample": "vectors of the collection, each without itself",
        "median_ms": ann_ms,
        "exact_median_ms": exact_ms,
    });
    Ok(serde_json::to_string_pretty(&built)? + "\n")
}
