//! `kokeshi migrate plan`: what there is, what will change, and what it takes.

use super::queries::{self, Query};
use super::{embedder, loader};
use crate::args::MigratePlanArguments;
use crate::bytes;
use crate::collection::load_model;
use crate::env;
use crate::failure::hinted;
use crate::layout::counted;
use crate::output::Destination;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Model;
use kokeshi_analysis::Quality;
use kokeshi_collections::{Embedder, NamedModel, StoreLocation, TASKS, find_collection};
use kokeshi_hub::KNOWN_MODELS;
use kokeshi_migrate::{Fit, Plan, Preview, Side, Sites, Sizes, detect, preview, sample};
use kokeshi_store::{Address, Collection, Counts, Document, Fields, Store};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// The model that is moved to without `--model`.
const MODEL: &str = "jina-embeddings-v3";
/// The model that stays better for code.
const FOR_CODE: &str = "jina-embeddings-v2-base-code";
/// Rankings that are shown.
const SHOWN: usize = 5;

pub(super) fn run(arguments: &MigratePlanArguments, printer: &Printer) -> anyhow::Result<()> {
    let path = target(arguments)?;
    let mut sites = sites(arguments)?;
    sites.fields = layout(&sites, arguments.from())?;
    let (store, source) = (sites.store(arguments.from())?, sites.source(arguments.from())?);
    let old = find_collection(&*source, arguments.from())?;
    let queries = arguments.queries.as_deref().map(queries::read).transpose()?.unwrap_or_default();
    let loader = loader(&arguments.device)?;
    let documents = sample(&*source, &old.name, arguments.sample as usize)?;
    let fits = detect(&documents, &candidates(arguments, &old, &loader, printer))?;
    refuse_code(arguments, &fits)?;
    let to = new_side(arguments, &old, &*store, &loader)?;
    store_refuses(&*store, &to)?;
    let from = old_side(&old, fits.first().filter(|fit| fit.fits), &*store, &loader)?;
    let plan = Plan {
        name: to.collection.clone(),
        store: sites.store.to_string(),
        source: sites.source.as_ref().map(ToString::to_string),
        fields: sites.fields.clone(),
        switch: switched(&sites, arguments.from(), &old, &to),
        kept: format!("{}{}before", old.name, if sites.fields.is_some() { "_" } else { "-" }),
        sample: arguments.sample as usize,
        queries: arguments.queries.as_ref().map(std::path::absolute).transpose()?,
        from,
        to,
    };
    let new = embedder(&plan.to, &*store, &loader)?;
    let before = embedder(&plan.from, &*store, &loader).ok();
    let seen = preview(&documents, before.as_ref(), &new, &queries::texts(&queries))?;
    let notes = Notes {
        plan: &plan,
        counts: source.count(&old.name)?,
        fits: &fits,
        seen: &seen,
        queries: &queries,
        documents: &documents,
        new: &new,
        plan_file: path.display().to_string(),
    };
    let notes = notes.text();
    let mut file = Destination::file(&path)?;
    let written = file.writer().write_all(plan.text(&notes)?.as_bytes());
    written.map_err(|error| file.failure(error))?;
    file.commit()?;
    printer.print(&format!("{notes}\n"))?;
    printer.note(&format!(
        "wrote {}: read it, change it, then `kokeshi migrate run` it",
        path.display()
    ));
    Ok(())
}

fn target(arguments: &MigratePlanArguments) -> anyhow::Result<PathBuf> {
    let default = || format!("{}.plan.toml", arguments.to.replace(['/', '\\'], "-")).into();
    let path = arguments.output.clone().unwrap_or_else(default);
    if path.exists() {
        return Err(hinted(
            format!("{} is there already", path.display()),
            "remove it, or write the plan elsewhere with --output FILE",
        ));
    }
    Ok(path)
}

