//! Names that are bound to collections, so that clients follow what a migration switches. Our own
//! collections record the model that produced their vectors; for foreign ones, the plan of their
//! migration does.

use super::entry;
use crate::args::CollectionsArguments;
use crate::commands::migrate;
use crate::failure::hinted;
use crate::selection;
use kokeshi_collections::{
    ModelLocation, StoreLocation, check_revision, find_collection, fresh_revision, revision,
};
use kokeshi_migrate::{Ledger, Plan, State};
use kokeshi_server::{Binding, ModelEntry, ServedCollections, StoredCollection};
use kokeshi_store::{Address, Collection, Provenance, Store};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Characters of a revision in a name, to distinguish models with the same name.
const REVISION_LEN: usize = 8;

/// The store of the collections, and a function that reads the bindings of all names; `None` if
/// there are no names.
pub(super) fn served(
    arguments: &CollectionsArguments,
    models: Vec<(String, String)>,
) -> anyhow::Result<Option<ServedCollections>> {
    let CollectionsArguments { collections, migrations, store } = arguments;
    if collections.is_empty() && migrations.is_empty() {
        return Ok(None);
    }
    let bound = collections.iter().map(|text| match text.split_once('=') {
        Some((name, collection)) => (name.to_owned(), collection.to_owned()),
        None => (text.clone(), text.clone()),
    });
    let address = match collections.is_empty() {
        true => None,
        false => Some(StoreLocation::to_search(store.as_ref(), None)?.store),
    };
    let mut reader = Reader {
        address: address.clone(),
        bound: bound.collect(),
        migrations: migrations
            .iter()
            .map(|text| Migration::read(text))
            .collect::<Result<_, _>>()?,
        store: None,
        names: models,
        models: HashMap::new(),
    };
    let read_bindings = Box::new(move || reader.read().map_err(|error| format!("{error:#}")));
    Ok(Some(ServedCollections { store: address, read_bindings }))
}

/// Reads which collections the names are bound to.
struct Reader {
    /// The store of the collections, if there are any.
    address: Option<Address>,
    migrations: Vec<Migration>,
    /// Names, and the collections or aliases that they are bound to.
    bound: Vec<(String, String)>,
    /// A store on a server stays open between two reads.
    store: Option<Box<dyn Store>>,
    /// Names of models, and their locations.
    names: Vec<(String, String)>,
    /// Names of the models whose weights were checked, by recorded model and revision.
    models: HashMap<(String, String), String>,
}

impl Reader {
    fn read(&mut self) -> anyhow::Result<Vec<Binding>> {
        let mut bindings = Vec::new();
        if let Some(address) = self.address.clone() {
            bindings = self.collections(&address)?;
        }
        for at in 0..self.migrations.len() {
            let (name, plan) = (self.migrations[at].name.clone(), self.migrations[at].plan.clone());
            let side = plan.active_side(self.migrations[at].state()?);
            let (collection, provenance) = (side.collection.clone(), side.provenance()?);
            if provenance.is_unknown() {
                return Err(hinted(
                    format!("the model that produced the vectors of `{collection}` is unknown"),
                    "set `model` and `revision` of `from` in the plan, or plan with --candidate",
                ));
            }
            let model = self.model(&provenance, fresh_revision)?;
            let Provenance { passage_task, query_task, dimensions, .. } = provenance;
            bindings.push(Binding {
                name,
                collection,
                model,
                passage_task,
                query_task,
                dimensions,
                stored: None,
            });
        }
        Ok(bindings)
    }

    fn collections(&mut self, address: &Address) -> anyhow::Result<Vec<Binding>> {
        let store = match self.store.take() {
            Some(store) => store,
            None => kokeshi_remote::open(address)?,
        };
        let bound = self.bound.clone();
        let bindings = bound.into_iter().map(|(name, target)| {
            let Collection { id, name: collection, provenance, .. } =
                find_collection(&*store, &target)?;
            let model = self.model(&provenance, |location| revision(location, &*store))?;
            let stored = StoredCollection { target, id, provenance: provenance.clone() };
            let Provenance { passage_task, query_task, dimensions, .. } = provenance;
            let stored = Some(stored);
            Ok(Binding { name, collection, model, passage_task, query_task, dimensions, stored })
        });
        let bindings = bindings.collect::<anyhow::Result<_>>()?;
        // A file may be replaced by another, so it is opened again each time; a server only after a
        // failure.
        self.store = Some(store).filter(|_| matches!(address, Address::Server(_)));
        Ok(bindings)
    }

    /// The model that produced the vectors of a collection, under a unique name.
    fn model(
        &mut self,
        provenance: &Provenance,
        revision: impl Fn(&ModelLocation) -> kokeshi_collections::Result<String>,
    ) -> anyhow::Result<ModelEntry> {
        let key = (provenance.model.clone(), provenance.revision.clone());
        if let Some(name) = self.models.get(&key) {
            return renamed(&provenance.model, name);
        }
        check_revision(provenance, &revision(&selection::locate(&provenance.model)?)?)?;
        let (entry, location) = entry(&provenance.model)?;
        let served = self.names.iter().find(|(_, other)| *other == location);
        let name = match served {
            Some((name, _)) => name.clone(),
            None => self.unique_name(file_name(&entry.name), &provenance.revision),
        };
        self.names.push((name.clone(), location));
        self.models.insert(key, name.clone());
        renamed(&provenance.model, &name)
    }

    /// `name`, or if another model has it, `name` with a part of the revision.
    fn unique_name(&self, name: &str, revision: &str) -> String {
        let digits = revision.rsplit([':', ' ']).next().unwrap_or(revision);
        match self.names.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            true => format!("{name}@{}", digits.chars().take(REVISION_LEN).collect::<String>()),
            false => name.to_owned(),
        }
    }
}

/// A migration that a name follows.
struct Migration {
    name: String,
    plan: Plan,
    ledger: PathBuf,
}

impl Migration {
    /// Parses `[NAME=]PLAN` and reads the plan.
    fn read(text: &str) -> anyhow::Result<Self> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name), path),
            None => (None, text),
        };
        let path = Path::new(path);
        kokeshi_server::check_file(path)?;
        let plan = Plan::read(path)?;
        let ledger = migrate::ledger_path(&plan.store.as_str().into(), path);
        let name = name.unwrap_or(&plan.switch).to_owned();
        Ok(Self { name, plan, ledger })
    }

    /// Its state. The first run creates the ledger.
    fn state(&self) -> anyhow::Result<State> {
        let Some(ledger) = Ledger::read(&self.ledger)? else { return Ok(State::Planned) };
        Ok(ledger.find(&self.plan.name)?.map_or(State::Planned, |entry| entry.state))
    }
}

fn renamed(model: &str, name: &str) -> anyhow::Result<ModelEntry> {
    Ok(ModelEntry { name: name.to_owned(), ..entry(model)?.0 })
}

/// The last part of a path: a name must not reveal where a folder is.
fn file_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name)
}
