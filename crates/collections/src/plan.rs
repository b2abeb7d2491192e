//! The work that brings a collection up to date with folders.

use crate::add::is_added;
use crate::error::Result;
use crate::left_out::{LeftOut, LeftOutReason, StoredText, is_of_this_reader, left_out_kind};
use crate::location::{StoreLocation, is_below};
use crate::mounts::{Device, device, is_mount};
use crate::revision::content_hash;
use crate::roots::Root;
use kokeshi_documents::{Error as ReadError, FileEntry, MAX_FILE_BYTES, WalkOptions, walk};
use kokeshi_store::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file to read.
#[derive(Clone, Debug)]
pub struct FileTask {
    /// What the store calls its document.
    pub name: String,
    /// The file.
    pub file: FileEntry,
    /// The hash that the store has of the file, if any.
    pub stored_hash: Option<String>,
    /// Whether the store has a text of the file.
    pub is_stored: bool,
    /// The kind of reason for which an earlier run left it out.
    pub left_out_kind: Option<String>,
    /// Whether the file is a root, not found in a folder.
    pub is_named: bool,
}

/// A file or folder that could not be looked at. The documents at and below it are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The file or folder.
    pub path: PathBuf,
    /// Why, for people.
    pub reason: String,
    /// Number of documents that are kept.
    pub documents: usize,
    /// Its name in the store.
    name: String,
    /// Whether that is unusual only if the collection has documents of it.
    may_be_empty: bool,
    /// Whether it is a folder where a disk was mounted when it was indexed.
    is_mount: bool,
}

/// The work of an indexing run.
#[derive(Debug, Default)]
pub struct IndexPlan {
    /// Files that are new, or look changed.
    pub tasks: Vec<FileTask>,
    /// Documents whose files no longer exist.
    pub gone: Vec<String>,
    /// Records of files that no longer exist, and documents of files that are left out.
    pub(crate) dropped: Vec<String>,
    /// Number of files that are unchanged.
    pub unchanged: usize,
    /// Files that are left out.
    pub left_out: Vec<LeftOut>,
    /// Roots and folders that could not be looked at.
    pub unreachable: Vec<Unreachable>,
    /// Names of the roots that were walked.
    pub(crate) covered: Vec<String>,
    /// Names of folders below the roots where a disk is mounted.
    mounts: Vec<String>,
    /// Documents whose files were found, although others of their folder could not be looked at.
    present: BTreeSet<String>,
}

/// The files at and below the roots, by name; roots may overlap.
#[derive(Default)]
struct Files {
    /// Each with whether it is a root.
    found: BTreeMap<String, (FileEntry, bool)>,
    /// Names of the roots.
    covered: Vec<String>,
    /// The folders of the files, without those of the roots and above.
    folders: BTreeSet<PathBuf>,
}

impl IndexPlan {
    /// Compares the files at and below `roots` with `entries`, by time and size alone.
    ///
    /// A document is gone only if the folder that it was in could be read. The documents of a root
    /// that does not exist or is an empty folder are kept as well, because it may be on a disk that
    /// is not mounted. So are those of a folder where a disk was mounted when it was indexed
    /// (`mounts`, see [`recorded_mounts`](crate::recorded_mounts)) and is not.
    ///
    /// # Errors
    ///
    /// If a glob cannot be parsed.
    pub fn new(
        location: &StoreLocation,
        roots: &[Root],
        mounts: &[String],
        entries: Vec<Entry>,
    ) -> Result<Self> {
        Self::with_devices(location, roots, mounts, entries, &device)
    }

