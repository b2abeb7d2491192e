//! `kokeshi migrate plan`: writes a plan, with notes on what the migration changes and needs.

use super::notes::Notes;
use super::queries;
use super::{embedder, loader};
use crate::args::MigratePlanArguments;
use crate::collection::load_model;
use crate::env;
use crate::failure::{hinted, usage};
use crate::input::is_stdin;
use crate::output::{Destination, is_stdout};
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Model;
use kokeshi_collections::{NamedModel, StoreLocation, TASKS, find_collection};
use kokeshi_hub::KNOWN_MODELS;
use kokeshi_migrate::{Locations, ModelFit, Plan, Side, detect, preview, sample};
use kokeshi_remote::detect_fields;
use kokeshi_store::{Address, Collection, Fields, Store};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The new model without `--model`.
const MODEL: &str = "jina-embeddings-v3";
/// The model that is better for code than the new one.
const FOR_CODE: &str = "jina-embeddings-v2-base-code";

pub(super) fn run(arguments: &MigratePlanArguments, printer: &Printer) -> anyhow::Result<()> {
    if arguments.queries.as_deref().is_some_and(is_stdin) {
        return Err(usage("--queries needs a file: `kokeshi migrate verify` reads it again"));
    }
    let path = target(arguments)?;
    let mut locations = locations(arguments)?;
    locations.fields = fields(&locations, arguments.from())?;
    let store = locations.open_store(arguments.from())?;
    let source = locations.open_source(arguments.from())?;
    let old = find_collection(&*source, arguments.from())?;
    let queries = arguments.queries.as_deref().map(queries::read).transpose()?.unwrap_or_default();
    let loader = loader(&arguments.device)?;
    let documents = sample(&*source, &old.name, arguments.sample as usize)?;
    let fits = detect(&documents, &candidates(arguments, &old, &loader, printer))?;
    refuse_code(arguments, &fits)?;
    let to = new_side(arguments, &old, &*store, &loader)?;
    check_storage(&*store, &to)?;
    let from = old_side(&old, fits.first().filter(|fit| fit.fits), &*store, &loader)?;
    let plan = new_plan(arguments, &locations, &old, (from, to))?;
    let new = embedder(&plan.to, &*store, &loader)?;
    let before = embedder(&plan.from, &*store, &loader).ok();
    let preview = preview(&documents, before.as_ref(), &new, &queries::texts(&queries))?;
    let effects = match plan.is_between_stores() {
        true => Vec::new(),
        false => store.switch_effects(&old.name)?,
    };
    let notes = Notes {
        plan: &plan,
        effects: &effects,
        counts: source.count(&old.name)?,
        fits: &fits,
        preview: &preview,
        queries: &queries,
        documents: &documents,
        new: &new,
        plan_file: path.display().to_string(),
    };
    let notes = notes.render();
    let mut file = Destination::open(&path, printer)?;
    let written = file.writer().write_all(plan.render(&notes)?.as_bytes());
    written.map_err(|error| file.failure(error))?;
    file.commit()?;
    if is_stdout(&path) {
        return Ok(());
    }
    printer.print(&format!("{notes}\n"))?;
    printer.note(&format!(
        "wrote {0}: review and edit it, then `kokeshi migrate run {0}`",
        path.display()
    ));
    Ok(())
}

/// The path of the plan, which must not exist yet.
fn target(arguments: &MigratePlanArguments) -> anyhow::Result<PathBuf> {
    let default = || format!("{}.plan.toml", arguments.to.replace(['/', '\\'], "-")).into();
    let path = arguments.output.clone().unwrap_or_else(default);
    if path.exists() {
        return Err(hinted(
            format!("{} already exists", path.display()),
            "remove it, or write the plan elsewhere with --output FILE",
        ));
    }
    Ok(path)
}

/// Models that may have produced the old vectors: the recorded one, those that the user names, and
/// every jina-embeddings-v2 on this machine. Models that cannot be loaded are left out with a
/// warning.
fn candidates(
    arguments: &MigratePlanArguments,
    old: &Collection,
    loader: &Loader,
    printer: &Printer,
) -> Vec<(String, Arc<Model>)> {
    let hub = env::hub().ok();
    let is_cached = |repo: &str| {
        hub.as_ref()
            .is_some_and(|hub| matches!(kokeshi_hub::locate(hub, repo, "main"), Ok(Some(_))))
    };
    let cached = KNOWN_MODELS
        .iter()
        .filter(|known| known.name.contains("-v2-") && known.repo.is_some_and(is_cached));
    let recorded = Some(&old.provenance).filter(|provenance| !provenance.is_unknown());
    let mut names: Vec<String> =
        recorded.iter().map(|provenance| provenance.model.clone()).collect();
    names.extend(arguments.candidate.iter().map(|name| selection::absolute_name(name)));
    names.extend(cached.map(|known| known.name.to_owned()));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut models = Vec::new();
    for name in names {
        match loader.get(&name) {
            Ok(model) => models.push((name, model)),
            Err(error) => {
                printer.warning(&format!("{error:#}; it is not compared with the old vectors"));
            }
        }
    }
    models
}

/// # Errors
///
/// If the old vectors are those of the model for code, and no new model was chosen.
fn refuse_code(arguments: &MigratePlanArguments, fits: &[ModelFit]) -> anyhow::Result<()> {
    let is_code = |fit: &ModelFit| fit.fits && fit.model.contains(FOR_CODE);
    if arguments.model.is_some() || !fits.first().is_some_and(is_code) {
        return Ok(());
    }
    Err(hinted(
        format!("these vectors are those of {FOR_CODE}: keep that model if the texts are code"),
        format!(
            "on code retrieval it scores 0.7753, jina-embeddings-v3 0.7537 without a task and 0.7564 \
             with retrieval tasks (its authors' figures); --model {MODEL} migrates anyway"
        ),
    ))
}

