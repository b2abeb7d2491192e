//! `kokeshi similarity`: a query against texts, or texts against each other.

use crate::args::SimilarityArguments;
use crate::commands::embed;
use crate::failure::usage;
use crate::forward::Forward;
use crate::input::{self, Document, Origin, Purpose, Source, Texts};
use crate::meter::Meter;
use crate::printer::Printer;
use crate::selection;
use crate::view::{Matrix, Ranked, Ranking, View, svg};
use anyhow::Context;
use kokeshi::{Input, cosine};
use std::fs;
use std::io::Write;
use std::process::ExitCode;

/// Texts that are compared with each other at most: a matrix of 16 million values.
const MAX_MATRIX: usize = 4096;

pub(crate) fn run(arguments: &SimilarityArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
    let bytes = texts.bytes;
    let documents = texts.collect::<anyhow::Result<Vec<_>>>()?;
    if documents.is_empty() {
        return Err(input::no_texts());
    }
    let model = selection::load(&arguments.model)?;
    let mut forward = Forward { model, meter: Meter::new(bytes, printer), printer };
    let view = match &arguments.query {
        Some(query) => View::Ranking(ranking(arguments, query, &documents, &mut forward)?),
        None => View::Matrix(matrix(arguments, &documents, &mut forward)?),
    };
    drop(forward);
    write_pictures(arguments, &view)?;
    print(arguments, &view, printer).context("cannot write standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The texts from the most to the least similar to the query.
fn ranking(
    arguments: &SimilarityArguments,
    query: &str,
    documents: &[Document],
    forward: &mut Forward<'_>,
) -> anyhow::Result<Ranking> {
    let asked = Document {
        text: query.to_owned(),
        origin: Origin { number: 0, source: Source::Arguments, line: None },
        bytes: 0,
    };
    let asked = vectors(arguments, &[asked], "retrieval.query", forward);
    let query_vector = asked.context("cannot embed the query")?.remove(0);
    let passages = vectors(arguments, documents, "retrieval.passage", forward)?;
    let ranked = documents.iter().zip(&passages).enumerate().map(|(index, (document, passage))| {
        Ranked { index, score: cosine(&query_vector, passage), text: document.text.clone() }
    });
    let mut results: Vec<Ranked> = ranked.collect();
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(Ranking { model: arguments.model.model.clone(), query: query.to_owned(), results })
}

/// Every text against every text.
fn matrix(
    arguments: &SimilarityArguments,
    documents: &[Document],
    forward: &mut Forward<'_>,
) -> anyhow::Result<Matrix> {
    let count = documents.len();
    if count > MAX_MATRIX {
        return Err(usage(&format!(
            "{count} texts are too many to compare with each other; the limit is {MAX_MATRIX}, \
             and --query ranks any number"
        )));
    }
    let vectors = vectors(arguments, documents, "text-matching", forward)?;
    let row = |a: &Vec<f32>| vectors.iter().map(|b| cosine(a, b)).collect();
    Ok(Matrix {
        model: arguments.model.model.clone(),
        texts: documents.iter().map(|document| document.text.clone()).collect(),
        matrix: vectors.iter().map(row).collect(),
    })
}

/// Embeds with the task of the command line, else with `task` if the model has it.
fn vectors(
    arguments: &SimilarityArguments,
    documents: &[Document],
    task: &str,
    forward: &mut Forward<'_>,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let known = forward.model.config().tasks.iter().any(|known| known.name == task);
    let task = arguments.task.as_deref().or(known.then_some(task));
    let options = embed::options(&arguments.encoding, task);
    let inputs =
        documents.iter().map(|document| Input::new(&document.text).options(options.clone()));
    let inputs: Vec<Input<'_>> = inputs.collect();
    let origins: Vec<&Origin> = documents.iter().map(|document| &document.origin).collect();
    let bytes = documents.iter().map(|document| document.bytes as u64).sum();
    let embedded = forward.embed(&inputs, &origins, bytes)?;
    Ok(embedded.into_iter().flat_map(|result| result.vectors).collect())
}

fn write_pictures(arguments: &SimilarityArguments, view: &View) -> anyhow::Result<()> {
    let svg = arguments.svg.iter().map(|path| (path, svg::picture(view)));
    let html = arguments.html.iter().map(|path| (path, svg::page(view)));
    for (path, picture) in svg.chain(html) {
        fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn print(arguments: &SimilarityArguments, view: &View, printer: &Printer) -> std::io::Result<()> {
    let mut out = printer.data();
    if arguments.json {
        serde_json::to_writer(&mut out, view)?;
        writeln!(out)?;
    } else {
        view.print(&mut out, printer)?;
    }
    out.flush()
}
