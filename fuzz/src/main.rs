//! Any bytes give a result or an error: no panic, no hang, no unbounded memory. The last argument
//! names the reader that gets them; `run` has the others.
#![no_main]

mod documents;
mod files;
mod http;
mod hub;
mod migrations;
mod models;
mod stores;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// A reader of foreign bytes.
type Target = fn(&[u8]);

/// The readers by name. A new one needs a folder in `corpus`.
const TARGETS: &[(&str, Target)] = &[
    ("checkpoint", models::checkpoint),
    ("classifier", models::classifier),
    ("config", models::config),
    ("documents", documents::read_as_any_format),
    ("filter", stores::filter),
    ("html", documents::html),
    ("http", http::any_route),
    ("hub", hub::listing),
    ("ledger", migrations::ledger),
    #[cfg(feature = "all")]
    ("office", documents::office),
    #[cfg(feature = "all")]
    ("parquet", stores::parquet),
    ("plan", migrations::plan),
    ("rows", documents::rows),
    ("store", stores::open),
    ("table", stores::json_rows),
    ("tokenizer", models::tokenizer),
];

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::args().next_back().unwrap_or_default();
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("`{name}` is not a target")).1
}

fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(chosen)(bytes));
