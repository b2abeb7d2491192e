//! The files and folders that are indexed into a collection, as its store records them.

use crate::error::{Error, Result};
use crate::location::{StoreLocation, canonical, is_below};
use crate::mounts::{mounts_of, with_mounts};
use kokeshi_documents::WalkOptions;
use kokeshi_store::Store;
use std::path::PathBuf;

/// A file or folder that is indexed, and how it is walked.
pub type Root = (PathBuf, WalkOptions);

/// The roots of a run.
pub(crate) struct RunRoots {
    /// What is indexed.
    pub(crate) roots: Vec<Root>,
    /// Names of those that the store did not record before.
    pub(crate) new: Vec<String>,
}

/// The roots that a store records for a collection.
///
/// # Errors
///
/// If the store fails.
pub fn recorded_roots(
    store: &dyn Store,
    location: &StoreLocation,
    collection: &str,
) -> Result<Vec<Root>> {
    let roots = store.roots(collection)?;
    let roots = roots.iter().map(|(name, json)| (location.path(name), parse_walk_options(json)));
    Ok(roots.collect())
}

/// The roots to index: `paths`, which the store then records, with the recorded roots below them;
/// or all recorded ones if `paths` is empty.
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
) -> Result<RunRoots> {
    if paths.is_empty() {
        let roots = recorded_roots(store, location, collection)?;
        return Ok(RunRoots { roots, new: Vec::new() });
    }
    let recorded = store.roots(collection)?;
    let (mut roots, mut new) = (Vec::new(), Vec::new());
    for path in paths {
        let path = canonical(path)?;
        let Some(name) = location.document_name(&path) else {
            return Err(Error::NotUtf8 { path });
        };
        let inner = recorded.iter().filter(|(root, _)| *root != name && is_below(root, &name));
        let inner = inner.map(|(root, json)| (location.path(root), parse_walk_options(json)));
        let inner: Vec<Root> = inner.collect();
        // A path below a recorded root keeps that root's options, unless options are given.
        let above = recorded.iter().find(|(root, _)| is_below(&name, root));
        let inherited = above.filter(|_| *options == WalkOptions::default());
        if let Some((_, json)) = inherited {
            roots.push((path, parse_walk_options(json)));
        } else {
            let before = recorded.iter().find(|(root, _)| *root == name);
            let mounts = before.map_or_else(Vec::new, |(_, json)| mounts_of(json));
            let json = with_mounts(&walk_options_json(options), &mounts);
            store.require_folders()?.set_root(collection, &name, &json)?;
            roots.push((path, options.clone()));
            if recorded.iter().all(|(root, _)| *root != name) {
                new.push(name);
            }
        }
        roots.extend(inner);
    }
    Ok(RunRoots { roots, new })
}

/// The options as a store records them.
pub(crate) fn walk_options_json(options: &WalkOptions) -> String {
    let WalkOptions { hidden, ignored, globs } = options;
    serde_json::json!({ "hidden": hidden, "ignored": ignored, "globs": globs }).to_string()
}

/// Parses the options that a store records with a root. Missing options have their defaults.
fn parse_walk_options(json: &str) -> WalkOptions {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let globs = value["globs"].as_array().into_iter().flatten();
    WalkOptions {
        hidden: value["hidden"] == true,
        ignored: value["ignored"] == true,
        globs: globs.filter_map(|glob| glob.as_str().map(str::to_owned)).collect(),
    }
}
