//! What has to be done so that a collection holds what folders hold.

use super::place::{Place, is_below, real};
use kokeshi_documents::{Found, MAX_FILE_BYTES, WalkOptions, walk};
use kokeshi_store::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// A file to read.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// What the store calls it.
    pub(crate) name: String,
    pub(crate) found: Found,
    /// The hash that its content had.
    pub(crate) known: Option<String>,
}

/// Work, and what needs none.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Files that are new, or look changed.
    pub(crate) tasks: Vec<Task>,
    /// Documents whose files are gone.
    pub(crate) gone: Vec<String>,
    /// Number of files that are as they were.
    pub(crate) unchanged: usize,
    /// Reasons for leaving files out.
    pub(crate) left_out: Vec<String>,
}

impl Plan {
    /// Compares the files at and below `roots` with `entries`, by time and size alone.
    pub(crate) fn make(
        place: &Place,
        roots: &[PathBuf],
        options: &WalkOptions,
        entries: Vec<Entry>,
    ) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        let entries: HashMap<String, Entry> =
            entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        // By name, because roots may overlap.
        let mut files = BTreeMap::new();
        let mut folders = Vec::new();
        for root in roots {
            let real_root = match root.exists() {
                true => real(root)?,
                false => std::path::absolute(root)?,
            };
            let Some(folder) = place.name(&real_root) else {
                plan.left_out.push(format!("{}: its name is not in UTF-8", root.display()));
                continue;
            };
            folders.push(folder);
            if !real_root.exists() {
                continue;
            }
            for found in walk(&real_root, options)? {
                match found {
                    Ok(found) => plan.take(place, found, &mut files),
                    Err(error) => plan.left_out.push(error.to_string()),
                }
            }
        }
        let names: HashSet<&String> = files.keys().collect();
        let covered = |name: &str| folders.iter().any(|folder| is_below(name, folder));
        plan.gone =
            entries.keys().filter(|name| covered(name) && !names.contains(name)).cloned().collect();
        plan.gone.sort();
        for (name, found) in files {
            let entry = entries.get(&name);
            let same = |entry: &&Entry| {
                entry.modified != 0 && entry.modified == found.modified && entry.size == found.size
            };
            if entry.filter(same).is_some() {
                plan.unchanged += 1;
            } else {
                let known = entry.map(|entry| entry.hash.clone());
                plan.tasks.push(Task { name, found, known });
            }
        }
        Ok(plan)
    }

    fn take(&mut self, place: &Place, found: Found, files: &mut BTreeMap<String, Found>) {
        let path = found.path.display();
        if found.size > MAX_FILE_BYTES {
            let (size, limit) = (found.size >> 20, MAX_FILE_BYTES >> 20);
            self.left_out
                .push(format!("{path}: it has {size} MiB; the limit is {limit} MiB a file"));
            return;
        }
        match place.name(&found.path) {
            Some(name) => drop(files.insert(name, found)),
            None => self.left_out.push(format!("{path}: its name is not in UTF-8")),
        }
    }

    /// Bytes to read.
    pub(crate) fn bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.found.size).sum()
    }
}
