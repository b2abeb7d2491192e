//! `kokeshi cluster`: groups texts by topic and names the groups.

mod page;
mod show;
mod tsne;

use crate::args::{ClusterArguments, MapKind};
use crate::commands::extract::Subprocess;
use crate::config;
use crate::embedder::{Embedder, LongTexts};
use crate::exit::Exit;
use crate::failure::hinted;
use crate::input::{self, Origin, Purpose, Source, SourceText, Texts};
use crate::meter::{Meter, Progress};
use crate::output::is_stdout;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi_analysis::{Compute, Error, Matrix, Pca, Trial};
use kokeshi_collections::{StoreLocation, document_text, find_collection};
use kokeshi_store::Entry;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Number of terms in the name of a group.
const TERMS: usize = 3;
/// Maximum number of texts on a map: more cannot be distinguished, and t-SNE needs minutes for
/// them.
const MAP_TEXTS: usize = 20_000;
const TSNE_TEXTS: usize = 5_000;

/// The result of the command.
#[derive(Debug, Serialize)]
struct Grouping {
    model: String,
    task: Option<String>,
    /// Mean silhouette of all texts, from −1 to 1.
    silhouette: f32,
    /// The numbers of groups that were tried.
    tried: Vec<TrialScore>,
    /// The largest first.
    groups: Vec<Group>,
    texts: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct TrialScore {
    groups: usize,
    silhouette: f32,
}

impl From<Trial> for TrialScore {
    fn from(Trial { groups, silhouette }: Trial) -> Self {
        Self { groups, silhouette }
    }
}

#[derive(Debug, Serialize)]
struct Group {
    /// The most typical terms, joined.
    name: String,
    terms: Vec<String>,
    size: usize,
    /// Mean silhouette of its texts.
    silhouette: f32,
    /// Numbers of the texts nearest to the centre, the nearest first.
    examples: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Member {
    index: usize,
    source: String,
    line: Option<usize>,
    /// Index of its group, from 0.
    group: usize,
    silhouette: f32,
    /// Cosine to the centre of its group.
    cosine: f32,
    text: String,
}

pub(crate) fn run(arguments: &ClusterArguments, printer: &Printer) -> anyhow::Result<Exit> {
    if arguments.map == MapKind::Tsne {
        tsne::check()?;
    }
    let (documents, model, length) = match &arguments.collection {
        Some(collection) => from_collection(arguments, collection, printer)?,
        None => {
            let texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
            let mut documents = texts.collect::<anyhow::Result<Vec<_>>>()?;
            if !arguments.keep_blank {
                input::leave_out_blank(&mut documents, printer);
            }
            let model = arguments.model.clone().unwrap_or_else(|| config::model().to_owned());
            (documents, model, LongTexts::Limited)
        }
    };
    if documents.is_empty() {
        return Err(input::no_texts());
    }
    let bytes = documents.iter().map(|document| document.bytes as u64).sum();
    let loaded = Loader::new(&arguments.device)?.get(&model)?;
    let meter = Meter::new(Some(bytes), "text", printer);
    let mut embedder = Embedder::new(&model, loaded, meter, printer);
    let options = embedder.options(&arguments.encoding, arguments.task.as_deref(), "separation");
    let rows = Matrix::of(&embedder.vectors(&documents, &options, length)?)?;
    drop(embedder);
    let progress = Progress::new(None, printer);
    progress.say(format!("grouping {} texts", rows.len()));
    let compute = selection::compute(&arguments.device)?;
    let grouping = grouping(arguments, &compute, (model, options.task), documents, &rows)?;
    if let Some(path) = &arguments.html {
        progress.say("drawing the map");
        let map = map(arguments.map, &compute, &rows)?;
        page::write(path, &grouping, &map, printer)?;
    }
    drop(progress);
    if arguments.html.as_deref().is_some_and(is_stdout) {
        // The page replaces what is printed there.
    } else if arguments.json {
        printer.print(&(serde_json::to_string_pretty(&grouping)? + "\n"))?;
    } else {
        printer.print(&show::text(&grouping, printer))?;
    }
    Ok(Exit::Success)
}

/// The documents of a collection, and its model unless another was requested. Documents can be of
/// any length.
fn from_collection(
    arguments: &ClusterArguments,
    collection: &str,
    printer: &Printer,
) -> anyhow::Result<(Vec<SourceText>, String, LongTexts)> {
    let location = StoreLocation::to_search(arguments.store.as_ref(), None)?;
    let store = location.open()?;
    let collection = find_collection(&*store, collection)?;
    let documents = texts(&location, &store.list(&collection.name)?, printer);
    let model = arguments.model.clone().unwrap_or(collection.provenance.model);
    Ok((documents, model, LongTexts::Windowed))
}

/// The texts of `entries`, read again from their files: stores keep only chunks. Files that cannot
/// be read are left out with a warning.
fn texts(location: &StoreLocation, entries: &[Entry], printer: &Printer) -> Vec<SourceText> {
    let mut documents = Vec::new();
    // Ctrl-C ends this command at once, and its processes with it.
    let never = AtomicBool::new(false);
    for entry in entries {
        let path = location.path(&entry.path);
        match document_text(&path, &Subprocess(&never)) {
            Ok(Some(text)) => {
                let source = Source::File(Path::new(&location.display_path(&entry.path)).into());
                let origin = Origin { number: documents.len(), source, line: None };
                documents.push(SourceText { bytes: text.len(), text, origin, record: None });
            }
            Ok(None) => {
                printer
                    .warning(&format!("{} no longer has any text; it is left out", path.display()));
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                printer.warning(&format!("{error:#}; it is left out"));
            }
        }
    }
    documents
}

fn grouping(
    arguments: &ClusterArguments,
    compute: &Compute,
    (model, task): (String, Option<String>),
    documents: Vec<SourceText>,
    rows: &Matrix,
) -> anyhow::Result<Grouping> {
    let (count, tried) = match arguments.groups {
        Some(count) => (count as usize, Vec::new()),
        None => kokeshi_analysis::choose_groups(compute, rows)?,
    };
    let clusters =
        kokeshi_analysis::cluster(compute, rows, count).map_err(|error| match error {
            Error::TooManyGroups { .. } => {
                hinted(error.to_string(), "use a smaller number with -k")
            }
            other => other.into(),
        })?;
    let count = clusters.centres.len();
    let widths = kokeshi_analysis::silhouette(compute, rows, &clusters.groups, count);
    let named = documents.iter().map(|one| one.text.as_str()).zip(clusters.groups.iter().copied());
    let terms = kokeshi_analysis::typical_terms(named, count, TERMS);
    let mut members = vec![Vec::new(); count];
    clusters.groups.iter().enumerate().for_each(|(index, &group)| members[group].push(index));
    let group = |(mut members, terms): (Vec<usize>, Vec<kokeshi_analysis::Term>)| {
        let mean = members.iter().map(|&index| widths[index]).sum::<f32>() / members.len() as f32;
        let size = members.len();
        members.sort_by(|&a, &b| clusters.cosines[b].total_cmp(&clusters.cosines[a]));
        members.truncate(arguments.examples);
        let terms: Vec<String> = terms.into_iter().map(|term| term.text).collect();
        Group { name: terms.join(" · "), terms, size, silhouette: mean, examples: members }
    };
    let groups = members.into_iter().zip(terms).map(group).collect();
    let member = |(index, document): (usize, SourceText)| Member {
        index,
        source: document.origin.source.to_string(),
        line: document.origin.line,
        group: clusters.groups[index],
        silhouette: widths[index],
        cosine: clusters.cosines[index],
        text: document.text,
    };
    Ok(Grouping {
        model,
        task,
        silhouette: widths.iter().sum::<f32>() / widths.len() as f32,
        tried: tried.into_iter().map(TrialScore::from).collect(),
        groups,
        texts: documents.into_iter().enumerate().map(member).collect(),
    })
}

/// A map of some of the texts.
struct Map {
    /// Numbers of the texts with their coordinates.
    points: Vec<(usize, [f32; 2])>,
    /// A description of the axes.
    axes: String,
}

fn map(kind: MapKind, compute: &Compute, rows: &Matrix) -> anyhow::Result<Map> {
    let limit = if kind == MapKind::Tsne { TSNE_TEXTS } else { MAP_TEXTS };
    let (numbers, rows) = rows.sample(limit);
    let pca = Pca::of(compute, &rows);
    let projected = pca.project(compute, &rows);
    let (coordinates, axes) = match kind {
        MapKind::Pca => {
            let [x, y] = pca.shares.map(|share| 100.0 * share);
            (projected, format!("principal components: {x:.1} % and {y:.1} % of the variance"))
        }
        MapKind::Tsne => (tsne::positions(compute, &rows, &projected)?, "t-SNE".to_owned()),
    };
    Ok(Map { points: numbers.into_iter().zip(coordinates).collect(), axes })
}
