//! The traits that stores implement.

use crate::ann::{AnnBuild, AnnIndex, OnBuildStep};
use crate::error::{Error, Result};
use crate::provenance::Provenance;
use crate::record::{Collection, Counts, Document, Entry, Hit, Query};
use crate::replacement::{Replacement, SwitchCheck, SwitchEffect};
use crate::storage::Storage;
use std::any::Any;
use std::collections::HashSet;

/// The right to write to a store for longer than one call. It ends when this is dropped, or when
/// the process ends for any reason.
#[derive(Debug)]
pub struct Lock {
    _guard: Box<dyn Any>,
}

impl Lock {
    /// A lock that lasts as long as `guard`.
    pub fn holding(guard: impl Any) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

/// A set of documents with vectors that can be read. A name is that of a collection or of an alias.
///
/// Documents have an order: by path, unless the source has another one that is faster.
pub trait Source: Send {
    /// Its name or address for people, without a password.
    fn name(&self) -> String;

    /// The collection that `name` resolves to, if there is one.
    ///
    /// # Errors
    ///
    /// If the store fails; here and below.
    fn collection(&self, name: &str) -> Result<Option<Collection>>;

    /// Up to `limit` documents in order, after the path `after`; from the first one if that is
    /// empty.
    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>>;

    /// Those of the documents at `paths` that exist, in any order.
    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>>;

    /// Those of the documents at `paths` that exist, in any order, with their vectors as they are
    /// stored: see [`Storage::rounded`].
    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>>;

    /// Number of documents and chunks.
    fn count(&self, collection: &str) -> Result<Counts>;
}

/// A store: it keeps collections, which can be written and searched.
///
/// When a call returns, its changes are durable, and repeating the call changes nothing: documents
/// are identified by their paths, and chunks by their document and index. Calls that fail for a
/// transient reason, such as a restarting server, are retried a few times.
pub trait Store: Source {
    /// The storages that it supports, its default first.
    fn storages(&self) -> &'static [Storage];

    /// Keeps other processes that ask for the lock from writing. A store without locks grants one
    /// to every process.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) if another process holds it.
    fn lock(&self) -> Result<Lock>;

    /// All collections, by name.
    ///
    /// # Errors
    ///
    /// If the store fails; here and below.
    fn collections(&self) -> Result<Vec<Collection>>;

    /// Creates an empty collection. Fails if the name is taken, or if the store does not support
    /// such vectors.
    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()>;

    /// Removes a collection with its documents and aliases.
    fn drop_collection(&mut self, name: &str) -> Result<()>;

    /// Lets `alias` point to `collection`, in one step for all readers.
    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()>;

    /// Adds documents, replacing those with the same paths. A store with transactions writes all of
    /// them or none; any other marks a document that is not completely written with an empty hash.
    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()>;

    /// Adds the chunks of `document` after the `first` chunks that the store already has of it, and
    /// replaces its other fields. A large document is written in such pieces; until the last one,
    /// its hash is empty.
    fn append(&mut self, collection: &str, document: &Document, first: usize) -> Result<()> {
        let stored = self.documents(collection, std::slice::from_ref(&document.path))?;
        let mut whole = document.clone();
        let before = stored.into_iter().flat_map(|stored| stored.chunks).take(first);
        whole.chunks = before.chain(std::mem::take(&mut whole.chunks)).collect();
        self.upsert(collection, &[whole])
    }

    /// Removes the documents at `paths`, and returns how many existed.
    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize>;

    /// The chunks nearest to a query, best first.
    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>>;

    /// All documents, by path.
    fn list(&self, collection: &str) -> Result<Vec<Entry>>;

    /// Adds those of `documents` whose paths are new, and returns how many were. Concurrent writes
    /// of other processes are kept, if the store has transactions.
    fn insert(&mut self, collection: &str, documents: &[Document]) -> Result<usize> {
        let paths: Vec<String> = documents.iter().map(|document| document.path.clone()).collect();
        let stored = self.entries(collection, &paths)?;
        // An empty hash marks a document that was not completely written.
        let stored: HashSet<&str> = stored
            .iter()
            .filter(|entry| !entry.hash.is_empty())
            .map(|entry| entry.path.as_str())
            .collect();
        let new: Vec<Document> = documents
            .iter()
            .filter(|document| !stored.contains(document.path.as_str()))
            .cloned()
            .collect();
        self.upsert(collection, &new)?;
        Ok(new.len())
    }

    /// The collection whose [`Collection::id`] is `id`, if it exists.
    fn find_id(&self, id: &str) -> Result<Option<Collection>> {
        Ok(self.collections()?.into_iter().find(|found| found.id == id))
    }

    /// Lets the name resolve to the new collection, in one step for all readers. If it is the old
    /// collection's own name, that collection is renamed. A store with transactions checks in the
    /// same one what the name resolves to; any other checks it immediately before.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if the name resolves to a third collection.
    fn switch(&mut self, replacement: &Replacement<'_>) -> Result<()> {
        let (name, store) = (replacement.name, self.name());
        let found = self.collection(name)?;
        if !replacement.needs_switch(&store, found.as_ref())? {
            return Ok(());
        }
        if found.is_some_and(|found| found.name == name) {
            let kept = replacement.kept;
            return Err(Error::Unsupported {
                store,
                wanted: format!(
                    "way to rename the collection `{name}` to `{kept}` while it is read"
                ),
                known: "aliases: let readers use one, and switch that".to_owned(),
            });
        }
        let new = self.require_id(replacement.new)?;
        self.set_alias(name, &new.name)
    }

