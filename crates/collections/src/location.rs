//! Where a store is, and what its documents are called.

use crate::error::{Error, Result};
use kokeshi_store::{Address, Store};
use std::path::{Path, PathBuf};

/// The folder and the file of a store whose address is not given.
const FOLDER: &str = ".kokeshi";
const FILE: &str = "index.db";

/// Where a store is, and the folder that its documents' names are relative to.
#[derive(Clone, Debug)]
pub struct StoreLocation {
    /// The store's address.
    pub store: Address,
    /// `None` for a store whose address was given: its documents have absolute paths.
    root: Option<PathBuf>,
}

impl StoreLocation {
    /// The store to index `paths` into: `store`, or the one at or above the folder that holds all
    /// paths, or a new one in that folder.
    ///
    /// # Errors
    ///
    /// If a path cannot be read, or the paths have no folder in common.
    pub fn to_index(store: Option<&Address>, paths: &[PathBuf]) -> Result<Self> {
        if let Some(store) = store {
            return Self::given(store);
        }
        let paths = paths.iter().map(|path| canonical(path)).collect::<Result<Vec<_>>>()?;
        let mut folder = paths.first().cloned().unwrap_or_default();
        while !folder.is_dir() || !paths.iter().all(|path| path.starts_with(&folder)) {
            if !folder.pop() {
                return Err(Error::NoCommonFolder);
            }
        }
        Ok(Self::at_or_above(&folder).unwrap_or_else(|| Self::in_folder(folder)))
    }

    /// An existing store: `store`, or the one at or above `path` or the current folder.
    ///
    /// # Errors
    ///
    /// [`Error::NoIndex`] if there is none.
    pub fn to_search(store: Option<&Address>, path: Option<&Path>) -> Result<Self> {
        if let Some(store) = store {
            return Self::given(store);
        }
        let path = canonical(path.unwrap_or(Path::new(".")))?;
        Self::at_or_above(&path).ok_or(Error::NoIndex { path })
    }

    fn given(store: &Address) -> Result<Self> {
        let Address::File(path) = store else {
            return Ok(Self { store: store.clone(), root: None });
        };
        let file = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
        let folder = file.parent().filter(|folder| folder.ends_with(FOLDER));
        let root = folder.and_then(Path::parent).and_then(|root| canonical(root).ok());
        Ok(Self { store: Address::File(file), root })
    }

    fn at_or_above(path: &Path) -> Option<Self> {
        let folder = path.ancestors().find(|folder| folder.join(FOLDER).join(FILE).is_file())?;
        Some(Self::in_folder(folder.to_owned()))
    }

    fn in_folder(root: PathBuf) -> Self {
        Self { store: Address::File(root.join(FOLDER).join(FILE)), root: Some(root) }
    }

    /// Opens the store, which must exist.
    ///
    /// # Errors
    ///
    /// If it does not, or cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Store>> {
        Ok(kokeshi_remote::open(&self.store)?)
    }

    /// Opens the store, or creates an empty one. A `.kokeshi` folder gets a `.gitignore`, which
    /// keeps it out of repositories.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or created.
    pub fn create(&self) -> Result<Box<dyn Store>> {
        let store = kokeshi_remote::create(&self.store)?;
        if let Some(root) = &self.root {
            let path = root.join(FOLDER).join(".gitignore");
            if !path.exists() {
                let written = std::fs::write(&path, "*\n");
                written.map_err(|source| Error::Io { action: "write", path, source })?;
            }
        }
        Ok(store)
    }

    /// The store's file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.store {
            Address::File(path) => Some(path),
            Address::Server(_) => None,
        }
    }

    /// What the store calls the document at the canonical `path`; `None` if it is not in UTF-8.
    pub fn document_name(&self, path: &Path) -> Option<String> {
        let relative = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        let name = relative.unwrap_or(path).to_str()?;
        let name = if name.is_empty() { "." } else { name };
        Some(if cfg!(windows) { name.replace('\\', "/") } else { name.to_owned() })
    }

    /// The path of the document called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.root {
            Some(root) if name == "." => root.clone(),
            Some(root) => root.join(name),
            None => PathBuf::from(name),
        }
    }

    /// The path of the document called `name`, relative to the current folder if it is below that.
    pub fn display_path(&self, name: &str) -> String {
        let path = self.path(name);
        let current = canonical(Path::new(".")).ok();
        let below = current.and_then(|current| path.strip_prefix(current).ok().map(Path::to_owned));
        below.unwrap_or(path).display().to_string()
    }
}

/// The absolute path, with links resolved.
///
/// # Errors
///
/// If it does not exist or cannot be read.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "read", path: path.to_owned(), source }
}

/// Whether the document called `name` is at or below the path called `folder`.
pub fn is_below(name: &str, folder: &str) -> bool {
    let rest = name.strip_prefix(folder);
    folder == "." && !name.starts_with('/')
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_new_store_is_in_the_folder_that_holds_all_paths() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = canonical(folder.path()).expect("a path");
        for name in ["a/b", "a/c"] {
            fs::create_dir_all(root.join(name)).expect("a folder");
        }
        fs::write(root.join("a/b/x.md"), "").expect("a file");
        let file = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
            let location = StoreLocation::to_index(None, &paths).expect("a location");
            location.file().expect("a file").strip_prefix(&root).expect("below").to_owned()
        };
        assert_eq!(file(&["a/b"]), Path::new("a/b/.kokeshi/index.db"));
        assert_eq!(file(&["a/b/x.md"]), Path::new("a/b/.kokeshi/index.db"));
        assert_eq!(file(&["a/b/x.md", "a/c"]), Path::new("a/.kokeshi/index.db"));
        fs::create_dir_all(root.join(FOLDER)).expect("a folder");
        fs::write(root.join(FOLDER).join(FILE), "").expect("a file");
        assert_eq!(file(&["a/b"]), Path::new(".kokeshi/index.db"));
        let found = StoreLocation::to_search(None, Some(&root.join("a/b")));
        let found = found.expect("a location");
        let name = found.document_name(&root.join("a/b/x.md")).expect("a name");
        assert_eq!(name, "a/b/x.md");
        assert_eq!(found.path(&name), root.join("a/b/x.md"));
        assert_eq!(found.path(&found.document_name(&root).expect("a name")), root);
    }

    #[test]
    fn names_that_begin_alike_are_not_below_each_other() {
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
