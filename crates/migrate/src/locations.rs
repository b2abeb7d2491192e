//! The locations of both sides of a migration.

use crate::error::Result;
use crate::plan::Plan;
use kokeshi_store::{Address, Fields, Source, Store};

/// The addresses of a plan, with their passwords, which plans do not contain.
#[derive(Clone, Debug)]
pub struct Locations {
    /// The store of the new collection.
    pub store: Address,
    /// The source of the old one, if it is elsewhere.
    pub source: Option<Address>,
    /// The layout of the foreign side: the source, or without one, the store.
    pub fields: Option<Fields>,
}

impl Locations {
    /// Both sides in one store of kokeshi's.
    pub fn within(store: Address) -> Self {
        Self { store, source: None, fields: None }
    }

    /// Opens the store of the new collection, next to the old one `from` if that is in it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened. A file is created if the old collection is elsewhere.
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
    /// Whether both sides are collections of another program in a vector database, whose points
    /// have no times: the new one is a shadow copy of the old one.
    pub(crate) fn has_shadow_copy(&self) -> bool {
        !self.is_between_stores()
            && self.fields.as_ref().is_some_and(|fields| fields.table.is_none())
    }

    /// Whether the old collection is elsewhere than the new one.
    pub fn is_between_stores(&self) -> bool {
        self.source.is_some()
    }
}
