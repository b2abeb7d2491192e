//! Disks that are mounted below indexed folders. Where one was when its files were indexed, their
//! absence means nothing while it is not mounted.

use crate::error::Result;
use crate::location::is_below;
use kokeshi_store::Store;
use serde_json::{Value, json};
use std::path::Path;

/// The key of a root's options under which the names of such folders are recorded.
const KEY: &str = "mounts";

/// The device that a folder is on; `None` if it cannot be looked at, or the system has no numbers
/// of devices. They are compared only with each other, since they change when a system starts.
pub(crate) type Device<'a> = &'a dyn Fn(&Path) -> Option<u64>;

#[cfg(unix)]
pub(crate) fn device(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(folder.metadata().ok()?.dev())
}

#[cfg(not(unix))]
pub(crate) fn device(_: &Path) -> Option<u64> {
    None
}

/// Whether a folder is on another device than the one above.
pub(crate) fn is_mount(folder: &Path, device: Device<'_>) -> bool {
    let devices = || Some((device(folder)?, device(folder.parent()?)?));
    devices().is_some_and(|(own, above)| own != above)
}

/// The names of folders below the roots of a collection where a disk was mounted when they were
/// indexed.
///
/// # Errors
///
/// If the store fails.
pub fn recorded_mounts(store: &dyn Store, collection: &str) -> Result<Vec<String>> {
    let roots = store.roots(collection)?;
    let mut names: Vec<String> = roots.iter().flat_map(|(_, json)| mounts_of(json)).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Records `mounts` with the roots above them, instead of those recorded at and below `covered`.
pub(crate) fn record_mounts(
    store: &mut dyn Store,
    collection: &str,
    covered: &[String],
    mounts: &[String],
) -> Result<()> {
    let is_covered = |name: &String| covered.iter().any(|root| is_below(name, root));
    for (root, json) in store.roots(collection)? {
        let old = mounts_of(&json);
        let present = mounts.iter().filter(|name| is_below(name, &root)).cloned();
        let mut new: Vec<String> =
            old.iter().filter(|name| !is_covered(name)).cloned().chain(present).collect();
        new.sort();
        new.dedup();
        if new != old {
            store.require_folders()?.set_root(collection, &root, &with_mounts(&json, &new))?;
        }
    }
    Ok(())
}

/// The names in the options that a store records with a root.
pub(crate) fn mounts_of(json: &str) -> Vec<String> {
    let options: Value = serde_json::from_str(json).unwrap_or_default();
    let names = options[KEY].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The options `json` with these names.
pub(crate) fn with_mounts(json: &str, mounts: &[String]) -> String {
    let mut options = match serde_json::from_str(json) {
        Ok(Value::Object(options)) => options,
        _ => serde_json::Map::new(),
    };
    options.remove(KEY);
    if !mounts.is_empty() {
        options.insert(KEY.to_owned(), json!(mounts));
    }
    Value::Object(options).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_store::{Provenance, Sqlite, Storage};

    #[test]
    fn names_are_recorded_with_their_roots_and_replaced_where_a_run_looked() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sqlite = Sqlite::create(&folder.path().join("s.db")).expect("a store");
        let store: &mut dyn Store = &mut sqlite;
        store.create("c", &Provenance::unknown(2, Storage::F32)).expect("a collection");
        for root in ["a", "b"] {
            let folders = store.require_folders().expect("folders");
            folders.set_root("c", root, "{\"hidden\":true}").expect("recorded");
        }
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut record = |covered: &[&str], mounts: &[&str]| {
            record_mounts(store, "c", &names(covered), &names(mounts)).expect("recorded");
            recorded_mounts(store, "c").expect("names")
        };
        assert_eq!(record(&["a", "b"], &["a/x", "a/y/z", "b/x", "c/x"]), ["a/x", "a/y/z", "b/x"]);
        assert_eq!(record(&["a/y"], &[]), ["a/x", "b/x"]);
        assert_eq!(record(&["a"], &["a/n"]), ["a/n", "b/x"]);
        assert_eq!(record(&["a"], &[]), ["b/x"]);
        let roots = store.roots("c").expect("roots");
        assert_eq!(roots[0], ("a".to_owned(), "{\"hidden\":true}".to_owned()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_of_the_kernel_is_another_device() {
        assert!(is_mount(Path::new("/proc"), &device));
        assert!(!is_mount(Path::new("/proc/self/no such folder"), &device));
    }
}