/// The locations of both sides.
fn locations(arguments: &MigratePlanArguments) -> anyhow::Result<Locations> {
    Ok(Locations {
        store: StoreLocation::to_search(arguments.store.as_ref(), None)?.store,
        source: match &arguments.source {
            Some(Address::File(path)) => Some(Address::File(std::path::absolute(path)?)),
            source => source.clone(),
        },
        fields: arguments.fields.fields(),
    })
}

fn new_plan(
    arguments: &MigratePlanArguments,
    locations: &Locations,
    old: &Collection,
    (from, to): (Side, Side),
) -> anyhow::Result<Plan> {
    let separator = if locations.fields.is_some() { "_" } else { "-" };
    Ok(Plan {
        name: to.collection.clone(),
        store: locations.store.to_string(),
        source: locations.source.as_ref().map(ToString::to_string),
        fields: locations.fields.clone(),
        switch: name_to_switch(locations, arguments.from(), old, &to),
        kept: format!("{}{separator}before", old.name),
        sample: arguments.sample as usize,
        queries: arguments.queries.as_ref().map(std::path::absolute).transpose()?,
        from,
        to,
    })
}

/// The name that readers use and that will be switched.
fn name_to_switch(locations: &Locations, from: &str, old: &Collection, to: &Side) -> String {
    let is_foreign = locations.fields.as_ref().is_some_and(|fields| fields.table.is_none());
    let has_alias = from != old.name;
    // Readers of another store, or of a vector database's own name of a collection, which cannot be
    // changed, find the new collection by its own name.
    match locations.source.is_some() || (is_foreign && !has_alias) {
        true => to.collection.clone(),
        false => from.to_owned(),
    }
}

/// The layout of foreign data, as given or else as detected. `None` if the data are kokeshi's.
fn fields(locations: &Locations, from: &str) -> anyhow::Result<Option<Fields>> {
    let address = locations.source.as_ref().unwrap_or(&locations.store);
    if let Some(fields) = &locations.fields {
        return Ok(detect_fields(address, fields, from)?.or_else(|| Some(fields.clone())));
    }
    let is_server = matches!(address, Address::Server(_));
    if is_server && kokeshi_remote::open(address)?.collection(from)?.is_some() {
        return Ok(None);
    }
    // A collection that kokeshi does not know may be foreign.
    let found = detect_fields(address, &Fields::default(), from)?;
    Ok(found.filter(|fields| !is_server || fields.text.is_some()))
}

/// The old side. If its provenance is unknown, it is that of the model that fits its vectors.
fn old_side(
    old: &Collection,
    fit: Option<&ModelFit>,
    store: &dyn Store,
    loader: &Loader,
) -> anyhow::Result<Side> {
    let mut side = Side::of(&old.name, &old.provenance);
    if let Some(fit) = fit.filter(|_| old.provenance.is_unknown()) {
        side.model.clone_from(&fit.model);
        side.revision = load_model(&fit.model, store, loader)?.revision;
        side.passage_task.clone_from(&fit.task);
        let [passage, query] = TASKS;
        let is_retrieval = fit.task.as_deref() == Some(passage);
        side.query_task = if is_retrieval { Some(query.to_owned()) } else { fit.task.clone() };
        side.late_chunking = fit.late;
    }
    Ok(side)
}

fn new_side(
    arguments: &MigratePlanArguments,
    old: &Collection,
    store: &dyn Store,
    loader: &Loader,
) -> anyhow::Result<Side> {
    let NamedModel { name, model, revision } =
        load_model(arguments.model.as_deref().unwrap_or(MODEL), store, loader)?;
    let wanted = if arguments.like_v2 { ["text-matching"; 2] } else { TASKS };
    let [passage_task, query_task] = wanted.map(|wanted| {
        let tasks = &model.config().tasks;
        tasks.iter().any(|task| task.name == wanted).then(|| wanted.to_owned())
    });
    let dimensions = arguments.dimensions.unwrap_or(model.config().hidden);
    // The engine refuses dimensions that the model does not have.
    model.embed(&[kokeshi::Input::new("").dimensions(dimensions)])?;
    if let Some(found) = store.collection(&arguments.to)? {
        return Err(hinted(
            format!("collection `{}` already exists", found.name),
            "give the new one another name with --to NAME; `kokeshi migrate status` lists the \
             migrations that have begun",
        ));
    }
    let provenance = &old.provenance;
    let storage = match (store.storages().first(), &arguments.source) {
        (Some(first), Some(_)) => *first,
        _ => provenance.storage,
    };
    Ok(Side {
        collection: arguments.to.clone(),
        model: name,
        revision,
        passage_task,
        query_task,
        dimensions,
        chunking: provenance.chunking.clone(),
        late_chunking: arguments.late_chunking,
        storage: arguments.storage.unwrap_or(storage).to_string(),
        shortlist: arguments.shortlist.or(provenance.codes).map(|codes| codes.to_string()),
    })
}

/// # Errors
///
/// If the store does not have the storage of the new side.
fn check_storage(store: &dyn Store, to: &Side) -> anyhow::Result<()> {
    let storages = store.storages();
    if storages.iter().any(|storage| storage.name() == to.storage) {
        return Ok(());
    }
    let names: Vec<&str> = storages.iter().map(|storage| storage.name()).collect();
    Err(hinted(
        format!("{} cannot store vectors as `{}`", store.name(), to.storage),
        format!("it supports {}; choose one with --storage TYPE", names.join(", ")),
    ))
}
