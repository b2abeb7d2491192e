//! The files and folders that are indexed into a collection, as its store records them.

use crate::error::{Error, Result};
use crate::location::{StoreLocation, canonical, is_below};
use kokeshi_documents::WalkOptions;
use kokeshi_store::Store;
use std::path::PathBuf;

/// A file or folder that is indexed, and how it is walked.
pub(crate) type Root = (PathBuf, WalkOptions);

/// The roots to index: `paths`, which the store then records, or the recorded ones if `paths` is
/// empty.
///
/// # Errors
///
/// If a path cannot be read or recorded, or the store fails.
pub(crate) fn record_roots(
    store: &mut dyn Store,
    location: &StoreLocation,
    collection: &str,
    paths: &[PathBuf],
    options: &WalkOptions,
) -> Result<Vec<Root>> {
    let recorded = store.roots(collection)?;
    if paths.is_empty() {
        let roots = recorded.iter();
        let roots = roots.map(|(name, json)| (location.path(name), parse_walk_options(json)));
        return Ok(roots.collect());
    }
    let mut roots = Vec::new();
    for path in paths {
        let path = canonical(path)?;
        let Some(name) = location.document_name(&path) else {
            return Err(Error::NotUtf8 { path });
        };
        // A path below a recorded root keeps that root's options, unless options are given.
        let above = recorded.iter().find(|(root, _)| is_below(&name, root));
        let inherited = above.filter(|_| *options == WalkOptions::default());
        if let Some((_, json)) = inherited {
            roots.push((path, parse_walk_options(json)));
            continue;
        }
        store.require_folders()?.set_root(collection, &name, &walk_options_json(options))?;
        roots.push((path, options.clone()));
    }
    Ok(roots)
}

fn walk_options_json(options: &WalkOptions) -> String {
    let WalkOptions { hidden, ignored, globs } = options;
    serde_json::json!({ "hidden": hidden, "ignored": ignored, "globs": globs }).to_string()
}

/// Parses the options that a store records with a root. Missing options have their defaults.
pub fn parse_walk_options(json: &str) -> WalkOptions {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let globs = value["globs"].as_array().into_iter().flatten();
    WalkOptions {
        hidden: value["hidden"] == true,
        ignored: value["ignored"] == true,
        globs: globs.filter_map(|glob| glob.as_str().map(str::to_owned)).collect(),
    }
}
