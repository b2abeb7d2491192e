//! The sentence of each hit that is nearest to the query.

use super::Result;
use crate::collection::settings::Opened;
use kokeshi::{Chunk, Chunking, Input, Options, cosine};
use kokeshi_store::Hit;

/// Finds them with one pass of late chunking over each hit.
pub(super) fn sentences(
    opened: &Opened,
    query: &[f32],
    hits: Vec<Hit>,
) -> anyhow::Result<Vec<Result>> {
    let options = Options {
        task: opened.provenance.passage_task.clone(),
        dimensions: Some(opened.provenance.dimensions),
        ..Options::default()
    };
    let sentences: Vec<Vec<Chunk>> = hits
        .iter()
        .map(|hit| opened.model.chunk(&hit.text, Chunking::Sentences(1)))
        .collect::<kokeshi::Result<_>>()?;
    let inputs = hits.iter().zip(&sentences);
    let inputs: Vec<Input<'_>> = inputs
        .map(|(hit, sentences)| Input::late(&hit.text, sentences).options(options.clone()))
        .collect();
    let embedded = opened.model.embed(&inputs)?;
    let results = hits.into_iter().zip(sentences).zip(embedded);
    let results = results.map(|((hit, sentences), embedded)| {
        let scores = embedded.vectors.iter().map(|vector| cosine(query, vector));
        let best = sentences.iter().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1));
        let best = best.map_or(0..hit.text.len(), |(sentence, _)| sentence.bytes.clone());
        Result { hit, best }
    });
    Ok(results.collect())
}
