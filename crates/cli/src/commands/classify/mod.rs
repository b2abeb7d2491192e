//! `kokeshi classify`: assigns labels to texts, by the meaning of the labels or by examples.

mod file;
mod show;

use crate::args::ClassifyArguments;
use crate::config;
use crate::embedder::{Embedder, LongTexts, options};
use crate::exit::Exit;
use crate::failure::{hinted, usage};
use crate::input::{
    self, FieldNames, Origin, Purpose, Source, SourceText, Texts, is_stdin, read_labelled,
};
use crate::meter::{Meter, Progress};
use crate::output::is_stdout;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::{Options, cosine};
use kokeshi_analysis::{Confusion, Regression, TrainedClassifier, Training, softmax};
use kokeshi_collections::fresh_revision;
use serde::Serialize;
use std::collections::HashSet;

/// Number of texts in a block: their vectors are dropped before the next block.
const BLOCK: usize = 4096;

/// How labels are chosen.
enum Classifier {
    /// By the cosine to the vectors of the labels.
    Meaning(Vec<String>, Vec<Vec<f32>>),
    Trained(Regression),
}

/// A label and its probability.
#[derive(Clone, Debug, Serialize)]
struct Prediction {
    label: String,
    score: f32,
}

/// The labels of a text.
#[derive(Debug, Serialize)]
struct Decision {
    index: usize,
    source: String,
    line: Option<usize>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<String>,
    /// The likeliest first, at most as many as requested.
    predictions: Vec<Prediction>,
}

pub(crate) fn run(arguments: &ClassifyArguments, printer: &Printer) -> anyhow::Result<Exit> {
    check_streams(arguments)?;
    let saved = arguments.classifier.as_deref().map(file::read).transpose()?;
    let name = model(arguments, saved.as_ref())?;
    let loaded = Loader::new(&arguments.device)?.get(&name)?;
    let meter = Meter::new(None, "text", printer);
    let mut embedder = Embedder::new(&name, loaded, meter, printer);
    let requested = arguments.task.as_deref();
    let options = match &saved {
        Some(saved) => Options {
            dimensions: Some(saved.training.dimensions),
            instruction: saved.training.instruction,
            ..options(&arguments.encoding, saved.training.task.as_deref())
        },
        None => embedder.options(&arguments.encoding, requested, "classification"),
    };
    let classifier = match (saved, &arguments.train) {
        (Some(saved), _) => Classifier::Trained(saved.regression),
        (None, Some(_)) => Classifier::Trained(train(arguments, &mut embedder, &options)?),
        (None, None) => by_meaning(arguments, &mut embedder, &options)?,
    };
    if arguments.save.is_some() && has_no_input(arguments) {
        return Ok(Exit::Success);
    }
    let decisions = decisions(arguments, &classifier, &mut embedder, &options)?;
    drop(embedder);
    let pairs = decisions.iter().filter_map(|decision| {
        Some((decision.truth.as_deref()?, decision.predictions.first()?.label.as_str()))
    });
    let confusion = arguments.truth.is_some().then(|| Confusion::of(pairs));
    match (arguments.json, &confusion) {
        (true, _) => show::json(&name, &options, &decisions, confusion.as_ref(), printer)?,
        (false, Some(confusion)) => printer.print(&show::evaluation(confusion, printer))?,
        (false, None) => printer.print(&show::text(&decisions, printer))?,
    }
    Ok(Exit::Success)
}

fn has_no_input(arguments: &ClassifyArguments) -> bool {
    arguments.input.texts.is_empty() && arguments.input.input.is_empty()
}

/// # Errors
///
/// If `-` would stand for a stream that is used already, or that cannot serve.
fn check_streams(arguments: &ClassifyArguments) -> anyhow::Result<()> {
    if arguments.save.as_deref().is_some_and(is_stdout) && !has_no_input(arguments) {
        return Err(usage(
            "--save - writes the classifier to standard output, where the labels of the texts go; \
             save it in a file, or pass no texts",
        ));
    }
    if arguments.classifier.as_deref().is_some_and(is_stdin) {
        return Err(usage("--classifier needs a file; standard input is for texts"));
    }
    Ok(())
}

/// The name of the model; a saved classifier needs the one that it was trained with.
fn model(
    arguments: &ClassifyArguments,
    saved: Option<&TrainedClassifier>,
) -> anyhow::Result<String> {
    let Some(saved) = saved else {
        return Ok(arguments.model.clone().unwrap_or_else(|| config::model().to_owned()));
    };
    let name = arguments.model.as_ref().unwrap_or(&saved.training.model);
    // A server's classifiers do not record the revision.
    let Some(recorded) = &saved.training.revision else { return Ok(name.clone()) };
    let revision = fresh_revision(&selection::locate(name)?)?;
    if revision != *recorded {
        return Err(hinted(
            format!(
                "this classifier was trained on vectors of `{}` ({recorded}), not of `{name}` \
                 ({revision})",
                saved.training.model
            ),
            "restore that model, or train again with --train",
        ));
    }
    Ok(name.clone())
}