    fn with_devices(
        location: &StoreLocation,
        roots: &[Root],
        mounts: &[String],
        entries: Vec<Entry>,
        device: Device<'_>,
    ) -> Result<Self> {
        let (mut plan, mut files) = (Self::default(), Files::default());
        for (root, options) in roots {
            // What an outer root covers need not exist.
            let is_inner = |outer: &&Root| outer.0 != *root && root.starts_with(&outer.0);
            let is_covered = roots.iter().any(|outer| is_inner(&outer) && outer.0.is_dir());
            if !is_covered || root.exists() {
                plan.add_root(location, root, options, &mut files)?;
            }
        }
        let folders = files.folders.iter().filter(|folder| is_mount(folder, device));
        plan.mounts = folders.filter_map(|folder| location.document_name(folder)).collect();
        plan.add_unmounted(location, mounts, &files.covered, device);
        plan.covered.clone_from(&files.covered);
        plan.compare(files, entries);
        Ok(plan)
    }

    /// Adds those of the folders `mounts` below the roots where no disk is mounted now.
    fn add_unmounted(
        &mut self,
        location: &StoreLocation,
        mounts: &[String],
        covered: &[String],
        device: Device<'_>,
    ) {
        let is_covered = |name: &&String| covered.iter().any(|root| is_below(name, root));
        for name in mounts.iter().filter(is_covered) {
            let path = location.path(name);
            let absence = absence(&path).or_else(|| {
                (!is_mount(&path, device)).then(|| "it is on the disk of the folder above".into())
            });
            if let Some(absence) = absence {
                let reason = format!("{absence}; when it was indexed, a disk was mounted there");
                let (documents, name) = (0, name.clone());
                let place = Unreachable {
                    path,
                    reason,
                    documents,
                    name,
                    may_be_empty: true,
                    is_mount: true,
                };
                self.unreachable.push(place);
            }
        }
    }

