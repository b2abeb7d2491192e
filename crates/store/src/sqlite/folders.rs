//! What an indexer of folders records in an SQLite file.

use super::{Sqlite, collections, documents};
use crate::error::{Error, Result};
use crate::traits::IndexedFolders;

impl IndexedFolders for Sqlite {
    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()> {
        self.write(|connection| {
            let (id, _) = self.require(collection)?;
            documents::set_seen(connection, id, seen).map_err(Error::sqlite(&self.path))
        })
    }

    fn roots(&self, collection: &str) -> Result<Vec<(String, String)>> {
        let (id, _) = self.require(collection)?;
        collections::roots(&self.connection, id).map_err(Error::sqlite(&self.path))
    }

    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()> {
        self.write(|connection| {
            let (id, _) = self.require(collection)?;
            let set = collections::set_root(connection, id, path, options);
            set.map_err(Error::sqlite(&self.path))
        })
    }

    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool> {
        self.write(|connection| {
            let (id, _) = self.require(collection)?;
            collections::remove_root(connection, id, path).map_err(Error::sqlite(&self.path))
        })
    }

    fn note(&self, key: &str) -> Result<Option<String>> {
        let note = collections::note(&self.connection, key);
        note.map_err(Error::sqlite(&self.path))
    }

    fn set_note(&self, key: &str, value: &str) -> Result<()> {
        self.write(|connection| {
            collections::set_note(connection, key, value).map_err(Error::sqlite(&self.path))
        })
    }
}
