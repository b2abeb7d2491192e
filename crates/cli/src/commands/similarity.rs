//! `kokeshi similarity`: ranks texts by similarity to a query, or compares them with each other,
//! under one model or two.

use crate::args::SimilarityArguments;
use crate::embedder::{Embedder, LongTexts};
use crate::exit::Exit;
use crate::failure::usage;
use crate::input::{self, Origin, Purpose, Source, SourceText, Texts};
use crate::meter::Meter;
use crate::output::is_stdout;
use crate::printer::Printer;
use crate::selection::Loader;
use crate::view::{
    self, MatrixComparison, Ranked, Ranking, RankingComparison, SimilarityMatrix, View, svg,
};
use anyhow::Context;
use kokeshi::cosine;
use std::io::Write;

/// Maximum number of texts to compare with each other: a matrix of 16 million values.
const MAX_MATRIX: usize = 4096;

pub(crate) fn run(arguments: &SimilarityArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let models = Pair::of(&arguments.models)?;
    let texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
    let bytes = texts.bytes;
    let mut documents = texts.collect::<anyhow::Result<Vec<_>>>()?;
    if !arguments.keep_blank {
        input::leave_out_blank(&mut documents, printer);
    }
    check(arguments, &documents)?;
    let loader = Loader::new(&arguments.device)?;
    let scorer = |name| -> anyhow::Result<Scorer<'_>> {
        let (model, meter) = (loader.get(name)?, Meter::new(bytes, "text", printer));
        let embedder = Embedder::new(name, model, meter, printer);
        Ok(Scorer { arguments, documents: &documents, embedder })
    };
    let view = match &arguments.query {
        Some(query) => match models.map(|name| scorer(name)?.ranking(query))? {
            Pair(ranking, None) => View::Ranking(ranking),
            Pair(first, Some(second)) => View::Rankings(RankingComparison::new(first, second)),
        },
        None => match models.map(|name| scorer(name)?.matrix())? {
            Pair(matrix, None) => View::Matrix(matrix),
            Pair(first, Some(second)) => View::Matrices(MatrixComparison::new(first, second)),
        },
    };
    write_pictures(arguments, &view, printer)?;
    let pictures = [&arguments.svg, &arguments.html];
    // A picture on standard output replaces what is printed there.
    if !pictures.into_iter().flatten().any(|path| is_stdout(path)) {
        print(arguments, &view, printer).context("cannot write standard output")?;
    }
    Ok(Exit::Success)
}

/// Values of the first model, and of the second if there is one.
struct Pair<T>(T, Option<T>);

impl<'a> Pair<&'a str> {
    fn of(models: &'a [String]) -> anyhow::Result<Self> {
        match models {
            [model] => Ok(Self(model, None)),
            [first, second] => Ok(Self(first, Some(second))),
            _ => Err(usage("--model can be given once or twice; two models are compared")),
        }
    }

    /// Computes one model after the other: the first is no longer in use when the second is loaded,
    /// so that it can be unloaded if the memory budget does not allow both.
    fn map<T>(self, compute: impl Fn(&'a str) -> anyhow::Result<T>) -> anyhow::Result<Pair<T>> {
        let named = |name| compute(name).with_context(|| format!("model `{name}`"));
        match self {
            Self(only, None) => Ok(Pair(compute(only)?, None)),
            Self(first, Some(second)) => Ok(Pair(named(first)?, Some(named(second)?))),
        }
    }
}

fn check(arguments: &SimilarityArguments, documents: &[SourceText]) -> anyhow::Result<()> {
    let count = documents.len();
    if count == 0 {
        return Err(input::no_texts());
    }
    if arguments.query.is_none() && count > MAX_MATRIX {
        return Err(usage(&format!(
            "cannot compare {count} texts with each other: the limit is {MAX_MATRIX}. Use --query to \
             rank any number of texts"
        )));
    }
    Ok(())
}

/// Scores the texts under one model.
struct Scorer<'a> {
    arguments: &'a SimilarityArguments,
    documents: &'a [SourceText],
    embedder: Embedder<'a>,
}

impl Scorer<'_> {
    /// The texts from the most to the least similar to the query.
    fn ranking(mut self, query: &str) -> anyhow::Result<Ranking> {
        let query_text = SourceText {
            text: query.to_owned(),
            origin: Origin { number: 0, source: Source::Arguments, line: None },
            bytes: 0,
            record: None,
        };
        let query_vector = self.vectors(&[query_text], "retrieval.query");
        let query_vector = query_vector.context("cannot embed the query")?.remove(0);
        let passages = self.vectors(self.documents, "retrieval.passage")?;
        let ranked = self.documents.iter().zip(&passages);
        let ranked = ranked.map(|(document, passage)| Ranked {
            index: document.origin.number,
            score: cosine(&query_vector, passage),
            text: document.text.clone(),
        });
        let mut results: Vec<Ranked> = ranked.collect();
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Ranking { model: self.embedder.name.to_owned(), query: query.to_owned(), results })
    }

    /// The similarities of all texts to each other.
    fn matrix(mut self) -> anyhow::Result<SimilarityMatrix> {
        let vectors = self.vectors(self.documents, "text-matching")?;
        let row = |a: &Vec<f32>| vectors.iter().map(|b| cosine(a, b)).collect();
        Ok(SimilarityMatrix {
            model: self.embedder.name.to_owned(),
            texts: self.documents.iter().map(|document| document.text.clone()).collect(),
            matrix: vectors.iter().map(row).collect(),
        })
    }

    /// Embeds with the task of the command line, or else with `task` if the model has it.
    fn vectors(&mut self, documents: &[SourceText], task: &str) -> anyhow::Result<Vec<Vec<f32>>> {
        let requested = self.arguments.task.as_deref();
        let options = self.embedder.options(&self.arguments.encoding, requested, task);
        self.embedder.vectors(documents, &options, LongTexts::Limited)
    }
}

fn write_pictures(
    arguments: &SimilarityArguments,
    view: &View,
    printer: &Printer,
) -> anyhow::Result<()> {
    let svg = arguments.svg.iter().map(|path| (path, svg::picture(view)));
    let html = arguments.html.iter().map(|path| (path, view::page(view)));
    for (path, picture) in svg.chain(html) {
        svg::write(path, &picture, printer)?;
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
