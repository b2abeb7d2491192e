//! The steps that readers notice: each is one step of the store.

use crate::error::{Error, Result};
use crate::ledger::{Ledger, Progress, State};
use crate::plan::Plan;
use kokeshi_store::{Counts, Entry, Source, Store, pages};
use sha2::{Digest, Sha256};

/// Documents that are listed at a time.
const PAGE: usize = 4096;

/// What both collections hold, as it is kept with a verification: their sizes, and a hash of the paths,
/// contents and times of their documents.
pub(crate) fn contents(
    plan: &Plan,
    from: &str,
    (source, store): (&dyn Source, &dyn Source),
) -> Result<String> {
    let side = |store: &dyn Source, collection: &str| -> Result<String> {
        let Counts { documents, chunks } = store.count(collection)?;
        let mut hash = Sha256::new();
        for page in pages(store, collection, "", PAGE) {
            for Entry { path, hash: content, modified, .. } in &page? {
                hash.update(format!("{}:{path}{content}:{modified};", path.len()));
            }
        }
        let digest = hash.finalize().iter().take(4).fold(0_u32, |all, x| all << 8 | u32::from(*x));
        Ok(format!("{documents} documents, {chunks} chunks ({digest:08x})"))
    };
    let (old, new) = (side(source, from)?, side(store, &plan.to.collection)?);
    Ok(format!("old: {old}; new: {new}"))
}

fn known(plan: &Plan, ledger: &Ledger) -> Result<Progress> {
    let found = ledger.find(&plan.name)?;
    let unknown = || Error::Changed {
        name: plan.name.clone(),
        what: "the ledger does not know it: `run` enters it".to_owned(),
    };
    let found = found.ok_or_else(unknown)?;
    ledger.begin(&plan.name, &plan.fingerprint())?;
    Ok(found)
}

fn refused(plan: &Plan, state: State, wanted: &'static str, next: &str) -> Error {
    Error::State { name: plan.name.clone(), state, wanted, next: next.to_owned() }
}

/// Lets readers have the new collection. Nothing happens if they have it.
///
/// # Errors
///
/// If the plan is not verified, or either collection has been changed since.
pub fn switch(
    plan: &Plan,
    source: &dyn Source,
    store: &mut dyn Store,
    ledger: &Ledger,
) -> Result<()> {
    let found = known(plan, ledger)?;
    match found.state {
        State::Verified => {}
        // A process that was killed in the middle of this comes here again.
        State::Switched => return Ok(()),
        state => {
            return Err(refused(plan, state, "switched", "`run` and `verify` come first"));
        }
    }
    // A name that belonged to nothing before leads to the new collection already.
    if !is_switched(plan, store)? || plan.switch == plan.to.collection {
        let from = &plan.from.collection;
        let now = contents(plan, from, (source, store))?;
        let then = found.verified.unwrap_or_default();
        if now != then {
            let what =
                format!("it was verified with {then}, and is {now}: `run` and `verify` again");
            return Err(Error::Changed { name: plan.name.clone(), what });
        }
        if plan.switch != plan.to.collection {
            store.switch(&plan.switch, &plan.to.collection, &plan.kept)?;
        }
    }
    ledger.set_state(&plan.name, State::Switched)
}

/// Whether readers have the new collection.
fn is_switched(plan: &Plan, store: &dyn Source) -> Result<bool> {
    Ok(store.collection(&plan.switch)?.is_some_and(|found| found.name == plan.to.collection))
}

/// What the old collection is called after a switch.
pub(crate) fn old_name<'a>(plan: &'a Plan, store: &dyn Source) -> Result<&'a str> {
    let may_be = !plan.is_apart() && plan.switch == plan.from.collection;
    let renamed = may_be && store.collection(&plan.kept)?.is_some();
    Ok(if renamed { &plan.kept } else { &plan.from.collection })
}

/// Lets readers have the old collection again. Nothing happens if they have it.
///
/// # Errors
///
/// If the plan is not switched.
pub fn rollback(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<()> {
    let found = known(plan, ledger)?;
    if found.state != State::Switched {
        return Err(refused(plan, found.state, "rolled back", "there is nothing to take back"));
    }
    if plan.is_apart() {
        let next = "the old vectors lie elsewhere: let readers go back to those";
        return Err(refused(plan, found.state, "rolled back", next));
    }
    // Where there are no aliases, readers go back by themselves.
    if plan.switch != plan.to.collection && is_switched(plan, store)? {
        let old = old_name(plan, store)?.to_owned();
        // Its own name has become an alias by the switch.
        store.set_alias(&plan.switch, &old)?;
    }
    // Verified once, both may have changed since.
    ledger.set_state(&plan.name, State::Running)
}

/// Drops the old collection, unless it lies elsewhere. Returns what it was called.
///
/// # Errors
///
/// If the plan is not switched.
pub fn clean(plan: &Plan, store: &mut dyn Store, ledger: &Ledger) -> Result<Option<String>> {
    let found = known(plan, ledger)?;
    if found.state != State::Switched || !is_switched(plan, store)? {
        let next = "only what readers no longer have can be removed";
        return Err(refused(plan, found.state, "cleaned", next));
    }
    if plan.is_apart() {
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
