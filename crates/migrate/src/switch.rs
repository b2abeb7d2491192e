//! The steps that affect readers; each is atomic in the store. They touch the collections that
//! `run` recorded, by their ids: names in a plan can be edited, and given to other collections.

use crate::error::{Error, Result};
use crate::ledger::{Ledger, MigrationProgress, MigrationRecord, State};
use crate::plan::Plan;
use kokeshi_store::{Counts, Entry, Replacement, Source, Store, pages};
use sha2::{Digest, Sha256};

/// Number of documents that are listed at a time.
const PAGE: usize = 4096;

/// What [`clean`] removes, or has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The collection of this name.
    Collection(String),
    /// Nothing: the old collection no longer exists.
    Gone,
    /// Nothing: the old vectors are in another store.
    Elsewhere,
}

/// The state of both collections, which is recorded with a verification: their sizes, and a hash of
/// the paths, contents and times of their documents.
pub(crate) fn state_of_both(
    plan: &Plan,
    from: &str,
    (source, store): (&dyn Source, &dyn Source),
) -> Result<String> {
    let (old, new) = (state_of(source, from)?, state_of(store, &plan.to.collection)?);
    Ok(format!("old: {old}; new: {new}"))
}

fn state_of(store: &dyn Source, collection: &str) -> Result<String> {
    let Counts { documents, chunks } = store.count(collection)?;
    let mut hash = Sha256::new();
    for page in pages(store, collection, "", PAGE) {
        for Entry { path, hash: content, modified, .. } in page? {
            hash.update(format!("{}:{path}{content}:{modified};", path.len()));
        }
    }
    let digest = hash.finalize().iter().take(4).fold(0_u32, |all, x| all << 8 | u32::from(*x));
    Ok(format!("{documents} documents, {chunks} chunks ({digest:08x})"))
}

/// The progress of a migration that has begun, with what its steps may touch.
fn progress(
    plan: &Plan,
    store: &dyn Store,
    ledger: &Ledger,
) -> Result<(MigrationProgress, MigrationRecord)> {
    let progress = ledger.find(&plan.name)?;
    let unknown = || Error::Changed {
        name: plan.name.clone(),
        difference: "the ledger does not contain it: `run` adds it".to_owned(),
    };
    let progress = progress.ok_or_else(unknown)?;
    plan.check_unedited(&progress)?;
    let record = match &progress.record {
        Some(record) => record.clone(),
        None => adopted(plan, &progress, store)?,
    };
    Ok((progress, record))
}

/// The record of a migration that a version without records began: its collections are those that
/// the plan names, if the old one still is in the state that was verified.
fn adopted(
    plan: &Plan,
    progress: &MigrationProgress,
    store: &dyn Store,
) -> Result<MigrationRecord> {
    let new = store.collection(&plan.to.collection)?;
    let new = new.ok_or_else(|| Error::missing(&plan.name, &plan.to.collection))?;
    let mut old = None;
    if !plan.is_between_stores() {
        let name = old_name(plan, None, store)?;
        let found = store.collection(name)?;
        let found = found.ok_or_else(|| Error::missing(&plan.name, name))?;
        let verified = progress.verified.as_deref().unwrap_or_default();
        let was_verified = !matches!(progress.state, State::Planned | State::Running);
        if was_verified && !verified.starts_with(&format!("old: {};", state_of(store, name)?)) {
            let difference = format!(
                "an earlier version of kokeshi began it, and `{name}` is not in the state that \
                 was verified then ({verified})"
            );
            return Err(Error::Changed { name: plan.name.clone(), difference });
        }
        old = Some(found.id);
    }
    Ok(MigrationRecord { plan: plan.to_value(), old, new: new.id })
}

fn replacement<'a>(plan: &'a Plan, record: &'a MigrationRecord) -> Replacement<'a> {
    let (name, kept) = (&plan.switch, &plan.kept);
    Replacement { name, old: record.old.as_deref(), new: &record.new, kept }
}

fn out_of_order(plan: &Plan, state: State, wanted: &'static str, next: &str) -> Error {
    Error::State { name: plan.name.clone(), state, wanted, next: next.to_owned() }
}

