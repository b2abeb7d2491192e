//! Where a store lies, and what its documents are called.

use crate::failure::hinted;
use anyhow::Context;
use kokeshi_store::{Address, Store};
use std::path::{Path, PathBuf};

/// The folder of a store that was not given by name, and its file there.
const FOLDER: &str = ".kokeshi";
const FILE: &str = "index.db";

/// Where a store is, and the folder that names of documents start from.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) store: Address,
    /// `None` for a store that was given by name: its documents have absolute paths.
    root: Option<PathBuf>,
}

impl Place {
    /// The store to index `paths` into: `store`, or the one at or above the first path that has
    /// been indexed before, or a new one in the folder that holds them all.
    pub(crate) fn to_index(store: Option<&Address>, paths: &[PathBuf]) -> anyhow::Result<Self> {
        if let Some(store) = store {
            return Self::named(store);
        }
        let paths = paths.iter().map(|path| real(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut folder = paths.first().cloned().unwrap_or_default();
        while !folder.is_dir() || !paths.iter().all(|path| path.starts_with(&folder)) {
            if !folder.pop() {
                return Err(hinted(
                    "these paths have no folder in common",
                    "say where with --store FILE",
                ));
            }
        }
        Ok(Self::above(&folder).unwrap_or_else(|| Self::below(folder)))
    }

    /// An existing store: `store`, or the one at or above `near` or the current folder.
    pub(crate) fn to_search(store: Option<&Address>, near: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(store) = store {
            return Self::named(store);
        }
        let near = real(near.unwrap_or(Path::new(".")))?;
        Self::above(&near).ok_or_else(|| {
            hinted(
                format!("no index at {} or above", near.display()),
                "`kokeshi index PATH` makes one; --store FILE says where it is",
            )
        })
    }

    fn named(store: &Address) -> anyhow::Result<Self> {
        let Address::File(path) = store else {
            return Ok(Self { store: store.clone(), root: None });
        };
        let file =
            std::path::absolute(path).with_context(|| format!("no path: {}", path.display()))?;
        let folder = file.parent().filter(|folder| folder.ends_with(FOLDER));
        let root = folder.and_then(Path::parent).and_then(|root| real(root).ok());
        Ok(Self { store: Address::File(file), root })
    }

    fn above(path: &Path) -> Option<Self> {
        let found = path.ancestors().find(|folder| folder.join(FOLDER).join(FILE).is_file())?;
        Some(Self::below(found.to_owned()))
    }

    fn below(root: PathBuf) -> Self {
        Self { store: Address::File(root.join(FOLDER).join(FILE)), root: Some(root) }
    }

    /// Opens the store, which must exist.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Store>> {
        Ok(kokeshi_remote::open(&self.store)?)
    }

    /// Opens the store, or makes an empty one. Its folder, if it is our own, says to Git that it is
    /// not for a repository.
    pub(crate) fn create(&self) -> anyhow::Result<Box<dyn Store>> {
        let store = kokeshi_remote::create(&self.store)?;
        if let Some(root) = &self.root {
            let note = root.join(FOLDER).join(".gitignore");
            if !note.exists() {
                std::fs::write(&note, "*\n")
                    .with_context(|| format!("cannot write {}", note.display()))?;
            }
        }
        Ok(store)
    }

    /// The file, if the store is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.store {
            Address::File(path) => Some(path),
            Address::Server(_) => None,
        }
    }

    /// What the store calls the real path `path`; `None` if it is not in UTF-8.
    pub(crate) fn name(&self, path: &Path) -> Option<String> {
        let below = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        let name = below.unwrap_or(path).to_str()?;
        let name = if name.is_empty() { "." } else { name };
        Some(if cfg!(windows) { name.replace('\\', "/") } else { name.to_owned() })
    }

    /// The path of what the store calls `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match &self.root {
            Some(root) if name == "." => root.clone(),
            Some(root) => root.join(name),
            None => PathBuf::from(name),
        }
    }

    /// `path` as people in the current folder would write it.
    pub(crate) fn shown(&self, name: &str) -> String {
        let path = self.path(name);
        let here = real(Path::new("."));
        let below = here.ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
        below.unwrap_or(path).display().to_string()
    }
}

/// The absolute path without links.
pub(crate) fn real(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot read {}", path.display()))
}

/// Whether the document called `name` is at or below the path called `folder`.
pub(crate) fn is_below(name: &str, folder: &str) -> bool {
    let rest = name.strip_prefix(folder);
    folder == "." && !name.starts_with('/')
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_new_store_lies_in_the_folder_that_holds_all_paths() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = real(folder.path()).expect("a real path");
        for name in ["a/b", "a/c"] {
            fs::create_dir_all(root.join(name)).expect("a folder");
        }
        fs::write(root.join("a/b/x.md"), "").expect("a file");
        let file = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
            let place = Place::to_index(None, &paths).expect("a place");
            place.file().expect("a file").strip_prefix(&root).expect("below").to_owned()
        };
        assert_eq!(file(&["a/b"]), Path::new("a/b/.kokeshi/index.db"));
        assert_eq!(file(&["a/b/x.md"]), Path::new("a/b/.kokeshi/index.db"));
        assert_eq!(file(&["a/b/x.md", "a/c"]), Path::new("a/.kokeshi/index.db"));
        fs::create_dir_all(root.join(FOLDER)).expect("a folder");
        fs::write(root.join(FOLDER).join(FILE), "").expect("a file");
        assert_eq!(file(&["a/b"]), Path::new(".kokeshi/index.db"));
        let found = Place::to_search(None, Some(&root.join("a/b"))).expect("a place");
        let name = found.name(&root.join("a/b/x.md")).expect("a name");
        assert_eq!(name, "a/b/x.md");
        assert_eq!(found.path(&name), root.join("a/b/x.md"));
        assert_eq!(found.path(&found.name(&root).expect("a name")), root);
    }

    #[test]
    fn names_below_a_folder_are_told_from_names_that_begin_alike() {
        for (name, folder, wanted) in [
            ("a/b", "a", true),
            ("a", "a", true),
            ("ab", "a", false),
            ("a/b", ".", true),
            ("/else/b", ".", false),
            ("/else/b", "/else", true),
        ] {
            assert_eq!(is_below(name, folder), wanted, "{name} {folder}");
        }
    }
}
