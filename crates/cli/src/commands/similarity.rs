//! `kokeshi similarity`: a query against texts, or texts against each other, under one model or two.

use crate::args::SimilarityArguments;
use crate::failure::usage;
use crate::forward::{Forward, Length};
use crate::input::{self, Document, Origin, Purpose, Source, Texts};
use crate::meter::Meter;
use crate::printer::Printer;
use crate::selection::Loader;
use crate::view::{Matrices, Matrix, Ranked, Ranking, Rankings, View, svg};
use anyhow::Context;
use kokeshi::cosine;
use std::io::Write;
use std::process::ExitCode;

/// Texts that are compared with each other at most: a matrix of 16 million values.
const MAX_MATRIX: usize = 4096;

pub(crate) fn run(arguments: &SimilarityArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let models = Pair::of(&arguments.models)?;
    let texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
    let bytes = texts.bytes;
    let documents = texts.collect::<anyhow::Result<Vec<_>>>()?;
    check(arguments, &documents)?;
    let loader = Loader::new(&arguments.device)?;
    let run = |name| -> anyhow::Result<Run<'_>> {
        let (model, meter) = (loader.get(name)?, Meter::new(bytes, printer));
        let forward = Forward { name, model, meter, printer };
        Ok(Run { arguments, documents: &documents, forward })
    };
    let view = match &arguments.query {
        Some(query) => match models.map(|name| run(name)?.ranking(query))? {
            Pair(ranking, None) => View::Ranking(ranking),
            Pair(first, Some(second)) => View::Rankings(Rankings::new(first, second)),
        },
        None => match models.map(|name| run(name)?.matrix())? {
            Pair(matrix, None) => View::Matrix(matrix),
            Pair(first, Some(second)) => View::Matrices(Matrices::new(first, second)),
        },
    };
    write_pictures(arguments, &view)?;
    print(arguments, &view, printer).context("cannot write standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// What belongs to the first model, and to the second if there is one.
struct Pair<T>(T, Option<T>);

impl<'a> Pair<&'a str> {
    fn of(models: &'a [String]) -> anyhow::Result<Self> {
        match models {
            [model] => Ok(Self(model, None)),
            [first, second] => Ok(Self(first, Some(second))),
            _ => Err(usage("--model can be given once or twice, to compare two models")),
        }
    }

    /// One model after the other: the first is no longer in use when the second is loaded, so that
    /// it can go if memory for both is not allowed.
    fn map<T>(self, compute: impl Fn(&'a str) -> anyhow::Result<T>) -> anyhow::Result<Pair<T>> {
        let named = |name| compute(name).with_context(|| format!("model `{name}`"));
        match self {
            Self(only, None) => Ok(Pair(compute(only)?, None)),
            Self(first, Some(second)) => Ok(Pair(named(first)?, Some(named(second)?))),
        }
    }
}

fn check(arguments: &SimilarityArguments, documents: &[Document]) -> anyhow::Result<()> {
    let count = documents.len();
    if count == 0 {
        return Err(input::no_texts());
    }
    if arguments.query.is_none() && count > MAX_MATRIX {
        return Err(usage(&format!(
            "{count} texts are too many to compare with each other; the limit is {MAX_MATRIX}, \
             and --query ranks any number"
        )));
    }
    Ok(())
}

/// The texts under one model.
struct Run<'a> {
    arguments: &'a SimilarityArguments,
    documents: &'a [Document],
    forward: Forward<'a>,
}

impl Run<'_> {
    /// The texts from the most to the least similar to the query.
    fn ranking(mut self, query: &str) -> anyhow::Result<Ranking> {
        let asked = Document {
            text: query.to_owned(),
            origin: Origin { number: 0, source: Source::Arguments, line: None },
            bytes: 0,
            record: None,
        };
        let asked = self.vectors(&[asked], "retrieval.query");
        let query_vector = asked.context("cannot embed the query")?.remove(0);
        let passages = self.vectors(self.documents, "retrieval.passage")?;
        let ranked = self.documents.iter().zip(&passages).enumerate();
        let ranked = ranked.map(|(index, (document, passage))| Ranked {
            index,
            score: cosine(&query_vector, passage),
            text: document.text.clone(),
        });
        let mut results: Vec<Ranked> = ranked.collect();
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Ranking { model: self.forward.name.to_owned(), query: query.to_owned(), results })
    }

    /// Every text against every text.
    fn matrix(mut self) -> anyhow::Result<Matrix> {
        let vectors = self.vectors(self.documents, "text-matching")?;
        let row = |a: &Vec<f32>| vectors.iter().map(|b| cosine(a, b)).collect();
        Ok(Matrix {
            model: self.forward.name.to_owned(),
            texts: self.documents.iter().map(|document| document.text.clone()).collect(),
            matrix: vectors.iter().map(row).collect(),
        })
    }

    /// Embeds with the task of the command line, else with `task` if the model has it.
    fn vectors(&mut self, documents: &[Document], task: &str) -> anyhow::Result<Vec<Vec<f32>>> {
        let asked = self.arguments.task.as_deref();
        let options = self.forward.options(&self.arguments.encoding, asked, task);
        self.forward.vectors(documents, &options, Length::Limited)
    }
}

fn write_pictures(arguments: &SimilarityArguments, view: &View) -> anyhow::Result<()> {
    let svg = arguments.svg.iter().map(|path| (path, svg::picture(view)));
    let html = arguments.html.iter().map(|path| (path, svg::page(view)));
    for (path, picture) in svg.chain(html) {
        svg::write(path, &picture)?;
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
