//! `kokeshi migrate`: from one model to another beside the old collection.

mod page;
mod plan;
mod queries;
mod run;
mod status;
mod steps;
mod verify;

use crate::args::{DeviceArguments, MigrateCommand, PlanArguments};
use crate::collection::settings;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection::Loader;
use anyhow::Context;
use kokeshi_migrate::{Embedder, Ledger, Plan, Side};
use kokeshi_store::{Address, Store};
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
    address: Address,
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
        let address = address(&plan, arguments.store.as_ref())?;
        let store = address.open()?;
        let ledger = ledger(&address, path);
        Ok(Self { plan, address, store, ledger, _lock: lock })
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
    let (model, revision) = settings::model(&side.model, store, loader)?;
    if revision != side.revision {
        return Err(hinted(
            format!(
                "the weights of `{}` are now {revision}; the plan is for {}",
                side.model, side.revision
            ),
            "bring those weights back, or make another plan",
        ));
    }
    Ok(Embedder {
        dimensions: (side.dimensions < model.config().hidden).then_some(side.dimensions),
        model,
        task: side.passage_task.clone(),
        query_task: side.query_task.clone(),
        late: side.late_chunking,
    })
}

fn loader(device: &DeviceArguments) -> anyhow::Result<Loader> {
    Loader::new(device)
}

/// The plan's store: as it is given, or as the plan says.
fn address(plan: &Plan, given: Option<&Address>) -> anyhow::Result<Address> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    if plan.store.contains(":***@") {
        return Err(hinted(
            format!("the plan does not hold the password of {}", plan.store),
            "give the whole address with --store, or in the variable KOKESHI_STORE",
        ));
    }
    Ok(plan.store.as_str().into())
}

/// A SQLite file keeps the ledger itself; beside a server's, it lies next to the plan.
fn ledger(address: &Address, plan: &Path) -> PathBuf {
    match address {
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
