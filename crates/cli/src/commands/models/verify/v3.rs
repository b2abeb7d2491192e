//! Cases of jina-embeddings-v3: token states, vectors and scores of every task.

use super::CaseResult;
use super::reference::{self, Exchange, States, Vectors};
use kokeshi::{Input, Model, Options, cosine};
use serde_json::Value;

/// Tolerance for values of the hosted service, which does not publish one. Its arithmetic is
/// 16-bit: vectors of bf16 and f32 weights have cosines from 0.99999, which is 1.4e-4 in each of
/// 1024 dimensions on average; outliers are several times that.
const HOSTED_TOLERANCE: f32 = 1e-3;

pub(super) fn run(model: &Model) -> anyhow::Result<Vec<CaseResult>> {
    let published = reference::published()?;
    let mut results = states(model, &published.states)?;
    results.extend(vectors(model, &published.vectors)?);
    for exchange in reference::hosted()? {
        if exchange.request.model == "jina-embeddings-v3" {
            results.extend(hosted(model, &exchange)?);
        }
    }
    results.push(classification(model)?);
    Ok(results)
}

fn without_instruction(task: &str) -> Options {
    let task = (task != "none").then(|| task.to_owned());
    Options { task, instruction: false, ..Options::default() }
}

/// Token states that the tests of transformers publish.
fn states(model: &Model, states: &States) -> anyhow::Result<Vec<CaseResult>> {
    let (hidden, tolerance) = (model.config().hidden, &states.tolerance);
    let mut results = Vec::new();
    for (task, rows) in states.by_task() {
        let all = model.hidden_states(&states.text, &without_instruction(task))?;
        let tokens = all.len() / hidden;
        let case = format!("transformers test, token states, {task}");
        let measured = all.chunks(hidden).skip(1).take(rows.len());
        let measured = measured.flat_map(|row| row.iter().skip(1).take(rows[0].len()).copied());
        let (measured, published): (Vec<f32>, _) = (measured.collect(), rows.concat());
        let result = CaseResult::new(case, &measured, &published, tolerance.atol, tolerance.rtol);
        results.push(CaseResult { pass: result.pass && tokens == states.tokens, ..result });
    }
    Ok(results)
}

/// Vectors that the tests of fastembed publish, computed with Jina's own ONNX export.
fn vectors(model: &Model, vectors: &Vectors) -> anyhow::Result<Vec<CaseResult>> {
    let mut results = Vec::new();
    for (task, rows) in vectors.by_task() {
        let texts: Vec<&str> = vectors.texts.iter().map(String::as_str).collect();
        let (embedded, _) = embed(model, &texts, &without_instruction(task))?;
        let case = format!("fastembed test, vectors, {task}");
        results.push(first_elements(case, &embedded, &rows, vectors.tolerance.atol));
    }
    Ok(results)
}

/// A response of the hosted service: the first elements and the number of tokens.
fn hosted(model: &Model, exchange: &Exchange) -> anyhow::Result<Vec<CaseResult>> {
    let request = &exchange.request;
    let texts: Vec<&str> =
        request.input.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let options = Options { task: request.task.clone(), ..Options::default() };
    let (embedded, tokens) = embed(model, &texts, &options)?;
    let task = request.task.as_deref().unwrap_or("none");
    let case = format!("hosted service, vectors, {task}");
    let mut results = vec![first_elements(case, &embedded, &exchange.first_dims, HOSTED_TOLERANCE)];
    results.extend(exchange.total_tokens.map(|total| {
        let case = format!("hosted service, number of tokens, {task}");
        CaseResult::new(case, &[tokens as f32], &[total as f32], 0.0, 0.0)
    }));
    Ok(results)
}

/// Scores of the hosted classifier. They sum to 1 over the labels; we assume that they are the
/// softmax of the cosine similarities under the task `classification`, which is not documented.
fn classification(model: &Model) -> anyhow::Result<CaseResult> {
    let reference = reference::classification()?;
    let options = Options { task: Some("classification".to_owned()), ..Options::default() };
    let texts = |texts: &'_ [String]| -> anyhow::Result<Vec<Vec<f32>>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Ok(embed(model, &texts, &options)?.0)
    };
    let (inputs, labels) = (texts(&reference.request.input)?, texts(&reference.request.labels)?);
    let measured: Vec<f32> = inputs.iter().flat_map(|input| scores(input, &labels)).collect();
    let predictions = reference.response.data.iter().flat_map(|prediction| &prediction.predictions);
    let published: Vec<f32> = predictions.map(|prediction| prediction.score).collect();
    let case = "hosted service, classifier scores".to_owned();
    Ok(CaseResult::new(case, &measured, &published, HOSTED_TOLERANCE, 0.0))
}

fn scores(input: &[f32], labels: &[Vec<f32>]) -> Vec<f32> {
    let exponentials: Vec<f32> = labels.iter().map(|label| cosine(input, label).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| exponential / sum).collect()
}

/// The vectors of `texts`, and the number of their tokens.
fn embed(
    model: &Model,
    texts: &[&str],
    options: &Options,
) -> anyhow::Result<(Vec<Vec<f32>>, usize)> {
    let inputs: Vec<Input<'_>> =
        texts.iter().map(|text| Input::new(text).options(options.clone())).collect();
    let embedded = model.embed(&inputs)?;
    let tokens = embedded.iter().map(|result| result.tokens).sum();
    Ok((embedded.into_iter().flat_map(|result| result.vectors).collect(), tokens))
}

/// Compares the published first elements of each vector.
fn first_elements(case: String, vectors: &[Vec<f32>], rows: &[Vec<f32>], atol: f32) -> CaseResult {
    let measured = vectors.iter().zip(rows).flat_map(|(vector, row)| vector.iter().take(row.len()));
    let measured: Vec<f32> = measured.copied().collect();
    CaseResult::new(case, &measured, &rows.concat(), atol, 0.0)
}
