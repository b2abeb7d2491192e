//! One collection replaces another; each step checks what it touches in its own transaction.

use super::{Sqlite, collections};
use crate::error::{Error, Result};
use crate::record::Collection;
use crate::replacement::Replacement;
use crate::traits::Source as _;

impl Sqlite {
    pub(super) fn switch_to_new(&self, replacement: &Replacement<'_>) -> Result<()> {
        self.write(|connection| {
            let fail = Error::sqlite(&self.path);
            let name = replacement.name;
            let named = collections::find(connection, name).map_err(fail)?;
            let found = named.as_ref().map(|(_, found)| found);
            if !replacement.needs_switch(&self.name(), found)? {
                return Ok(());
            }
            let (new, _) = self.require_id(replacement.new)?;
            if let Some((old, _)) = named.filter(|(_, found)| found.name == name) {
                self.refuse_taken(replacement.kept)?;
                collections::rename(connection, old, replacement.kept).map_err(fail)?;
            }
            collections::set_alias(connection, name, new).map_err(fail)
        })
    }

    pub(super) fn switch_to_old(&self, replacement: &Replacement<'_>) -> Result<Collection> {
        self.write(|connection| {
            let fail = Error::sqlite(&self.path);
            let name = replacement.name;
            let found = collections::find(connection, name).map_err(fail)?.map(|(_, found)| found);
            let is_needed = replacement.needs_switch_back(&self.name(), found.as_ref())?;
            let (id, old) = self.require_id(replacement.old.unwrap_or_default())?;
            if is_needed {
                self.refuse_own_name(connection, name)?;
                collections::set_alias(connection, name, id).map_err(fail)?;
            }
            Ok(old)
        })
    }

    pub(super) fn remove_old(&self, replacement: &Replacement<'_>) -> Result<Option<String>> {
        let removed = self.write(|connection| {
            let fail = Error::sqlite(&self.path);
            let old = collections::find_id(connection, replacement.old.unwrap_or_default());
            let Some((id, old)) = old.map_err(fail)? else { return Ok(None) };
            let found = collections::find(connection, replacement.name).map_err(fail)?;
            let found = found.map(|(_, found)| found);
            replacement.check_removal(&self.name(), found.as_ref(), &old)?;
            self.remove_rows(connection, id)?;
            Ok(Some((id, old.name)))
        })?;
        Ok(removed.map(|(id, name)| {
            self.remove_caches(id);
            name
        }))
    }

    /// The collection with this [`Collection::id`], with its id in this file.
    fn require_id(&self, id: &str) -> Result<(i64, Collection)> {
        let found =
            collections::find_id(&self.connection, id).map_err(Error::sqlite(&self.path))?;
        found.ok_or_else(|| Error::gone(self.name()))
    }
}
