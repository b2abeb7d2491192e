//! `kokeshi migrate`: moves a collection to another model.

mod notes;
mod page;
mod plan;
mod queries;
mod run;
mod status;
mod steps;
mod verify;

use crate::args::{DeviceArguments, MigrateCommand, PlanArguments};
use crate::collection::load_model;
use crate::config;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection::Loader;
use anyhow::Context;
use kokeshi_collections::{Embedder, NamedModel};
use kokeshi_migrate::{Ledger, Locations, Plan, Side};
use kokeshi_store::{Address, Source, Store};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

pub(crate) fn run(command: &MigrateCommand, printer: &Printer) -> anyhow::Result<Exit> {
    match command {
        MigrateCommand::Plan(arguments) => plan::run(arguments, printer)?,
        MigrateCommand::Run(arguments) => return run::run(arguments, printer),
        MigrateCommand::Verify(arguments) => return verify::run(arguments, printer),
        MigrateCommand::Switch(arguments) => steps::switch(arguments, printer)?,
        MigrateCommand::Rollback(arguments) => steps::rollback(arguments, printer)?,
        MigrateCommand::Clean(arguments) => steps::clean(arguments, printer)?,
        MigrateCommand::Status(arguments) => status::run(arguments, printer)?,
    }
    Ok(Exit::Success)
}

/// A plan that is being worked on.
struct Migration {
    plan: Plan,
    locations: Locations,
    store: Box<dyn Store>,
    /// The path of the ledger.
    ledger: PathBuf,
    /// Only one process works on a plan at a time.
    _lock: File,
}

impl Migration {
    /// Opens the store, which only the first run of a plan may create.
    fn open(arguments: &PlanArguments) -> anyhow::Result<Self> {
        Self::prepare(arguments, false)
    }

    fn create(arguments: &PlanArguments) -> anyhow::Result<Self> {
        Self::prepare(arguments, true)
    }

    fn prepare(arguments: &PlanArguments, creates: bool) -> anyhow::Result<Self> {
        let path = &arguments.plan;
        let plan = Plan::read(path)?;
        let lock = lock(path)?;
        let locations = locations(&plan, arguments.store.as_ref(), arguments.source.as_ref())?;
        if !creates && matches!(&locations.store, Address::File(file) if !file.exists()) {
            kokeshi_remote::open(&locations.store)?;
        }
        let store = locations.open_store(&plan.from.collection)?;
        let ledger = ledger_path(&locations.store, path);
        Ok(Self { plan, locations, store, ledger, _lock: lock })
    }

    /// Opens the source of the old collection. A file of rows is read completely.
    fn source(&self) -> anyhow::Result<Box<dyn Source>> {
        Ok(self.locations.open_source(&self.plan.from.collection)?)
    }

    fn open_ledger(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::open(&self.ledger)?)
    }

    /// The embedder of a side.
    fn embedder(&self, side: &Side, loader: &Loader) -> anyhow::Result<Embedder> {
        embedder(side, &*self.store, loader)
    }
}

/// The embedder of a side, whose weights must be those of the plan.
fn embedder(side: &Side, store: &dyn Store, loader: &Loader) -> anyhow::Result<Embedder> {
    let NamedModel { model, revision, .. } = load_model(&side.model, store, loader)?;
    if revision != side.revision {
        return Err(hinted(
            format!(
                "the weights of `{}` are now {revision}; the plan is for {}",
                side.model, side.revision
            ),
            "restore those weights, or create another plan",
        ));
    }
    Ok(Embedder::new(model, &side.provenance()?))
}

fn loader(device: &DeviceArguments) -> anyhow::Result<Loader> {
    Loader::new(device)
}

/// The locations of both sides: the addresses that are given, or else those of the plan.
fn locations(
    plan: &Plan,
    store: Option<&Address>,
    source: Option<&Address>,
) -> anyhow::Result<Locations> {
    let address = |planned: &str, given: Option<&Address>, option: &str| match given {
        Some(given) => Ok(given.clone()),
        None if planned.contains(":***@") => configured(planned).ok_or_else(|| {
            hinted(
                format!("the plan does not contain the password of {planned}"),
                format!(
                    "give the whole address with --{option}, or in the variable KOKESHI_{}",
                    option.to_uppercase()
                ),
            )
        }),
        None => Ok(planned.into()),
    };
    Ok(Locations {
        store: address(&plan.store, store, "store")?,
        source: (plan.source.as_ref())
            .map(|planned| address(planned, source, "source"))
            .transpose()?,
        fields: plan.fields.clone(),
    })
}

/// The store of the configuration file, which may have a password, if it is the `planned` one.
fn configured(planned: &str) -> Option<Address> {
    let store = config::current().value(config::Key::Store).map(Address::from);
    store.filter(|store| store.to_string() == planned)
}

/// The path of the ledger: a store that is a file contains it; for a server, it is next to the
/// plan.
pub(super) fn ledger_path(store: &Address, plan: &Path) -> PathBuf {
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
            format!("another kokeshi process is working on {}", plan.display()),
            "wait until it is done; nothing was changed",
        )),
        // Some network file systems have no locks.
        _ => Ok(file),
    }
}
