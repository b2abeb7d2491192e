//! `kokeshi eval`: the quality of a model's vectors, and of search, on sets with known answers.
//!
//! A set passes through these modules in turn: `find` (what it measures, by its shape), `set` and
//! `dataset` (its contents, by `rows`, and the `share` that is measured), `pass` (its texts through
//! the model), `measure`, `retrieval`, `long` and `search` (its figures), and `report`, `data` or
//! `page`. Each precision is a pass over all sets; numbers of dimensions share it.

mod chart;
mod data;
mod dataset;
mod figures;
mod find;
mod kind;
mod long;
mod measure;
mod page;
mod pass;
mod report;
mod retrieval;
mod rows;
mod search;
mod set;
mod share;

use super::index::stop_on_ctrl_c;
use crate::args::{EvalArguments, EvalKind};
use crate::exit::Exit;
use crate::output::is_stdout;
use crate::printer::Printer;
use crate::selection;
use crate::view::svg;
use figures::{Evaluation, SetFigures};
use find::SetFiles;
use kokeshi::{Input, Model, Precision};
use kokeshi_collections::fresh_revision;
use pass::{Pass, Stopped};
use retrieval::Pivots;
use search::{MethodFigures, SearchMethods};
use set::SetContent;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) fn run(arguments: &EvalArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let stop = stop_on_ctrl_c()?;
    let sets = find::find(&arguments.sets, &arguments.shares, printer)?;
    // A mistake in the last set is found before the first one is measured.
    let mut bytes = Vec::new();
    for files in &sets {
        bytes.push(SetContent::read(files, arguments)?.bytes(arguments.texts.title)?);
    }
    let sized: Vec<(SetFiles, usize)> = sets.into_iter().zip(bytes).collect();
    let evaluation = evaluate(arguments, &sized, printer, &stop)?;
    for set in &evaluation.sets {
        for note in &set.notes {
            printer.warning(&format!("{}: {note}", set.name));
        }
    }
    if let Some(path) = &arguments.html {
        svg::write(path, &page::page(&evaluation), printer)?;
    }
    if arguments.html.as_deref().is_some_and(is_stdout) {
        // The page replaces what is printed there.
    } else if arguments.json {
        printer.print(&data::json(&evaluation)?)?;
    } else {
        printer.print(&report::text(&evaluation, printer.width()))?;
    }
    Ok(if evaluation.is_stopped { Exit::Interrupted } else { Exit::Success })
}

/// Measures all sets in all precisions, or until Ctrl-C.
fn evaluate(
    arguments: &EvalArguments,
    sets: &[(SetFiles, usize)],
    printer: &Printer,
    stop: &AtomicBool,
) -> anyhow::Result<Evaluation> {
    let sweep = &arguments.sweep;
    let compute = selection::compute_on(sweep.machine)?;
    let mut evaluation = Evaluation {
        model: sweep.model.clone(),
        revision: fresh_revision(&selection::locate(&sweep.model)?)?,
        dimensions: Vec::new(),
        precisions: Vec::new(),
        device: String::new(),
        seed: arguments.shares.seed,
        search: None,
        sets: Vec::new(),
        is_stopped: false,
    };
    for precision in precisions(&sweep.precision) {
        let model = selection::load_alone(&sweep.model, &sweep.device(precision))?;
        let dimensions = dimensions(&model, &sweep.dimensions)?;
        let name = precision.map_or("default", Precision::name).to_owned();
        evaluation.dimensions.clone_from(&dimensions);
        evaluation.precisions.push(name.clone());
        if evaluation.device.is_empty() {
            evaluation.device = model.device();
        }
        let mut pass = Pass::new((model, name), &dimensions, &compute, arguments, (printer, stop));
        match measure_all(&mut pass, sets, &mut evaluation) {
            Err(error) if error.is::<Stopped>() => evaluation.is_stopped = true,
            result => result?,
        }
        if evaluation.is_stopped {
            break;
        }
    }
    Ok(evaluation)
}

/// The precisions to compare, each once; only the default one if there are none.
fn precisions(chosen: &[Precision]) -> Vec<Option<Precision>> {
    let mut distinct: Vec<Option<Precision>> = Vec::new();
    for precision in chosen {
        if !distinct.contains(&Some(*precision)) {
            distinct.push(Some(*precision));
        }
    }
    if distinct.is_empty() { vec![None] } else { distinct }
}

/// The numbers of dimensions to compare, each once; only the model's width if there are none.
///
/// # Errors
///
/// If the model does not have one of them.
fn dimensions(model: &Arc<Model>, chosen: &[usize]) -> anyhow::Result<Vec<usize>> {
    let mut distinct = Vec::new();
    for &dimensions in chosen {
        // The engine checks dimensions only with an input.
        model.prepare(&[Input::new("").dimensions(dimensions)])?;
        if !distinct.contains(&dimensions) {
            distinct.push(dimensions);
        }
    }
    Ok(if distinct.is_empty() { vec![model.config().hidden] } else { distinct })
}

/// Measures all sets with one model in one precision.
fn measure_all(
    pass: &mut Pass<'_>,
    sets: &[(SetFiles, usize)],
    evaluation: &mut Evaluation,
) -> anyhow::Result<()> {
    let (mut pivots, mut methods) = (Pivots::new(), None);
    // Search is compared in the first precision alone.
    let is_first = evaluation.precisions.len() == 1;
    for (number, (files, bytes)) in sets.iter().enumerate() {
        let position = format!("{} ({} of {})", files.name(), number + 1, sets.len());
        pass.begin(&position, Some(*bytes));
        let content = SetContent::read(files, pass.arguments)?;
        let mut all = measure(pass, files, content, &mut pivots)?;
        pass.end();
        let is_searched = is_first && pass.arguments.search.applies(files.is_named);
        let ways = match files.kind {
            EvalKind::Retrieval if is_searched => search(pass, files, &mut methods, evaluation),
            _ => Ok(Vec::new()),
        };
        if let (Some(first), Ok(ways)) = (all.first_mut(), &ways) {
            first.methods.clone_from(ways);
        }
        all.into_iter().for_each(|set| evaluation.add(set));
        ways?;
    }
    Ok(())
}

/// The figures of the methods of search on a set.
fn search<'a>(
    pass: &Pass<'a>,
    files: &SetFiles,
    methods: &mut Option<SearchMethods<'a>>,
    evaluation: &mut Evaluation,
) -> anyhow::Result<Vec<MethodFigures>> {
    let SetContent::Retrieval(mut set) = SetContent::read(files, pass.arguments)? else {
        return Ok(Vec::new());
    };
    let methods = match methods {
        Some(methods) => methods,
        None => methods.insert(SearchMethods::new(pass, &evaluation.revision)?),
    };
    evaluation.search = Some(methods.settings());
    methods.measure(&mut set)
}

/// The figures of a set.
fn measure(
    pass: &mut Pass<'_>,
    files: &SetFiles,
    content: SetContent,
    pivots: &mut Pivots,
) -> anyhow::Result<Vec<SetFigures>> {
    Ok(match content {
        SetContent::Sts(pairs) => vec![pass.sts(files, &pairs)?],
        SetContent::Pairs(pairs) => vec![pass.pairs(files, &pairs)?],
        SetContent::Bitext(pairs) => vec![pass.bitext(files, &pairs)?],
        SetContent::Retrieval(set) => pass.retrieval(files, set, pivots)?,
        SetContent::Classification(set) => vec![pass.classification(files, &set)?],
        SetContent::Clustering(texts) => vec![pass.clustering(files, &texts)?],
        SetContent::Long(set) => pass.long(files, &set)?,
    })
}