/// Switches readers to the new collection. Does nothing if they already use it.
///
/// # Errors
///
/// If the plan is not verified or was edited since, or one of the collections has changed since.
pub fn switch(
    plan: &Plan,
    source: &dyn Source,
    store: &mut dyn Store,
    ledger: &Ledger,
) -> Result<()> {
    let (progress, record) = progress(plan, store, ledger)?;
    match progress.state {
        State::Verified => {}
        State::Switched => return Ok(()),
        state => {
            return Err(out_of_order(plan, state, "switched", "`run` and `verify` come first"));
        }
    }
    // A killed process may have switched without recording it. A plan that switches to the new
    // collection's own name has nothing to switch.
    if !is_switched(plan, &record, store)? || plan.switch == plan.to.collection {
        let from = &plan.from.collection;
        let now = state_of_both(plan, from, (source, store))?;
        let verified = progress.verified.unwrap_or_default();
        if now != verified {
            let difference = format!(
                "it was verified with {verified}, and is now {now}: `run` and `verify` again"
            );
            return Err(Error::Changed { name: plan.name.clone(), difference });
        }
    }
    // From now on, the names of the switch cannot be edited either.
    let record = MigrationRecord { plan: plan.to_value(), ..record };
    ledger.set_record(&plan.name, &record)?;
    if plan.switch != plan.to.collection {
        store.switch(&replacement(plan, &record))?;
    }
    ledger.set_state(&plan.name, State::Switched)
}

/// Whether readers use the new collection.
fn is_switched(plan: &Plan, record: &MigrationRecord, store: &dyn Source) -> Result<bool> {
    Ok(store.collection(&plan.switch)?.is_some_and(|found| found.id == record.new))
}

/// The current name of the old collection, which a switch may have changed. Without a record, it is
/// a guess from the names that exist.
pub(crate) fn old_name<'a>(
    plan: &'a Plan,
    record: Option<&MigrationRecord>,
    store: &dyn Source,
) -> Result<&'a str> {
    let may_be_renamed = !plan.is_between_stores() && plan.switch == plan.from.collection;
    let is_old = |id: String| record.is_none_or(|record| record.old.as_ref() == Some(&id));
    let is_renamed =
        may_be_renamed && store.collection(&plan.kept)?.is_some_and(|found| is_old(found.id));
    Ok(if is_renamed { &plan.kept } else { &plan.from.collection })
}

/// Switches readers back to the old collection, and returns its name. Does nothing if they already
/// use it.
///
/// # Errors
///
/// If the plan is not switched or was edited since, or readers use a third collection.
pub fn rollback(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<String> {
    let (progress, record) = progress(plan, store, ledger)?;
    if progress.state != State::Switched {
        return Err(out_of_order(
            plan,
            progress.state,
            "rolled back",
            "there is no switch to undo",
        ));
    }
    if plan.is_between_stores() {
        let next = "the old vectors are in another store: point readers back to it";
        return Err(out_of_order(plan, progress.state, "rolled back", next));
    }
    // Where the name is the new collection's own, readers return to the old one by themselves.
    let old = match plan.switch == plan.to.collection {
        true => old_collection(plan, &record, store)?,
        // The switch has made the old collection's own name an alias.
        false => store.switch_back(&replacement(plan, &record))?.name,
    };
    // Both may have changed since the verification: a switch needs another one.
    ledger.set_state(&plan.name, State::RolledBack)?;
    Ok(old)
}

/// The name of the old collection, which must exist.
fn old_collection(plan: &Plan, record: &MigrationRecord, store: &dyn Store) -> Result<String> {
    let found = store.find_id(record.old.as_deref().unwrap_or_default())?;
    let missing = || Error::missing(&plan.name, &plan.from.collection);
    Ok(found.ok_or_else(missing)?.name)
}

/// What [`clean`] would remove.
///
/// # Errors
///
/// As [`clean`].
pub fn removal(plan: &Plan, store: &dyn Store, ledger: &Ledger) -> Result<Removal> {
    let (progress, record) = progress(plan, store, ledger)?;
    check_cleanable(plan, &progress, &record, store)?;
    let Some(old) = &record.old else { return Ok(Removal::Elsewhere) };
    let Some(old) = store.find_id(old)? else { return Ok(Removal::Gone) };
    let found = store.collection(&plan.switch)?;
    replacement(plan, &record).check_removal(&store.name(), found.as_ref(), &old)?;
    Ok(Removal::Collection(old.name))
}

/// Removes the old collection, unless it is in another store, and returns what was removed.
///
/// # Errors
///
/// If the plan is not switched or was edited since, or readers use the old collection.
pub fn clean(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<Removal> {
    let (progress, record) = progress(plan, store, ledger)?;
    check_cleanable(plan, &progress, &record, store)?;
    let removal = match record.old {
        None => Removal::Elsewhere,
        Some(_) => match store.remove_replaced(&replacement(plan, &record))? {
            Some(name) => Removal::Collection(name),
            None => Removal::Gone,
        },
    };
    ledger.clear_written(&plan.name)?;
    ledger.set_state(&plan.name, State::Cleaned)?;
    Ok(removal)
}

fn check_cleanable(
    plan: &Plan,
    progress: &MigrationProgress,
    record: &MigrationRecord,
    store: &dyn Store,
) -> Result<()> {
    if progress.state == State::Switched && is_switched(plan, record, store)? {
        return Ok(());
    }
    let next = "only a collection that readers no longer use can be removed";
    Err(out_of_order(plan, progress.state, "cleaned", next))
}
