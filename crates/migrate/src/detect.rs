//! Detects which model produced vectors, by embedding documents again and comparing the vectors.

use crate::vectors::chunk_vectors;
use kokeshi::{Model, Result, cosine};
use kokeshi_collections::Embedder;
use kokeshi_kernels::median;
use kokeshi_store::Document;
use std::sync::Arc;

/// Number of documents that are embedded again for each model, task and chunking.
const DOCUMENTS: usize = 16;
/// Lowest median cosine of vectors that differ only in how they were stored and computed: f16 and
/// int8 storage change cosines by less than 0.001, bf16 products by less than 0.0002.
const SAME_VECTOR: f64 = 0.995;
/// The same threshold for vectors of which only the signs are stored. The signs of a vector with
/// independent, normally distributed elements have a cosine of √(2 ⁄ π) = 0.80 with it.
const SAME_SIGNS: f64 = 0.7;

/// A model, how it was used, and how close its vectors come.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFit {
    /// The model's name, as it was given.
    pub model: String,
    /// The task.
    pub task: Option<String>,
    /// Whether chunks were pooled from one pass over their document.
    pub late: bool,
    /// Median cosine between the old vectors and those of this model.
    pub cosine: f64,
    /// Whether they are the same vectors, apart from storage and rounding.
    pub fits: bool,
}

/// How close the vectors of each model, task and chunking come to those of `documents`, closest
/// first. Models whose vectors are too short are left out.
///
/// # Errors
///
/// If the engine fails.
pub fn detect(documents: &[Document], models: &[(String, Arc<Model>)]) -> Result<Vec<ModelFit>> {
    let step = documents.len().div_ceil(DOCUMENTS).max(1);
    let probe: Vec<Document> = documents.iter().step_by(step).cloned().collect();
    let old: Vec<&[f32]> = chunk_vectors(&probe).collect();
    let dimensions = old.first().map_or(0, |vector| vector.len());
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    let threshold =
        if old.iter().all(|vector| has_signs_only(vector)) { SAME_SIGNS } else { SAME_VECTOR };
    let has_several_chunks = probe.iter().any(|document| document.chunks.len() > 1);
    let mut fits = Vec::new();
    for (name, model) in models {
        for embedder in embedders(model, dimensions, has_several_chunks) {
            // A chunk that is too long for a model cannot have been embedded by it.
            let Ok(new) = embedder.documents(&probe) else { continue };
            let cosines: Vec<f64> =
                old.iter().zip(&new.vectors).map(|(a, b)| cosine(a, b).into()).collect();
            let cosine = median(&cosines);
            let (task, late) = (embedder.passage_task, embedder.late);
            let (model, is_same) = (name.clone(), cosine >= threshold);
            fits.push(ModelFit { model, task, late, cosine, fits: is_same });
        }
    }
    fits.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    Ok(fits)
}

/// The embedders with which a model may have produced vectors of this width: with each task or none
/// and, if documents have several chunks, with late chunking or without.
fn embedders(model: &Arc<Model>, dimensions: usize, has_several_chunks: bool) -> Vec<Embedder> {
    let (hidden, tasks) = (model.config().hidden, &model.config().tasks);
    // Only models with tasks were trained so that their vectors can be cut.
    if dimensions > hidden || (dimensions < hidden && tasks.is_empty()) {
        return Vec::new();
    }
    let lates: &[bool] = if has_several_chunks { &[false, true] } else { &[false] };
    let tasks = tasks.iter().map(|task| Some(task.name.clone())).chain([None]);
    let embedders = tasks.flat_map(|passage_task| {
        lates.iter().map(move |&late| {
            let (model, passage_task) = (Arc::clone(model), passage_task.clone());
            Embedder { model, passage_task, query_task: None, dimensions, late }
        })
    });
    embedders.collect()
}

fn has_signs_only(vector: &[f32]) -> bool {
    vector.len() > 1 && vector.iter().all(|x| x.abs() == vector[0].abs())
}