    /// Lets the name resolve to the old collection again, checked as in [`Self::switch`], and
    /// returns that collection.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if the name resolves to a third collection, or the old one no
    /// longer exists.
    fn switch_back(&mut self, replacement: &Replacement<'_>) -> Result<Collection> {
        let found = self.collection(replacement.name)?;
        let is_needed = replacement.needs_switch_back(&self.name(), found.as_ref())?;
        let old = self.require_id(replacement.old.unwrap_or_default())?;
        if is_needed {
            self.set_alias(replacement.name, &old.name)?;
        }
        Ok(old)
    }

    /// Removes the old collection if readers of the name use the new one, checked as in
    /// [`Self::switch`], and returns its name; `None` if it no longer exists.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if readers use the old one by this or another name.
    fn remove_replaced(&mut self, replacement: &Replacement<'_>) -> Result<Option<String>> {
        let Some(old) = self.find_id(replacement.old.unwrap_or_default())? else {
            return Ok(None);
        };
        let found = self.collection(replacement.name)?;
        replacement.check_removal(&self.name(), found.as_ref(), &old)?;
        self.drop_collection(&old.name)?;
        Ok(Some(old.name))
    }

    /// The calls or statements of [`Self::switch`], for people.
    fn switch_calls(&self, name: &str, collection: &str, kept: &str) -> Result<Vec<String>>;

    /// Why the store cannot hold a document as it is, for people; `None` if it can.
    fn refusal(&self, _document: &Document) -> Option<String> {
        None
    }

    /// What depends on the collection that `name` resolves to besides its readers, and what a switch
    /// does with each.
    fn switch_effects(&self, _name: &str) -> Result<Vec<SwitchEffect>> {
        Ok(Vec::new())
    }

    /// Conditions of a switch from the collection `old` to `new` besides their documents. If readers
    /// already use `new`, nothing may still use `old`.
    fn switch_checks(&self, _old: &str, _new: &str) -> Result<Vec<SwitchCheck>> {
        Ok(Vec::new())
    }

    /// Ends a series of changes: the store may now compact its files and update its indexes.
    fn finish(&mut self, _collection: &str) -> Result<()> {
        Ok(())
    }

    /// The ANN index that [`Self::build_ann`] built, if there is one.
    fn ann(&self, _collection: &str) -> Result<Option<AnnIndex>> {
        Ok(None)
    }

    /// Builds an ANN index of all current vectors and measures it. From then on, [`Self::search`]
    /// uses it unless a query is exact or filtered. The collection may be read and written
    /// meanwhile. An earlier index stays in use until the new one is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the store has an index of its own, [`Error::Busy`] if another
    /// process builds one, [`Error::Stopped`] if `on_step` returns false, [`Error::MissingFeature`]
    /// in a build without the feature `ann`.
    fn build_ann(&mut self, _collection: &str, _on_step: &OnBuildStep<'_>) -> Result<AnnBuild> {
        Err(Error::Unsupported {
            store: self.name(),
            wanted: "ANN index that kokeshi builds".to_owned(),
            known: "an index that its server maintains and search uses".to_owned(),
        })
    }

    /// The record of indexed folders; `None` if another program writes the documents, so that files
    /// cannot be indexed into this store.
    fn folders(&self) -> Option<&dyn IndexedFolders> {
        None
    }

    /// As [`Self::folders`], mutable.
    fn folders_mut(&mut self) -> Option<&mut dyn IndexedFolders> {
        None
    }
}

/// The record of an indexer of files in a store, from which the next run knows what to index again.
pub trait IndexedFolders {
    /// Records the path, modification time and size of files whose contents are unchanged.
    ///
    /// # Errors
    ///
    /// If the store fails; here and below.
    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()>;

    /// Paths that were indexed into a collection, each with its options as JSON.
    fn roots(&self, collection: &str) -> Result<Vec<(String, String)>>;

    /// Records that `path` was indexed with `options`.
    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()>;

    /// Forgets that `path` was indexed, and returns whether it was.
    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool>;

    /// The note under `key`, if the store keeps notes of this machine.
    fn note(&self, _key: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Writes the note `value` under `key`, which describes it in a sentence.
    fn set_note(&self, _key: &str, _value: &str) -> Result<()> {
        Ok(())
    }
}

/// The collection whose [`Collection::id`] is `id`.
trait RequireId: Store {
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if it no longer exists.
    fn require_id(&self, id: &str) -> Result<Collection> {
        self.find_id(id)?.ok_or_else(|| Error::gone(self.name()))
    }
}

impl<S: Store + ?Sized> RequireId for S {}

impl dyn Store + '_ {
    /// The paths that were indexed into a collection with their options; none if the store keeps no
    /// record of them.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn roots(&self, collection: &str) -> Result<Vec<(String, String)>> {
        self.folders().map_or(Ok(Vec::new()), |folders| folders.roots(collection))
    }

    /// The record of indexed folders.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if there is none: another program writes the documents.
    pub fn require_folders(&mut self) -> Result<&mut dyn IndexedFolders> {
        let store = self.name();
        self.folders_mut().ok_or_else(|| Error::Unsupported {
            store,
            wanted: "record of indexed folders".to_owned(),
            known: "documents that another program writes".to_owned(),
        })
    }
}
