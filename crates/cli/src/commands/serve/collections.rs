//! Names that lead to the models of collections: what a migration switches, clients follow. A collection of
//! ours says itself which model made it; for data of other programs, a plan of their migration does.

use super::entry;
use crate::args::CollectionsArguments;
use crate::commands::migrate;
use crate::failure::hinted;
use crate::selection;
use kokeshi_collections::{
    ModelLocation, StoreLocation, check_revision, find_collection, fresh_revision, revision,
};
use kokeshi_migrate::{Ledger, Plan, State};
use kokeshi_server::{Binding, ModelEntry, ReadBindings};
use kokeshi_store::{Address, Collection, Provenance, Store};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Letters of a revision that tell models of one name apart.
const SHORT: usize = 8;

/// What finds out where the names lead; `None` if there are none.
pub(super) fn reader(
    arguments: &CollectionsArguments,
    served: Vec<(String, String)>,
) -> anyhow::Result<Option<ReadBindings>> {
    let CollectionsArguments { collections, migrations, store } = arguments;
    if collections.is_empty() && migrations.is_empty() {
        return Ok(None);
    }
    let wanted = collections.iter().map(|text| match text.split_once('=') {
        Some((name, collection)) => (name.to_owned(), collection.to_owned()),
        None => (text.clone(), text.clone()),
    });
    let address = match collections.is_empty() {
        true => None,
        false => Some(StoreLocation::to_search(store.as_ref(), None)?.store),
    };
    let mut reader = Reader {
        address,
        wanted: wanted.collect(),
        migrations: migrations
            .iter()
            .map(|text| Migration::read(text))
            .collect::<Result<_, _>>()?,
        store: None,
        names: served,
        models: HashMap::new(),
    };
    Ok(Some(Box::new(move || reader.read().map_err(|error| format!("{error:#}")))))
}

/// The collections that names lead to.
struct Reader {
    /// Of the store of collections, if there are any.
    address: Option<Address>,
    migrations: Vec<Migration>,
    /// Names, and the collections or aliases that they lead to.
    wanted: Vec<(String, String)>,
    /// A server's stays open between two looks.
    store: Option<Box<dyn Store>>,
    /// Names of models, and where these lie.
    names: Vec<(String, String)>,
    /// Names of models by recorded model and revision: those whose weights were looked at.
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
            let (collection, made) = (side.collection.clone(), side.provenance()?);
            if made.is_unknown() {
                return Err(hinted(
                    format!("which model made `{collection}` is not known"),
                    "write it into the plan, `model` and `revision` of `from`, or plan with --candidate",
                ));
            }
            let model = self.model(&made, fresh_revision)?;
            let Provenance { passage_task, query_task, dimensions, .. } = made;
            bindings.push(Binding {
                name,
                collection,
                model,
                passage_task,
                query_task,
                dimensions,
            });
        }
        Ok(bindings)
    }

    fn collections(&mut self, address: &Address) -> anyhow::Result<Vec<Binding>> {
        let store = match self.store.take() {
            Some(store) => store,
            None => kokeshi_remote::open(address)?,
        };
        let wanted = self.wanted.clone();
        let bindings = wanted.into_iter().map(|(name, collection)| {
            let Collection { name: collection, provenance, .. } =
                find_collection(&*store, &collection)?;
            let model = self.model(&provenance, |location| revision(location, &*store))?;
            let Provenance { passage_task, query_task, dimensions, .. } = provenance;
            Ok(Binding { name, collection, model, passage_task, query_task, dimensions })
        });
        let bindings = bindings.collect::<anyhow::Result<_>>()?;
        // A file may be replaced by another one, and is opened again each time; so is a server after
        // a failure.
        self.store = Some(store).filter(|_| matches!(address, Address::Server(_)));
        Ok(bindings)
    }

    /// The model that made a collection, under a name of its own.
    fn model(
        &mut self,
        made: &Provenance,
        revision: impl Fn(&ModelLocation) -> kokeshi_collections::Result<String>,
    ) -> anyhow::Result<ModelEntry> {
        let key = (made.model.clone(), made.revision.clone());
        if let Some(name) = self.models.get(&key) {
            return renamed(&made.model, name);
        }
        check_revision(made, &revision(&selection::locate(&made.model)?)?)?;
        let (found, at) = entry(&made.model)?;
        let served = self.names.iter().find(|(_, other)| *other == at);
        let name = match served {
            Some((name, _)) => name.clone(),
            None => self.free(plain(&found.name), &made.revision),
        };
        self.names.push((name.clone(), at));
        self.models.insert(key, name.clone());
        renamed(&made.model, &name)
    }

    /// `name`, or if another model has it, `name` with what tells both apart.
    fn free(&self, name: &str, revision: &str) -> String {
        let digits = revision.rsplit([':', ' ']).next().unwrap_or(revision);
        match self.names.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            true => format!("{name}@{}", digits.chars().take(SHORT).collect::<String>()),
            false => name.to_owned(),
        }
    }
}

/// A plan whose sides are followed.
struct Migration {
    name: String,
    plan: Plan,
    ledger: PathBuf,
}

impl Migration {
    /// From `[NAME=]PLAN`.
    fn read(text: &str) -> anyhow::Result<Self> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name), path),
            None => (None, text),
        };
        let path = Path::new(path);
        let plan = Plan::read(path)?;
        let ledger = migrate::ledger_path(&plan.store.as_str().into(), path);
        let name = name.unwrap_or(&plan.switch).to_owned();
        Ok(Self { name, plan, ledger })
    }

    /// How far it is. The ledger comes with the first run.
    fn state(&self) -> anyhow::Result<State> {
        if !self.ledger.exists() {
            return Ok(State::Planned);
        }
        let found = Ledger::open(&self.ledger)?.find(&self.plan.name)?;
        Ok(found.map_or(State::Planned, |found| found.state))
    }
}

fn renamed(model: &str, name: &str) -> anyhow::Result<ModelEntry> {
    Ok(ModelEntry { name: name.to_owned(), ..entry(model)?.0 })
}

/// The last part of a path: where folders lie is nobody's business.
fn plain(name: &str) -> &str {
    name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name)
}
