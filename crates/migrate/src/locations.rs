//! The locations of both sides of a migration.

use crate::error::Result;
use crate::plan::Plan;
use kokeshi_store::{Address, Fields, Source, Store};

/// The addresses of a plan, with their passwords, which plans do not contain.
#[derive(Clone, Debug)]
pub struct Locations {
    /// The store of the new collection.
    pub store: Address,
    /// The source of the old collection, if that is in another store.
    pub source: Option<Address>,
    /// The fields of the foreign side: the source or, without one, the store.
    pub fields: Option<Fields>,
}

impl Locations {
    /// Both sides in one store that kokeshi created.
    pub fn within(store: Address) -> Self {
        Self { store, source: None, fields: None }
    }

    /// Opens the store of the new collection. `from` is the old collection, if it is in the same
    /// store.
    ///
    /// # Errors
    ///
    /// If it cannot be opened. A missing file is created if the old collection is in another store.
    pub fn open_store(&self, from: &str) -> Result<Box<dyn Store>> {
        Ok(match (&self.source, &self.fields) {
            (None, Some(fields)) => kokeshi_remote::open_foreign(&self.store, fields, from)?,
            (None, None) => kokeshi_remote::open(&self.store)?,
            (Some(_), _) => kokeshi_remote::create(&self.store)?,
        })
    }

    /// Opens the source that the old collection `collection` is read from.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is a file with a row that cannot be read.
    pub fn open_source(&self, collection: &str) -> Result<Box<dyn Source>> {
        let address = self.source.as_ref().unwrap_or(&self.store);
        Ok(kokeshi_remote::open_source(address, self.fields.as_ref(), collection)?)
    }
}

impl Plan {
    /// Whether the new collection is a shadow copy of the old one: both are in a vector database,
    /// and the old one is foreign.
    pub(crate) fn has_shadow_copy(&self) -> bool {
        !self.is_between_stores()
            && self.fields.as_ref().is_some_and(|fields| fields.table.is_none())
    }

    /// Whether the old collection is in another store than the new one.
    pub fn is_between_stores(&self) -> bool {
        self.source.is_some()
    }
}
