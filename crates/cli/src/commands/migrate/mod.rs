//! `kokeshi migrate`: from one model to another beside the old collection.

mod page;
mod plan;
mod queries;
mod run;
mod status;
mod steps;
mod verify;

use crate::args::{DeviceArguments, MigrateCommand, PlanArguments};
use crate::collection::load_model;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection::Loader;
use anyhow::Context;
use kokeshi_collections::{Embedder, NamedModel};
use kokeshi_migrate::{Ledger, Plan, Side, Sites};
use kokeshi_store::{Address, Source, Store};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(command: &MigrateCommand, printer: &Printer) -> anyhow::Result<ExitCode> {
    match command {
        MigrateCommand::Plan(arguments) => plan::run(arguments, printer)?,
        MigrateCommand::Run(arguments) => return run::run(arguments, printer),
        MigrateCommand::Verify(arguments) => return verify::run(arguments, printer),
        MigrateCommand::Switch(arguments) => steps::switch(arguments, printer)?,
        MigrateCommand::Rollback(arguments) => steps::rollback(arguments, printer)?,
        MigrateCommand::Clean(arguments) => steps::clean(arguments, printer)?,
        MigrateCommand::Status(arguments) => status::run(arguments, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan, with what it is about.
struct Opened {
    plan: Plan,
    sites: Sites,
    store: Box<dyn Store>,
    ledger: PathBuf,
    /// Held as long as this is: one process works on a plan at a time.
    _lock: File,
}

impl Opened {
    fn new(arguments: &PlanArguments) -> anyhow::Result<Self> {
        let path = &arguments.plan;
        let plan = Plan::read(path)?;
        let lock = lock(path)?;
        let sites = sites(&plan, arguments.store.as_ref(), arguments.source.as_ref())?;
        let store = sites.store(&plan.from.collection)?;
        let ledger = ledger(&sites.store, path);
        Ok(Self { plan, sites, store, ledger, _lock: lock })
    }

    /// What the old collection is read from. A file of rows is read from its beginning to its end.
    fn source(&self) -> anyhow::Result<Box<dyn Source>> {
        Ok(self.sites.source(&self.plan.from.collection)?)
    }

    fn book(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::open(&self.ledger)?)
    }

    /// What makes the vectors of a side, whose weights must be those of the plan.
    fn embedder(&self, side: &Side, loader: &Loader) -> anyhow::Result<Embedder> {
        embedder(side, &*self.store, loader)
    }
}

fn embedder(side: &Side, store: &dyn Store, loader: &Loader) -> anyhow::Result<Embedder> {
    let NamedModel { model, revision, .. } = load_model(&side.model, store, loader)?;
    if revision != side.revision {
        return Err(hinted(
            format!(
                "the weights of `{}` are now {revision}; the plan is for {}",
                side.model, side.revision
            ),
            "bring those weights back, or make another plan",
        ));
    }
    Ok(Embedder::new(model, &side.provenance()?))
}

fn loader(device: &DeviceArguments) -> anyhow::Result<Loader> {
    Loader::new(device)
}

/// Where both sides of a plan lie: as it is given, or as the plan says.
fn sites(plan: &Plan, store: Option<&Address>, source: Option<&Address>) -> anyhow::Result<Sites> {
    let address = |said: &str, given: Option<&Address>, option: &str| match given {
        Some(given) => Ok(given.clone()),
        None if said.contains(":***@") => Err(hinted(
            format!("the plan does not hold the password of {said}"),
            format!(
                "give the whole address with --{option}, or in the variable KOKESHI_{}",
                option.to_uppercase()
            ),
        )),
        None => Ok(said.into()),
    };
    Ok(Sites {
        store: address(&plan.store, store, "store")?,
        source: (plan.source.as_ref()).map(|said| address(said, source, "source")).transpose()?,
        fields: plan.fields.clone(),
    })
}

/// A SQLite file keeps the ledger itself; beside a server's, it lies next to the plan.
pub(super) fn ledger(store: &Address, plan: &Path) -> PathBuf {
    match store {
        Address::File(file) => file.clone(),
        Address::Server(_) => plan.with_extension("ledger"),
    }
}

fn lock(plan: &Path) -> anyhow::Result<File> {
    let failed = || format!("cannot read {}", plan.display());
    let file = File::open(plan).with_context(failed)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(hinted(
            format!("another kokeshi process works on {}", plan.display()),
            "wait until it is done: nothing was changed",
        )),
        // Some network file systems have no locks.
        _ => Ok(file),
    }
}