/// Models that may have made the old vectors: what is recorded, what the user names, and every
/// jina-embeddings-v2 on this machine. What cannot be loaded is told and left out.
fn candidates(
    arguments: &MigratePlanArguments,
    old: &Collection,
    loader: &Loader,
    printer: &Printer,
) -> Vec<(String, Arc<Model>)> {
    let hub = env::hub().ok();
    let here = |repo: &str| {
        hub.as_ref()
            .is_some_and(|hub| matches!(kokeshi_hub::locate(hub, repo, "main"), Ok(Some(_))))
    };
    let cached = KNOWN_MODELS
        .iter()
        .filter(|known| known.name.contains("-v2-") && known.repo.is_some_and(here));
    let recorded = Some(&old.provenance).filter(|made| !made.is_unknown());
    let mut names: Vec<String> = recorded.iter().map(|made| made.model.clone()).collect();
    names.extend(arguments.candidate.iter().map(|name| selection::absolute_name(name)));
    names.extend(cached.map(|known| known.name.to_owned()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut models = Vec::new();
    for name in names {
        match loader.get(&name) {
            Ok(model) => models.push((name, model)),
            Err(error) => {
                printer.warning(&format!("{error:#}: it is not tried on the old vectors"));
            }
        }
    }
    models
}

/// # Errors
///
/// If the old vectors are those of the model for code and nobody has said that they shall go.
fn refuse_code(arguments: &MigratePlanArguments, fits: &[Fit]) -> anyhow::Result<()> {
    let is_code = |fit: &Fit| fit.fits && fit.model.contains(FOR_CODE);
    if arguments.model.is_some() || !fits.first().is_some_and(is_code) {
        return Ok(());
    }
    Err(hinted(
        format!("these vectors were made by {FOR_CODE}: keep it, if the texts are code"),
        format!(
            "on code retrieval it has 0.7753, jina-embeddings-v3 has 0.7537 without a task and 0.7564 \
             with retrieval tasks (its authors' figures); --model {MODEL} moves it all the same"
        ),
    ))
}

/// Where both sides lie.
fn sites(arguments: &MigratePlanArguments) -> anyhow::Result<Sites> {
    Ok(Sites {
        store: StoreLocation::to_search(arguments.store.as_ref(), None)?.store,
        source: match &arguments.source {
            Some(Address::File(path)) => Some(Address::File(std::path::absolute(path)?)),
            source => source.clone(),
        },
        fields: arguments.fields.fields(),
    })
}

/// The name that readers use.
fn switched(sites: &Sites, from: &str, old: &Collection, to: &Side) -> String {
    let of_others = sites.fields.as_ref().is_some_and(|fields| fields.table.is_none());
    let has_alias = from != old.name;
    // Readers who are elsewhere now, or have an engine's own name of a collection, which none can change,
    // find the new collection by its own name.
    match sites.source.is_some() || (of_others && !has_alias) {
        true => to.collection.clone(),
        false => from.to_owned(),
    }
}

/// How data of another program is laid out: as it is said, and else as it is found. `None` if it is kokeshi's.
fn layout(sites: &Sites, from: &str) -> anyhow::Result<Option<Fields>> {
    let address = sites.source.as_ref().unwrap_or(&sites.store);
    if let Some(fields) = &sites.fields {
        return Ok(address.find_fields(fields, from)?.or_else(|| Some(fields.clone())));
    }
    let is_server = matches!(address, Address::Server(_));
    if is_server && address.open()?.collection(from)?.is_some() {
        return Ok(None);
    }
    // A collection that kokeshi does not know may be another program's.
    let found = address.find_fields(&Fields::default(), from)?;
    Ok(found.filter(|fields| !is_server || fields.text.is_some()))
}

/// The side that there is. What is not recorded is what the model that fits was found to have done.
fn old_side(
    old: &Collection,
    fit: Option<&Fit>,
    store: &dyn Store,
    loader: &Loader,
) -> anyhow::Result<Side> {
    let mut side = Side::of(&old.name, &old.provenance);
    if let Some(fit) = fit.filter(|_| old.provenance.is_unknown()) {
        side.model.clone_from(&fit.model);
        side.revision = load_model(&fit.model, store, loader)?.revision;
        side.passage_task.clone_from(&fit.task);
        let [passage, query] = TASKS;
        let searched = fit.task.as_deref() == Some(passage);
        side.query_task = if searched { Some(query.to_owned()) } else { fit.task.clone() };
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
    // The engine refuses dimensions that the model has not.
    model.embed(&[kokeshi::Input::new("").dimensions(dimensions)])?;
    if let Some(found) = store.collection(&arguments.to)? {
        return Err(hinted(
            format!("there is a collection `{}` already", found.name),
            "give the new one another name with --to NAME; `kokeshi migrate status` shows what has \
             begun",
        ));
    }
    let made = &old.provenance;
    let storage = match (store.storages().first(), &arguments.source) {
        (Some(first), Some(_)) => *first,
        _ => made.storage,
    };
    Ok(Side {
        collection: arguments.to.clone(),
        model: name,
        revision,
        passage_task,
        query_task,
        dimensions,
        chunking: made.chunking.clone(),
        late_chunking: arguments.late_chunking,
        storage: arguments.storage.unwrap_or(storage).to_string(),
        shortlist: arguments.shortlist.or(made.codes).map(|codes| codes.to_string()),
    })
}

/// # Errors
///
/// If the store cannot hold vectors of this kind: better now than after a review.
fn store_refuses(store: &dyn Store, to: &Side) -> anyhow::Result<()> {
    let storages = store.storages();
    if storages.iter().any(|storage| storage.name() == to.storage) {
        return Ok(());
    }
    let names: Vec<&str> = storages.iter().map(|storage| storage.name()).collect();
    Err(hinted(
        format!("{} cannot store vectors as `{}`", store.name(), to.storage),
        format!("it has {}: choose with --storage TYPE", names.join(", ")),
    ))
}

/// What stands above the plan.
struct Notes<'a> {
    plan: &'a Plan,
    counts: Counts,
    fits: &'a [Fit],
    seen: &'a Preview,
    queries: &'a [Query],
    documents: &'a [Document],
    new: &'a Embedder,
    plan_file: String,
}

impl Notes<'_> {
    fn text(&self) -> String {
        let (from, to) = (&self.plan.from, &self.plan.to);
        let mut text = format!(
            "Moves `{}` ({}){} to `{}` ({}) in {}.\n",
            from.collection,
            from.model,
            self.plan.source.as_ref().map_or_else(String::new, |source| format!(" of {source}")),
            to.collection,
            to.model,
            self.plan.store
        );
        let mut part = |title: &str, body: String| {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{title}\n{body}");
        };
        if let Some(fields) = &self.plan.fields {
            part("Where the texts are", located(fields));
        }
        part("Who made the old vectors", self.made());
        part("How much there is", self.size());
        part("Bytes of vectors", self.storage());
        part("What changes for readers, on the sample", self.changes());
        part("Why these values", self.reasons());
        part("Next", self.next());
        text
    }

    fn made(&self) -> String {
        if self.plan.from.dimensions == 0 {
            return "  nobody: there are none\n".to_owned();
        }
        let Some(best) = self.fits.first() else {
            return "  unknown: no model at hand makes vectors of this width\n".to_owned();
        };
        let way = format!(
            "{}, task {}, {}",
            best.model,
            best.task.as_deref().unwrap_or("none"),
            if best.late { "late chunking" } else { "each chunk alone" }
        );
        match best.fits {
            true => format!("  {way}: cosine {:.4}, so it was this one\n", best.cosine),
            false => format!(
                "  unknown: none of {} fits; the nearest is {way}, with a cosine of {:.4}\n",
                counted(self.models(), "model"),
                best.cosine
            ),
        }
    }

    fn models(&self) -> usize {
        let names: std::collections::HashSet<&str> =
            self.fits.iter().map(|fit| fit.model.as_str()).collect();
        names.len()
    }

    fn size(&self) -> String {
        let seen = self.seen;
        let share = self.counts.chunks as f64 / seen.chunks.max(1) as f64;
        let tokens = seen.tokens as f64 * share;
        let seconds = seen.took.as_secs_f64() * share;
        format!(
            "  {}, {}, about {tokens:.0} tokens\n  about {} here, as {} took {:.1} s\n",
            counted(self.counts.documents, "document"),
            counted(self.counts.chunks, "chunk"),
            duration(seconds),
            counted(seen.documents, "document"),
            seen.took.as_secs_f64()
        )
    }

    fn storage(&self) -> String {
        let (from, to) = (&self.plan.from, &self.plan.to);
        let mut text = String::new();
        for side in [from, to].into_iter().filter(|side| side.dimensions > 0) {
            let sizes = Sizes::new(self.counts.chunks, side.dimensions);
            let shown: Vec<String> = sizes
                .of
                .iter()
                .map(|(storage, size)| {
                    let chosen = if storage.name() == side.storage { " (chosen)" } else { "" };
                    format!("{storage} {}{chosen}", bytes::format(*size))
                })
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {} dimensions: {}", side.dimensions, shown.join(", "));
        }
        text
    }

    fn changes(&self) -> String {
        let mut text = match self.seen.overlap {
            Some(share) => format!(
                "  {:.0} % of a chunk's 10 nearest neighbours stay the same\n",
                100.0 * share
            ),
            None => "  too few old vectors to compare neighbours\n".to_owned(),
        };
        text += &rankings(self.queries, self.seen);
        text
    }

    fn reasons(&self) -> String {
        let to = &self.plan.to;
        let mut text = String::new();
        let mut reason = |line: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {line}");
        };
        match (to.passage_task.as_deref(), to.query_task.as_deref()) {
            (Some("text-matching"), _) => reason(
                "text-matching on both sides: texts are compared with each other, as v2 did"
                    .to_owned(),
            ),
            (Some(passage), Some(query)) => reason(format!(
                "{passage} and {query}: v3 was trained for search with both; --like-v2 for text-matching"
            )),
            _ => reason("no tasks: the model has none for this".to_owned()),
        }
        let hidden = self.new.model.config().hidden;
        match to.dimensions {
            all if all == hidden => reason(format!(
                "{all} dimensions: all that the model has{}",
                match self.plan.from.dimensions {
                    0 => String::new(),
                    old if old >= hidden => String::new(),
                    old => format!("; --dimensions {old} keeps the old width"),
                }
            )),
            cut => reason(format!("{cut} of {hidden} dimensions, as asked")),
        }
        let several = self.documents.iter().any(|document| document.chunks.len() > 1);
        reason(match (to.late_chunking, several) {
            (true, true) => "late chunking: the chunks of a document are known".to_owned(),
            (true, false) => {
                "late chunking changes nothing here: a document is one chunk".to_owned()
            }
            (false, _) => "each chunk alone, as asked".to_owned(),
        });
        text
    }

    fn next(&self) -> String {
        let steps = ["run", "verify", "switch"];
        let line = |step: &str| format!("  kokeshi migrate {step} {}\n", self.plan_file);
        let steps: String = steps.iter().map(|step| line(step)).collect();
        let plan = self.plan;
        if plan.switch == plan.to.collection && !plan.is_apart() {
            return format!(
                "{steps}  readers then open `{}` instead of `{}` by themselves; where the engine has \
                 aliases, let them use one,\n  and write it here as `switch`: then they follow in one \
                 step\n",
                plan.to.collection, plan.from.collection
            );
        }
        steps + &format!("  {}`rollback` takes a switch back, `clean` ends it\n", "")
    }
}

