//! The work that brings a collection up to date with folders.

use crate::error::{Error, Result};
use crate::location::{StoreLocation, canonical, is_below};
use kokeshi_documents::{FileEntry, MAX_FILE_BYTES, WalkOptions, walk};
use kokeshi_store::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A file to read.
#[derive(Clone, Debug)]
pub struct FileTask {
    /// What the store calls its document.
    pub name: String,
    /// The file.
    pub file: FileEntry,
    /// The hash of the stored content, if the document is stored.
    pub stored_hash: Option<String>,
}

/// The work of an indexing run.
#[derive(Debug, Default)]
pub struct IndexPlan {
    /// Files that are new, or look changed.
    pub tasks: Vec<FileTask>,
    /// Documents whose files no longer exist.
    pub gone: Vec<String>,
    /// Number of files that are unchanged.
    pub unchanged: usize,
    /// Files that are left out, each with the reason.
    pub left_out: Vec<String>,
}

impl IndexPlan {
    /// Compares the files at and below `roots` with `entries`, by time and size alone.
    ///
    /// # Errors
    ///
    /// If a root cannot be walked.
    pub fn new(
        location: &StoreLocation,
        roots: &[PathBuf],
        options: &WalkOptions,
        entries: Vec<Entry>,
    ) -> Result<Self> {
        let mut plan = Self::default();
        // Keyed by name, because roots may overlap.
        let mut files = BTreeMap::new();
        let mut covered = Vec::new();
        for root in roots {
            covered.extend(plan.add_root(location, root, options, &mut files)?);
        }
        plan.compare(files, &covered, entries);
        Ok(plan)
    }

    /// Adds the files at and below `root`, and returns what the store calls it.
    fn add_root(
        &mut self,
        location: &StoreLocation,
        root: &Path,
        options: &WalkOptions,
        files: &mut BTreeMap<String, FileEntry>,
    ) -> Result<Option<String>> {
        let failed = |source| Error::Io { action: "read", path: root.to_owned(), source };
        let path = match root.exists() {
            true => canonical(root)?,
            false => std::path::absolute(root).map_err(failed)?,
        };
        let Some(name) = location.document_name(&path) else {
            self.left_out.push(format!("{}: its name is not in UTF-8", root.display()));
            return Ok(None);
        };
        if path.exists() {
            for file in walk(&path, options)? {
                match file {
                    Ok(file) => self.add_file(location, file, files),
                    Err(error) => self.left_out.push(error.to_string()),
                }
            }
        }
        Ok(Some(name))
    }

    fn add_file(
        &mut self,
        location: &StoreLocation,
        file: FileEntry,
        files: &mut BTreeMap<String, FileEntry>,
    ) {
        let path = file.path.display();
        if file.len_bytes > MAX_FILE_BYTES {
            let (size, limit) = (file.len_bytes >> 20, MAX_FILE_BYTES >> 20);
            self.left_out.push(format!("{path}: it has {size} MiB; the limit is {limit} MiB"));
            return;
        }
        match location.document_name(&file.path) {
            Some(name) => drop(files.insert(name, file)),
            None => self.left_out.push(format!("{path}: its name is not in UTF-8")),
        }
    }

    /// Plans to read the new and changed `files`, and to remove those `entries` at or below
    /// `covered` that have no file.
    fn compare(
        &mut self,
        files: BTreeMap<String, FileEntry>,
        covered: &[String],
        entries: Vec<Entry>,
    ) {
        let entries: HashMap<String, Entry> =
            entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        let names: HashSet<&String> = files.keys().collect();
        let is_covered = |name: &str| covered.iter().any(|root| is_below(name, root));
        let gone = entries.keys().filter(|name| is_covered(name) && !names.contains(name));
        self.gone = gone.cloned().collect();
        self.gone.sort();
        for (name, file) in files {
            let entry = entries.get(&name);
            if entry.is_some_and(|entry| is_unchanged(entry, &file)) {
                self.unchanged += 1;
            } else {
                let stored_hash = entry.map(|entry| entry.hash.clone());
                self.tasks.push(FileTask { name, file, stored_hash });
            }
        }
    }

    /// Number of bytes to read.
    pub fn bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.file.len_bytes).sum()
    }
}

/// Whether a file has the time and size of its document. A time of 0 is not reliable.
fn is_unchanged(entry: &Entry, file: &FileEntry) -> bool {
    entry.modified != 0 && entry.modified == file.modified && entry.size == file.len_bytes
}