fn by_meaning(
    arguments: &ClassifyArguments,
    embedder: &mut Embedder<'_>,
    options: &Options,
) -> anyhow::Result<Classifier> {
    let labels: Vec<String> =
        arguments.labels.iter().map(|label| label.trim().to_owned()).collect();
    if labels.len() < 2 || labels.iter().any(String::is_empty) {
        return Err(usage("--labels needs at least two labels, separated by commas"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = labels.iter().find(|label| !seen.insert(label.as_str())) {
        return Err(usage(&format!("--labels has `{twice}` twice")));
    }
    let label = |(number, label): (usize, &String)| SourceText {
        text: label.clone(),
        origin: Origin { number, source: Source::Arguments, line: None },
        bytes: 0,
        record: None,
    };
    let documents: Vec<SourceText> = labels.iter().enumerate().map(label).collect();
    let vectors = embedder.vectors(&documents, options, LongTexts::Limited)?;
    Ok(Classifier::Meaning(labels, vectors))
}

/// Trains on the file of `--train`, and saves the classifier if `--save` is given.
fn train(
    arguments: &ClassifyArguments,
    embedder: &mut Embedder<'_>,
    options: &Options,
) -> anyhow::Result<Regression> {
    let Some(path) = &arguments.train else { return Err(usage("--train needs a file")) };
    let fields =
        FieldNames { text: arguments.input.text_field.as_deref(), label: &arguments.label_field };
    let examples = read_labelled(&input::source_of(path), fields, 0, embedder.printer)?;
    let (documents, labels): (Vec<SourceText>, Vec<String>) =
        examples.into_iter().map(|example| (example.document, example.label)).unzip();
    if documents.is_empty() {
        return Err(hinted(
            format!("{} contains no examples", path.display()),
            "write one example per line",
        ));
    }
    let vectors = embedder.vectors(&documents, options, LongTexts::Limited)?;
    let progress = Progress::new(None, embedder.printer);
    progress.say(format!("learning from {} examples", vectors.len()));
    let mut regression = Regression::default();
    let compute = selection::compute(&arguments.device)?;
    regression.train(&compute, &vectors, &labels, arguments.steps)?;
    drop(progress);
    let accuracy = accuracy(&regression, &vectors, &labels);
    embedder.printer.note(&format!(
        "learned {} labels from {} examples; {:.1} % of these are classified correctly",
        regression.labels().len(),
        vectors.len(),
        100.0 * accuracy
    ));
    if let Some(to) = &arguments.save {
        let training = Training {
            model: selection::absolute_name(embedder.name),
            revision: Some(fresh_revision(&selection::locate(embedder.name)?)?),
            task: options.task.clone(),
            dimensions: regression.dimensions(),
            instruction: options.instruction,
            samples: vectors.len(),
        };
        let regression = regression.clone();
        let trained = TrainedClassifier { training, listing: None, regression };
        file::write(to, &trained, embedder.printer)?;
    }
    Ok(regression)
}

fn accuracy(regression: &Regression, vectors: &[Vec<f32>], labels: &[String]) -> f64 {
    let right = vectors.iter().zip(labels).filter(|(vector, label)| {
        let scores = regression.probabilities(vector);
        let best =
            scores.iter().zip(regression.labels()).reduce(|a, b| if b.0 > a.0 { b } else { a });
        best.is_some_and(|(_, best)| best == *label)
    });
    right.count() as f64 / vectors.len().max(1) as f64
}

/// Classifies all texts of the command.
fn decisions(
    arguments: &ClassifyArguments,
    classifier: &Classifier,
    embedder: &mut Embedder<'_>,
    options: &Options,
) -> anyhow::Result<Vec<Decision>> {
    let mut texts = texts(arguments, embedder.printer)?;
    let mut decisions = Vec::new();
    loop {
        let block = texts.by_ref().take(BLOCK).collect::<anyhow::Result<Vec<_>>>()?;
        if block.is_empty() {
            break;
        }
        let (documents, truths): (Vec<SourceText>, Vec<Option<String>>) = block.into_iter().unzip();
        let vectors = embedder.vectors(&documents, options, LongTexts::Limited)?;
        for ((document, truth), vector) in documents.into_iter().zip(truths).zip(vectors) {
            decisions.push(Decision {
                index: document.origin.number,
                source: document.origin.source.to_string(),
                line: document.origin.line,
                text: document.text,
                truth,
                predictions: classifier.predictions(&vector, arguments.top.max(1)),
            });
        }
    }
    if decisions.is_empty() { Err(input::no_texts()) } else { Ok(decisions) }
}

type TextsWithTruth = Box<dyn Iterator<Item = anyhow::Result<(SourceText, Option<String>)>>>;

/// All texts of the command, with their true labels if `--truth` is given.
fn texts(arguments: &ClassifyArguments, printer: &Printer) -> anyhow::Result<TextsWithTruth> {
    let Some(truth) = &arguments.truth else {
        let texts = Texts::open(&arguments.input, Purpose::Texts, printer)?;
        return Ok(Box::new(texts.map(|text| Ok((text?, None)))));
    };
    if !arguments.input.texts.is_empty() || arguments.input.input_format.is_some() {
        return Err(usage("--truth needs files with fields or columns, given with --input only"));
    }
    let fields = FieldNames { text: arguments.input.text_field.as_deref(), label: truth };
    let mut all = Vec::new();
    for source in input::matching_sources(&arguments.input.input)? {
        all.extend(read_labelled(&source, fields, all.len(), printer)?);
    }
    Ok(Box::new(all.into_iter().map(|one| Ok((one.document, Some(one.label))))))
}

impl Classifier {
    /// The `top` likeliest labels, the likeliest first. Scores by meaning are the softmax of the
    /// cosines, as on the server.
    fn predictions(&self, vector: &[f32], top: usize) -> Vec<Prediction> {
        let (labels, scores) = match self {
            Self::Meaning(labels, vectors) => {
                let cosines: Vec<f64> =
                    vectors.iter().map(|label| cosine(vector, label).into()).collect();
                (labels.as_slice(), softmax(&cosines))
            }
            Self::Trained(regression) => (regression.labels(), regression.probabilities(vector)),
        };
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let prediction = |&at: &usize| Prediction { label: labels[at].clone(), score: scores[at] };
        order.iter().take(top).map(prediction).collect()
    }
}