/// Which fields are read, also those that were found.
fn located(fields: &Fields) -> String {
    let text = fields.text.as_deref().unwrap_or("text");
    let document = match (&fields.document, &fields.order) {
        (None, _) => "each row is a document".to_owned(),
        (Some(document), None) => format!("rows with the same `{document}` are a document"),
        (Some(document), Some(order)) => {
            format!("rows with the same `{document}` are a document, in the order of `{order}`")
        }
    };
    format!("  in `{text}`; {document}\n")
}

/// Rankings of queries, side by side.
pub(super) fn rankings(queries: &[Query], seen: &Preview) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if let Some((old, new)) = queries::quality(queries, &seen.rankings) {
        let shown = |quality: Quality| {
            format!("nDCG@10 {:.3}, recall@10 {:.3}", quality.ndcg, quality.recall)
        };
        let old = old.map_or("not known".to_owned(), shown);
        let _ = writeln!(text, "  queries with known answers: {old} before, {} after", shown(new));
    }
    for ranking in seen.rankings.iter().take(SHOWN) {
        let first = |paths: &[String]| paths.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let old = ranking.old.as_deref().map_or("not known".to_owned(), first);
        let _ = writeln!(
            text,
            "  {}\n    before: {old}\n    after:  {}",
            ranking.query,
            first(&ranking.new)
        );
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
