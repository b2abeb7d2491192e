//! One collection replaces another for the readers of a name: what such a step may touch.

use crate::error::{Error, Result};
use crate::record::Collection;

/// A new collection and the old one that it replaces for the readers of a name. Collections are
/// given by their ids ([`Collection::id`]), not by their names, because names can be given to other
/// collections, and plans that contain names can be edited.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// The name that readers use.
    pub name: &'a str,
    /// The id of the old collection; `None` if that is in another store.
    pub old: Option<&'a str>,
    /// The id of the new collection.
    pub new: &'a str,
    /// The name of the old collection while `name` resolves to the new one, if `name` is the old
    /// collection's own name.
    pub kept: &'a str,
}

/// Something that depends on what readers of a name use, and what a switch does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchEffect {
    /// Its kind and name, for people.
    pub what: String,
    /// What becomes of it, for people.
    pub effect: String,
    /// Whether the switch is refused while it exists.
    pub is_refused: bool,
    /// Statements for the user, in order: if the switch is refused, those that remove it before the
    /// switch and create it again after that.
    pub statements: Vec<String>,
}

/// A condition of a switch that only the store can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchCheck {
    /// The condition.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// The objects behind it, for people.
    pub detail: String,
}

impl Replacement<'_> {
    /// Whether a switch has anything to do, if `found` is what the name resolves to now.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if that is neither the old collection nor the new one.
    pub fn needs_switch(&self, store: &str, found: Option<&Collection>) -> Result<bool> {
        match found {
            Some(found) if found.id == self.new => Ok(false),
            Some(found) if Some(found.id.as_str()) != self.old => Err(self.other(store, found)),
            _ => Ok(true),
        }
    }

    /// Whether a switch back has anything to do, if `found` is what the name resolves to now.
    ///
    /// # Errors
    ///
    /// As [`Self::needs_switch`], and if the name resolves to nothing.
    pub fn needs_switch_back(&self, store: &str, found: Option<&Collection>) -> Result<bool> {
        match found {
            Some(found) if Some(found.id.as_str()) == self.old => Ok(false),
            Some(found) if found.id == self.new => Ok(true),
            Some(found) => Err(self.other(store, found)),
            None => {
                let reason = format!("`{}` resolves to no collection", self.name);
                Err(Error::NotReplaceable { store: store.to_owned(), reason })
            }
        }
    }

    /// Checks that the old collection may be removed: readers of the name use the new one, `found`,
    /// and no other name leads to `old`.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplaceable`] if readers use the old one by this or another name.
    pub fn check_removal(
        &self,
        store: &str,
        found: Option<&Collection>,
        old: &Collection,
    ) -> Result<()> {
        let refused = |reason| Err(Error::NotReplaceable { store: store.to_owned(), reason });
        match found {
            Some(found) if found.id != self.new => return Err(self.other(store, found)),
            None => return refused(format!("`{}` resolves to no collection", self.name)),
            Some(_) => {}
        }
        if old.id == self.new || Some(old.id.as_str()) != self.old {
            return refused(format!("`{}` is not the old collection", old.name));
        }
        match old.aliases.first() {
            Some(alias) => refused(format!("`{alias}` still points to `{}`", old.name)),
            None => Ok(()),
        }
    }

    fn other(&self, store: &str, found: &Collection) -> Error {
        let reason = match found.name == self.name {
            true => format!("`{}` is a collection that does not belong to it", self.name),
            false => format!("`{}` points to `{}`", self.name, found.name),
        };
        Error::NotReplaceable { store: store.to_owned(), reason }
    }
}
