//! Names that lead to the models of collections: what a migration switches, clients follow.

use super::arguments::CollectionsArguments;
use super::entry;
use crate::collection::place::Place;
use crate::collection::{revision, settings};
use crate::selection;
use kokeshi_server::{Binding, ModelEntry, ReadBindings};
use kokeshi_store::{Address, Collection, Provenance, Store};
use std::collections::HashMap;

/// Letters of a revision that tell models of one name apart.
const SHORT: usize = 8;

/// What finds out where the names lead; `None` if there are none.
pub(super) fn reader(
    arguments: &CollectionsArguments,
    served: Vec<(String, String)>,
) -> anyhow::Result<Option<ReadBindings>> {
    if arguments.collections.is_empty() {
        return Ok(None);
    }
    let wanted = arguments.collections.iter().map(|text| match text.split_once('=') {
        Some((name, collection)) => (name.to_owned(), collection.to_owned()),
        None => (text.clone(), text.clone()),
    });
    let mut reader = Reader {
        address: Place::to_search(arguments.store.as_ref(), None)?.store,
        wanted: wanted.collect(),
        store: None,
        names: served,
        models: HashMap::new(),
    };
    Ok(Some(Box::new(move || reader.read().map_err(|error| format!("{error:#}")))))
}

/// The collections that names lead to.
struct Reader {
    address: Address,
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
        let store = match self.store.take() {
            Some(store) => store,
            None => self.address.open()?,
        };
        let wanted = self.wanted.clone();
        let bindings = wanted.into_iter().map(|(name, collection)| {
            let Collection { name: collection, provenance, .. } =
                settings::known(&*store, &collection)?;
            let model = self.model(&provenance, &*store)?;
            let Provenance { passage_task, query_task, dimensions, .. } = provenance;
            Ok(Binding { name, collection, model, passage_task, query_task, dimensions })
        });
        let bindings = bindings.collect::<anyhow::Result<_>>()?;
        // A file may be replaced by another one, and is opened again each time; so is a server after
        // a failure.
        self.store = Some(store).filter(|_| matches!(self.address, Address::Server(_)));
        Ok(bindings)
    }

    /// The model that made a collection, under a name of its own.
    fn model(&mut self, made: &Provenance, store: &dyn Store) -> anyhow::Result<ModelEntry> {
        let key = (made.model.clone(), made.revision.clone());
        if let Some(name) = self.models.get(&key) {
            return renamed(&made.model, name);
        }
        settings::check_revision(made, &revision::of(&selection::find(&made.model)?, store)?)?;
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

fn renamed(model: &str, name: &str) -> anyhow::Result<ModelEntry> {
    Ok(ModelEntry { name: name.to_owned(), ..entry(model)?.0 })
}

/// The last part of a path: where folders lie is nobody's business.
fn plain(name: &str) -> &str {
    name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name)
}