    /// Names of folders below the roots where a disk is mounted, or was and has documents that are
    /// kept.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let kept = self.unreachable.iter().filter(|place| place.is_mount);
        self.mounts.iter().chain(kept.map(|place| &place.name)).cloned().collect()
    }

    /// Adds the files at and below `root`.
    fn add_root(
        &mut self,
        location: &StoreLocation,
        root: &Path,
        options: &WalkOptions,
        files: &mut Files,
    ) -> Result<()> {
        let path = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let Some(name) = location.document_name(&path) else {
            self.leave_out(path, LeftOutReason::Name, false);
            return Ok(());
        };
        files.covered.push(name.clone());
        if let Some(reason) = absence(&path) {
            let may_be_empty = path.read_dir().is_ok();
            self.add_unreachable(path, reason, name, may_be_empty);
            return Ok(());
        }
        for file in walk(&path, options)? {
            match file {
                Ok(file) => self.add_file(location, file, &path, files),
                Err(ReadError::Unreachable { path: place, reason }) => {
                    let path = place.unwrap_or_else(|| path.clone());
                    let name = location.document_name(&path).unwrap_or_else(|| name.clone());
                    self.add_unreachable(path, reason, name, false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn add_unreachable(&mut self, path: PathBuf, reason: String, name: String, may_be_empty: bool) {
        let (documents, is_mount) = (0, false);
        self.unreachable.push(Unreachable {
            path,
            reason,
            documents,
            name,
            may_be_empty,
            is_mount,
        });
    }

    fn leave_out(&mut self, path: PathBuf, reason: LeftOutReason, is_named: bool) {
        self.left_out.push(LeftOut { path, reason, text: StoredText::None, is_named });
    }

    fn add_file(
        &mut self,
        location: &StoreLocation,
        file: FileEntry,
        root: &Path,
        files: &mut Files,
    ) {
        if location.is_own(&file.path) {
            return;
        }
        let is_named = file.path == root;
        for folder in file.path.ancestors().skip(1).take_while(|folder| *folder != root) {
            if !folder.starts_with(root) || !files.folders.insert(folder.to_owned()) {
                break;
            }
        }
        match location.document_name(&file.path) {
            Some(name) => drop(files.found.insert(name, (file, is_named))),
            None => self.leave_out(file.path, LeftOutReason::Name, is_named),
        }
    }

    /// Plans to read the new and changed `files`, and to remove those `entries` that they cover
    /// without having their files.
    fn compare(&mut self, files: Files, entries: Vec<Entry>) {
        let is_covered = |name: &str| files.covered.iter().any(|root| is_below(name, root));
        for entry in &entries {
            if files.found.contains_key(&entry.path) {
                let is_kept = |place: &Unreachable| is_below(&entry.path, &place.name);
                if self.unreachable.iter().any(is_kept) {
                    self.present.insert(entry.path.clone());
                }
                continue;
            }
            if !is_covered(&entry.path) || is_added(entry) {
                continue;
            }
            let is_document = left_out_kind(entry).is_none();
            let place =
                self.unreachable.iter_mut().find(|place| is_below(&entry.path, &place.name));
            match place {
                Some(place) => place.documents += usize::from(is_document),
                None if is_document => self.gone.push(entry.path.clone()),
                None => self.dropped.push(entry.path.clone()),
            }
        }
        self.gone.sort();
        self.unreachable.retain(|place| place.documents > 0 || !place.may_be_empty);
        let entries: HashMap<&str, &Entry> =
            entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        for (name, (file, is_named)) in files.found {
            let entry = entries.get(name.as_str()).copied();
            self.compare_file(name, file, is_named, entry);
        }
    }

    fn compare_file(
        &mut self,
        name: String,
        file: FileEntry,
        is_named: bool,
        entry: Option<&Entry>,
    ) {
        let kind = entry.and_then(left_out_kind);
        let is_stored = entry.is_some() && kind.is_none();
        let stored_hash = entry.map(|entry| entry.hash.clone());
        let left_out_kind = kind.map(str::to_owned);
        let task = FileTask { name, file, stored_hash, is_stored, left_out_kind, is_named };
        if task.file.len_bytes > MAX_FILE_BYTES {
            let reason = LeftOutReason::TooLarge(task.file.len_bytes);
            self.left_out.push(LeftOut::new(&task, reason));
            self.dropped.extend(entry.map(|_| task.name));
            return;
        }
        match (entry, kind) {
            (Some(entry), None) if is_unchanged(entry, &task.file) => self.unchanged += 1,
            // A file that was named is read again, so that its error has a reason.
            (Some(entry), Some(kind))
                if !is_named && is_of_this_reader(entry) && is_unchanged(entry, &task.file) =>
            {
                let reason = LeftOutReason::Earlier(kind.to_owned());
                self.leave_out(task.file.path, reason, false);
            }
            _ => self.tasks.push(task),
        }
    }

    /// Also counts the files as unchanged whose times are new, but not their contents. This reads
    /// them.
    pub fn settle(&mut self) {
        let (mut unchanged, mut left_out) = (0, Vec::new());
        self.tasks.retain(|task| {
            let is_settled = has_stored_content(task);
            match task.left_out_kind.clone().map(LeftOutReason::Earlier) {
                Some(reason) if is_settled => left_out.push(LeftOut::new(task, reason)),
                _ => unchanged += usize::from(is_settled),
            }
            !is_settled
        });
        self.unchanged += unchanged;
        self.left_out.extend(left_out);
    }

    /// Also plans to remove the documents of everything that could not be looked at, of which
    /// `entries` has some.
    pub fn prune_unreachable(&mut self, entries: &[Entry]) {
        for place in std::mem::take(&mut self.unreachable) {
            let is_away = |entry: &&Entry| {
                let is_present = self.present.contains(&entry.path) || is_added(entry);
                is_below(&entry.path, &place.name) && !is_present
            };
            for entry in entries.iter().filter(is_away) {
                match left_out_kind(entry) {
                    None => self.gone.push(entry.path.clone()),
                    Some(_) => self.dropped.push(entry.path.clone()),
                }
            }
        }
        self.gone.sort();
        self.gone.dedup();
    }

    /// Number of bytes to read.
    pub fn bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.file.len_bytes).sum()
    }

    /// Number of files that differ from the collection.
    pub fn differences(&self) -> usize {
        self.tasks.len() + self.gone.len()
    }
}

/// Why a root has no files that could be compared; `None` if it has.
fn absence(root: &Path) -> Option<String> {
    let metadata = match root.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some("it does not exist".to_owned());
        }
        Err(error) => return Some(error.to_string()),
        Ok(metadata) => metadata,
    };
    if !metadata.is_dir() {
        return None;
    }
    match root.read_dir() {
        Err(error) => Some(error.to_string()),
        Ok(mut entries) => entries.next().is_none().then(|| "it is an empty folder".to_owned()),
    }
}

