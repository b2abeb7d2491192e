//! Where a store is, and what its documents are called.

use crate::error::{Error, Result};
use kokeshi_store::{Address, Store};
use std::collections::VecDeque;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// The folder and the file of a store whose address is not given.
const FOLDER: &str = ".kokeshi";
const FILE: &str = "index.db";
/// What the names of a store's files have after the name of its database.
const OWN_SUFFIXES: [&str; 6] = ["", "-wal", "-shm", "-journal", ".lock", ".near"];
/// Maximum number of folders that are searched for stores.
const MAX_SEARCHED: usize = 20_000;

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

    /// An existing store: `store`, or the one at or above `path` or the current folder. If there is
    /// none, the current folder's if `path` contains everything in it, as `/` does.
    ///
    /// # Errors
    ///
    /// [`Error::NoIndex`] if there is none.
    pub fn to_search(store: Option<&Address>, path: Option<&Path>) -> Result<Self> {
        if let Some(store) = store {
            return Self::given(store);
        }
        let path = canonical(path.unwrap_or(Path::new(".")))?;
        Self::at_or_above(&path)
            .or_else(|| Self::current_below(&path))
            .ok_or(Error::NoIndex { path })
    }

    /// The store at or above the current folder, if its root is at or below the canonical `path`.
    pub(crate) fn current_below(path: &Path) -> Option<Self> {
        let current = canonical(Path::new(".")).ok()?;
        Self::at_or_above(&current)
            .filter(|location| location.root.as_ref().is_some_and(|root| root.starts_with(path)))
    }

    /// All existing stores at or above the canonical `path`, the nearest first.
    pub fn all_above(path: &Path) -> Vec<Self> {
        let has_store = |folder: &&Path| folder.join(FOLDER).join(FILE).is_file();
        path.ancestors()
            .filter(has_store)
            .map(|folder| Self::in_folder(folder.to_owned()))
            .collect()
    }

    /// The stores in folders below `folder`, at most `depth` levels deeper. Links are not followed,
    /// and the search ends after some thousands of folders.
    pub fn all_below(folder: &Path, depth: usize) -> Vec<Self> {
        let mut found = Vec::new();
        let mut folders = VecDeque::from([(folder.to_owned(), 0)]);
        let mut searched = 0;
        while let Some((folder, level)) = folders.pop_front() {
            if level > 0 && folder.join(FOLDER).join(FILE).is_file() {
                found.push(Self::in_folder(folder.clone()));
            }
            searched += 1;
            let Ok(entries) = folder.read_dir() else { continue };
            if level == depth || searched > MAX_SEARCHED {
                continue;
            }
            let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            let inner = entries.filter_map(Result::ok).filter(is_folder).map(|entry| entry.path());
            let mut inner: Vec<_> = inner
                .filter(|path| !path.ends_with(FOLDER))
                .map(|path| (path, level + 1))
                .collect();
            inner.sort();
            folders.extend(inner);
        }
        found
    }

    /// The folder that the names of documents are relative to, if there is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Removes the files of the store, which nobody may have open, and its `.kokeshi` folder, which
    /// stays if it has other files.
    ///
    /// # Errors
    ///
    /// If a file cannot be removed.
    pub fn remove(&self) -> Result<()> {
        for path in self.own_files() {
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            match removed {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove", path, source });
                }
                _ => {}
            }
        }
        if let Some(root) = &self.root {
            let _ = std::fs::remove_dir(root.join(FOLDER));
        }
        Ok(())
    }

    /// The files and folders that a store in its own folder may have.
    fn own_files(&self) -> Vec<PathBuf> {
        let Some(store) = self.file() else { return Vec::new() };
        let own = OWN_SUFFIXES.into_iter().map(|suffix| {
            let mut name = store.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        let ignored = self.root.as_ref().map(|root| root.join(FOLDER).join(".gitignore"));
        own.chain(ignored).collect()
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
        relative(self.path(name))
    }

    /// The store: its file, relative to the current folder if it is below that, or its address.
    pub fn display_store(&self) -> String {
        self.file().map_or_else(|| self.store.to_string(), |file| relative(file.to_owned()))
    }

    /// The names of folders that contain all documents at and below the canonical `path`; none if
    /// it is not in UTF-8. A folder above the store's root contains all documents with relative
    /// names, and others with absolute ones.
    pub fn folder_names(&self, path: &Path) -> Vec<String> {
        let is_above = self.root.as_ref().is_some_and(|root| root.starts_with(path));
        let all = is_above.then(|| ".".to_owned());
        let name = self.document_name(path).filter(|name| Some(name) != all.as_ref());
        all.into_iter().chain(name).collect()
    }

    /// Whether the file at the canonical `path` belongs to the store itself: its database, its
    /// lock, its journals or its ANN index.
    pub(crate) fn is_own(&self, path: &Path) -> bool {
        let Some(store) = self.file() else { return false };
        let Some(name) = store.file_name() else { return false };
        // The store's address may have links, and its file may not exist yet.
        let folder = store.parent().and_then(|folder| folder.canonicalize().ok());
        let Some(rest) =
            folder.and_then(|folder| path.strip_prefix(folder).ok().map(Path::to_owned))
        else {
            return false;
        };
        let first = rest.components().next().map(|part| part.as_os_str().to_string_lossy());
        let suffix = first.as_deref().and_then(|part| part.strip_prefix(&*name.to_string_lossy()));
        suffix.is_some_and(|suffix| OWN_SUFFIXES.contains(&suffix))
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

/// `path` for people: relative to the current folder if it is below that.
fn relative(path: PathBuf) -> String {
    let current = canonical(Path::new(".")).ok();
    let below = current.and_then(|current| path.strip_prefix(current).ok().map(Path::to_owned));
    let shown = below.unwrap_or(path);
    if shown.as_os_str().is_empty() { ".".to_owned() } else { shown.display().to_string() }
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "read", path: path.to_owned(), source }
}

pub use kokeshi_store::is_below;

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
    fn a_store_knows_its_own_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = canonical(folder.path()).expect("a path");
        let location = StoreLocation::given(&Address::File(root.join("x.db"))).expect("a location");
        for (name, wanted) in [
            ("x.db", true),
            ("x.db-wal", true),
            ("x.db.lock", true),
            ("x.db.near/1.mdb", true),
            ("x.db.md", false),
            ("a/x.db", false),
        ] {
            assert_eq!(location.is_own(&root.join(name)), wanted, "{name}");
        }
    }

    #[test]
    fn a_folder_above_the_root_contains_all_documents() {
        let location = StoreLocation::in_folder(PathBuf::from("/a/b"));
        assert_eq!(location.folder_names(Path::new("/")), [".", "/"]);
        assert_eq!(location.folder_names(Path::new("/a")), [".", "/a"]);
        assert_eq!(location.folder_names(Path::new("/a/b")), ["."]);
        assert_eq!(location.folder_names(Path::new("/a/b/c")), ["c"]);
        assert_eq!(location.folder_names(Path::new("/d")), ["/d"]);
    }
}
