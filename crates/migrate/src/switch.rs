//! The steps that affect readers; each is atomic in the store.

use crate::error::{Error, Result};
use crate::ledger::{Ledger, MigrationProgress, State};
use crate::plan::Plan;
use kokeshi_store::{Counts, Entry, Source, Store, pages};
use sha2::{Digest, Sha256};

/// Number of documents that are listed at a time.
const PAGE: usize = 4096;

/// The state of both collections, which is recorded with a verification: their sizes, and a hash of
/// the paths, contents and times of their documents.
pub(crate) fn state_of_both(
    plan: &Plan,
    from: &str,
    (source, store): (&dyn Source, &dyn Source),
) -> Result<String> {
    let side = |store: &dyn Source, collection: &str| -> Result<String> {
        let Counts { documents, chunks } = store.count(collection)?;
        let mut hash = Sha256::new();
        for page in pages(store, collection, "", PAGE) {
            for Entry { path, hash: content, modified, .. } in page? {
                hash.update(format!("{}:{path}{content}:{modified};", path.len()));
            }
        }
        let digest = hash.finalize().iter().take(4).fold(0_u32, |all, x| all << 8 | u32::from(*x));
        Ok(format!("{documents} documents, {chunks} chunks ({digest:08x})"))
    };
    let (old, new) = (side(source, from)?, side(store, &plan.to.collection)?);
    Ok(format!("old: {old}; new: {new}"))
}

/// The progress of a migration that has begun.
fn progress(plan: &Plan, ledger: &Ledger) -> Result<MigrationProgress> {
    let progress = ledger.find(&plan.name)?;
    let unknown = || Error::Changed {
        name: plan.name.clone(),
        difference: "the ledger does not contain it: `run` adds it".to_owned(),
    };
    let progress = progress.ok_or_else(unknown)?;
    ledger.begin(&plan.name, &plan.fingerprint())?;
    Ok(progress)
}

fn out_of_order(plan: &Plan, state: State, wanted: &'static str, next: &str) -> Error {
    Error::State { name: plan.name.clone(), state, wanted, next: next.to_owned() }
}

/// Switches readers to the new collection. Does nothing if they already use it.
///
/// # Errors
///
/// If the plan is not verified, or one of the collections has changed since.
pub fn switch(
    plan: &Plan,
    source: &dyn Source,
    store: &mut dyn Store,
    ledger: &Ledger,
) -> Result<()> {
    let progress = progress(plan, ledger)?;
    match progress.state {
        State::Verified => {}
        State::Switched => return Ok(()),
        state => {
            return Err(out_of_order(plan, state, "switched", "`run` and `verify` come first"));
        }
    }
    // A killed process may have switched without recording it. A plan that switches to the new
    // collection's own name has nothing to switch.
    if !is_switched(plan, store)? || plan.switch == plan.to.collection {
        let from = &plan.from.collection;
        let now = state_of_both(plan, from, (source, store))?;
        let verified = progress.verified.unwrap_or_default();
        if now != verified {
            let difference = format!(
                "it was verified with {verified}, and is now {now}: `run` and `verify` again"
            );
            return Err(Error::Changed { name: plan.name.clone(), difference });
        }
        if plan.switch != plan.to.collection {
            store.switch(&plan.switch, &plan.to.collection, &plan.kept)?;
        }
    }
    ledger.set_state(&plan.name, State::Switched)
}

/// Whether readers use the new collection.
fn is_switched(plan: &Plan, store: &dyn Source) -> Result<bool> {
    Ok(store.collection(&plan.switch)?.is_some_and(|found| found.name == plan.to.collection))
}

/// The current name of the old collection, which a switch may have changed.
pub(crate) fn old_name<'a>(plan: &'a Plan, store: &dyn Source) -> Result<&'a str> {
    let may_be_renamed = !plan.is_between_stores() && plan.switch == plan.from.collection;
    let is_renamed = may_be_renamed && store.collection(&plan.kept)?.is_some();
    Ok(if is_renamed { &plan.kept } else { &plan.from.collection })
}

/// Switches readers back to the old collection. Does nothing if they already use it.
///
/// # Errors
///
/// If the plan is not switched.
pub fn rollback(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<()> {
    let progress = progress(plan, ledger)?;
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
    if plan.switch != plan.to.collection && is_switched(plan, store)? {
        let old = old_name(plan, store)?.to_owned();
        // The switch has made the old collection's own name an alias.
        store.set_alias(&plan.switch, &old)?;
    }
    // Both may have changed since the verification: a switch needs another one.
    ledger.set_state(&plan.name, State::RolledBack)
}

/// Removes the old collection, unless it is in another store, and returns its name.
///
/// # Errors
///
/// If the plan is not switched.
pub fn clean(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<Option<String>> {
    let progress = progress(plan, ledger)?;
    if progress.state != State::Switched || !is_switched(plan, store)? {
        let next = "only a collection that readers no longer use can be removed";
        return Err(out_of_order(plan, progress.state, "cleaned", next));
    }
    if plan.is_between_stores() {
        ledger.set_state(&plan.name, State::Cleaned)?;
        return Ok(None);
    }
    let old = old_name(plan, store)?.to_owned();
    if store.collection(&old)?.is_some_and(|found| found.name == old) {
        store.drop_collection(&old)?;
    }
    ledger.clear_written(&plan.name)?;
    ledger.set_state(&plan.name, State::Cleaned)?;
    Ok(Some(old))
}
