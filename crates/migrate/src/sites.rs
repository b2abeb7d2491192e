//! Where both sides of a migration lie.

use crate::error::Result;
use crate::plan::Plan;
use kokeshi_store::{Address, Fields, Source, Store};

/// The addresses of a plan, with their passwords, which plans do not hold.
#[derive(Clone, Debug)]
pub struct Sites {
    /// Where the new collection comes to lie.
    pub store: Address,
    /// Where the old one lies, if not there.
    pub source: Option<Address>,
    /// How the side is laid out that another program made: the source, or without one, the store.
    pub fields: Option<Fields>,
}

impl Sites {
    /// Both sides in one store that kokeshi made.
    pub fn one(store: Address) -> Self {
        Self { store, source: None, fields: None }
    }

    /// Opens the store, where the new collection comes beside the old one `from`, or alone.
    ///
    /// # Errors
    ///
    /// If it cannot be opened. One that is a file is made if the old collection lies elsewhere.
    pub fn store(&self, from: &str) -> Result<Box<dyn Store>> {
        Ok(match (&self.source, &self.fields) {
            (None, Some(fields)) => kokeshi_remote::open_foreign(&self.store, fields, from)?,
            (None, None) => kokeshi_remote::open(&self.store)?,
            (Some(_), _) => kokeshi_remote::create(&self.store)?,
        })
    }

    /// Opens what the old collection `collection` is read from.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is a file with a row that cannot be read.
    pub fn source(&self, collection: &str) -> Result<Box<dyn Source>> {
        let address = self.source.as_ref().unwrap_or(&self.store);
        Ok(kokeshi_remote::open_source(address, self.fields.as_ref(), collection)?)
    }
}

impl Plan {
    /// Whether both are collections of another program, whose points have no times.
    pub(crate) fn is_twin(&self) -> bool {
        !self.is_apart() && self.fields.as_ref().is_some_and(|fields| fields.table.is_none())
    }

    /// Whether the old collection lies in another place than the new one.
    pub fn is_apart(&self) -> bool {
        self.source.is_some()
    }
}
