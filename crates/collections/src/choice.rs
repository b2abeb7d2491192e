//! Which of several indexes answers a search.

use crate::error::{Error, Result};
use crate::location::{StoreLocation, canonical, is_below};
use crate::mounts::recorded_mounts;
use crate::plan::IndexPlan;
use crate::roots::{Root, recorded_roots};
use std::path::Path;

/// The index that answers a search below a path.
#[derive(Clone, Debug)]
pub struct IndexChoice {
    /// Where it is.
    pub location: StoreLocation,
    /// A nearer index that is not used, because more of its files differ from the disk.
    pub passed_over: Option<OutdatedIndex>,
}

/// An index that is out of date.
#[derive(Clone, Debug)]
pub struct OutdatedIndex {
    /// Where it is.
    pub location: StoreLocation,
    /// Number of files below the path that are new, changed or gone.
    pub differences: usize,
}

/// The nearest index at or above `path` that covers it and is up to date; if none is, the one of
/// which the fewest files differ from the disk. Files are compared only if several indexes cover
/// the path.
///
/// # Errors
///
/// [`Error::NoIndex`] if there is none.
pub fn choose_index(path: &Path, collection: &str) -> Result<IndexChoice> {
    let path = canonical(path)?;
    let alone = |location| IndexChoice { location, passed_over: None };
    let mut above = StoreLocation::all_above(&path).into_iter();
    let Some(nearest) = above.next() else {
        let current = StoreLocation::current_below(&path).map(alone);
        return current.ok_or(Error::NoIndex { path });
    };
    let covering = |location: StoreLocation| {
        // An index that cannot be opened answers nothing.
        let roots = roots_within(&location, &path, collection).ok()?;
        (!roots.is_empty()).then_some((location, roots))
    };
    let others: Vec<(StoreLocation, Vec<Root>)> = above.filter_map(covering).collect();
    let Some((first, _)) = others.first() else { return Ok(alone(nearest)) };
    let roots = roots_within(&nearest, &path, collection)?;
    if roots.is_empty() {
        return Ok(alone(first.clone()));
    }
    let differences = differences(&nearest, &roots, &path, collection)?;
    let mut best = (differences, &nearest);
    for (other, roots) in &others {
        if best.0 == 0 {
            break;
        }
        let count = self::differences(other, roots, &path, collection)?;
        if count < best.0 {
            best = (count, other);
        }
    }
    let location = best.1.clone();
    let is_nearest = best.0 == differences;
    let outdated = OutdatedIndex { location: nearest, differences };
    Ok(IndexChoice { location, passed_over: (!is_nearest).then_some(outdated) })
}

/// What of the index at `location` is at or below `path`, and how it is walked; nothing if it has
/// no such collection.
fn roots_within(location: &StoreLocation, path: &Path, collection: &str) -> Result<Vec<Root>> {
    let store = location.open()?;
    if store.collection(collection)?.is_none() {
        return Ok(Vec::new());
    }
    let mut within = Vec::new();
    for (root, options) in recorded_roots(&*store, location, collection)? {
        if path.starts_with(&root) {
            within.push((path.to_owned(), options));
        } else if root.starts_with(path) {
            within.push((root, options));
        }
    }
    Ok(within)
}

/// Number of files at and below `path`, which `roots` cover, that differ from the index.
fn differences(
    location: &StoreLocation,
    roots: &[Root],
    path: &Path,
    collection: &str,
) -> Result<usize> {
    let names = location.folder_names(path);
    let store = location.open()?;
    let (mut entries, mounts) = (store.list(collection)?, recorded_mounts(&*store, collection)?);
    entries.retain(|entry| names.iter().any(|name| is_below(&entry.path, name)));
    let mut plan = IndexPlan::new(location, roots, &mounts, entries)?;
    plan.settle();
    Ok(plan.differences())
}