/// Whether a file has the time and size of its document. A time of 0 is not reliable.
fn is_unchanged(entry: &Entry, file: &FileEntry) -> bool {
    entry.modified != 0 && entry.modified == file.modified && entry.size == file.len_bytes
}

/// Whether a file has the content that the store has of it, or that was left out.
fn has_stored_content(task: &FileTask) -> bool {
    let Some(stored) = task.stored_hash.as_ref() else { return false };
    let hash = File::open(&task.file.path).and_then(|mut file| content_hash(&mut file));
    hash.is_ok_and(|hash| match task.is_stored {
        true => hash == *stored,
        false => crate::left_out::record_hash(&hash) == *stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, format: &str) -> Entry {
        let (hash, format) = (format!("{} 0", kokeshi_documents::reader()), format.to_owned());
        Entry { path: path.to_owned(), hash, modified: 7, size: 3, format, chunks: 1 }
    }

    fn file(name: &str, modified: i64, len_bytes: u64) -> (String, (FileEntry, bool)) {
        (name.to_owned(), (FileEntry { path: PathBuf::from(name), modified, len_bytes }, false))
    }

    fn unreachable(name: &str) -> Unreachable {
        let (path, reason, name) = (PathBuf::from(name), "no".to_owned(), name.to_owned());
        Unreachable { path, reason, documents: 0, name, may_be_empty: false, is_mount: false }
    }

    #[test]
    fn a_text_that_was_added_has_no_file_that_could_be_gone() {
        let entries = [entry("docs/a", "added"), entry("docs/b", "text"), entry("x", "added")];
        let files = || Files { covered: vec![".".to_owned()], ..Files::default() };
        let mut plan = IndexPlan::default();
        plan.compare(files(), entries.to_vec());
        assert_eq!(plan.gone, ["docs/b"]);
        let unreachable = vec![unreachable("docs")];
        let mut plan = IndexPlan { unreachable, ..IndexPlan::default() };
        plan.compare(files(), entries.to_vec());
        assert_eq!((plan.gone.len(), plan.unreachable[0].documents), (0, 1));
        plan.prune_unreachable(&entries);
        assert_eq!(plan.gone, ["docs/b"]);
    }

    #[test]
    fn nothing_is_gone_below_a_folder_that_could_not_be_read() {
        let names = ["a", "locked/b", "locked/c/d", "locked.md", "locked/e", "else/f"];
        let mut entries: Vec<Entry> = names.iter().map(|name| entry(name, "text")).collect();
        entries.push(entry("x", "left out: binary"));
        let found = BTreeMap::from([file("a", 7, 3)]);
        let files =
            Files { found, covered: vec!["a".to_owned(), "locked".to_owned()], ..Files::default() };
        let mut plan =
            IndexPlan { unreachable: vec![unreachable("locked")], ..IndexPlan::default() };
        plan.compare(files, entries.clone());
        assert_eq!((plan.gone.len(), plan.unchanged, plan.unreachable[0].documents), (0, 1, 3));
        plan.prune_unreachable(&entries);
        assert_eq!(plan.gone, ["locked/b", "locked/c/d", "locked/e"]);
        assert!(plan.unreachable.is_empty());

        // A root that could be read, but for one folder.
        let found = BTreeMap::from([file("a", 7, 3)]);
        let files = Files { found, covered: vec![".".to_owned()], ..Files::default() };
        let mut plan =
            IndexPlan { unreachable: vec![unreachable("locked")], ..IndexPlan::default() };
        plan.compare(files, entries);
        assert_eq!(plan.gone, ["else/f", "locked.md"]);
        assert_eq!(plan.dropped, ["x"]);
    }

    #[test]
    fn what_was_left_out_is_read_again_only_if_the_file_or_the_reader_changed() {
        let entries = || {
            let mut old = entry("old", "left out: binary");
            old.hash = "reader 0 0".to_owned();
            let same = entry("same", "left out: binary");
            let changed = entry("changed", "left out: binary");
            let mut large = entry("large", "text");
            large.size = 1;
            vec![old, same, changed, large]
        };
        let found = BTreeMap::from([
            file("old", 7, 3),
            file("same", 7, 3),
            file("changed", 8, 3),
            file("large", 8, MAX_FILE_BYTES + 1),
        ]);
        let mut plan = IndexPlan::default();
        plan.compare(Files { found, covered: vec![".".to_owned()], ..Files::default() }, entries());
        let tasks: Vec<&str> = plan.tasks.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(tasks, ["changed", "old"]);
        let texts: Vec<_> =
            plan.left_out.iter().map(|file| (file.reason.kind(), file.text)).collect();
        let kinds = [("larger than 256 MiB", StoredText::Removed), ("binary", StoredText::None)];
        assert_eq!(texts, kinds.map(|(kind, text)| (kind.to_owned(), text)));
        assert_eq!(plan.dropped, ["large"], "its text is no longer the file's");
    }

    /// A location whose root has `a.md` and `disk/b.md`, with the path of the folder `disk`.
    fn with_disk(folder: &Path) -> (StoreLocation, PathBuf) {
        let disk = folder.join("disk");
        std::fs::create_dir(&disk).expect("a folder");
        for file in [folder.join("a.md"), disk.join("b.md")] {
            std::fs::write(file, "text").expect("a file");
        }
        (StoreLocation::to_index(None, &[folder.to_owned()]).expect("a location"), disk)
    }

    #[test]
    fn nothing_is_gone_below_a_folder_whose_disk_is_not_mounted() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        let (location, disk) = with_disk(&root);
        let roots = [(root.clone(), WalkOptions::default())];
        let names = ["a.md", "disk/b.md", "disk/c/d.md", "other/e.md"];
        let entries: Vec<Entry> = names.iter().map(|name| entry(name, "text")).collect();
        let plan = |mounts: &[String], is_mounted: bool| {
            let device = |path: &Path| {
                let is_disk = is_mounted && path.starts_with(&disk);
                path.exists().then_some(u64::from(is_disk))
            };
            IndexPlan::with_devices(&location, &roots, mounts, entries.clone(), &device)
                .expect("a plan")
        };
        let mounted = plan(&[], true);
        let mounts = mounted.mounts();
        assert_eq!(mounts, ["disk"]);
        assert_eq!(mounted.gone, ["disk/c/d.md", "other/e.md"], "what is gone from a disk is gone");
        let kept = |expected: usize, reason: &str| {
            let mut plan = plan(&mounts, false);
            assert_eq!(
                (&plan.gone[..], plan.mounts()),
                (&["other/e.md".to_owned()][..], mounts.clone())
            );
            let place = &plan.unreachable[0];
            assert_eq!((&place.path, place.documents), (&disk, expected));
            assert!(place.reason.starts_with(reason), "{}", place.reason);
            plan.prune_unreachable(&entries);
            assert_eq!((plan.gone.len(), plan.mounts().len()), (expected + 1, 0));
        };
        // The folder has a file of its own, which is found.
        kept(1, "it is on the disk of the folder above; when it was indexed, a disk was mounted");
        std::fs::remove_file(disk.join("b.md")).expect("removed");
        kept(2, "it is an empty folder; when");
        std::fs::remove_dir(&disk).expect("removed");
        kept(2, "it does not exist; when");
        // Without the record, the folder is one that was emptied on purpose.
        assert_eq!(plan(&[], false).gone.len(), 3);
        std::fs::create_dir(&disk).expect("a folder");
        assert_eq!(plan(&mounts, true).gone, ["other/e.md"], "the disk is empty");
    }
}
