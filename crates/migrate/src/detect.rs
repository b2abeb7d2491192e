//! Which model made vectors: documents are embedded again, and what comes out is compared.

use kokeshi::{Model, Result};
use kokeshi_collections::Embedder;
use kokeshi_kernels::median;
use kokeshi_store::Document;
use std::sync::Arc;

/// Documents that are embedded again for each way.
const DOCUMENTS: usize = 16;
/// Lowest cosine, of the median chunk, of vectors that are the same but for how they were stored and
/// computed: f16 and int8 move cosines by less than 0.001, bf16 by less than 0.0002.
const SAME: f64 = 0.995;
/// The same of vectors of which the signs alone are stored. Of two vectors with independent, equally
/// distributed numbers, signs have a cosine of √(2 ⁄ π) = 0.80 to the numbers.
const SAME_SIGNS: f64 = 0.7;

/// A model, and how it was used.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The model's name, as it was given.
    pub model: String,
    /// The task.
    pub task: Option<String>,
    /// Whether chunks were pooled from one pass over their document.
    pub late: bool,
    /// Median cosine of the old vectors and those that this makes.
    pub cosine: f64,
    /// Whether that is as near as the same vectors are after they were stored.
    pub fits: bool,
}

/// How near each way of each model comes to the vectors of `documents`, best first. Models whose vectors
/// are too short are left out.
///
/// # Errors
///
/// If the engine fails.
pub fn detect(documents: &[Document], models: &[(String, Arc<Model>)]) -> Result<Vec<Fit>> {
    let step = documents.len().div_ceil(DOCUMENTS).max(1);
    let probe: Vec<Document> = documents.iter().step_by(step).cloned().collect();
    let old: Vec<&[f32]> = chunks(&probe).collect();
    let dimensions = old.first().map_or(0, |vector| vector.len());
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    let signs = old.iter().all(|vector| has_signs_alone(vector));
    let several = probe.iter().any(|document| document.chunks.len() > 1);
    let mut fits = Vec::new();
    for (name, model) in models {
        let hidden = model.config().hidden;
        // The only model whose vectors may be cut is one that was trained for it, which has tasks.
        let tasks = &model.config().tasks;
        if dimensions > hidden || (dimensions < hidden && tasks.is_empty()) {
            continue;
        }
        let tasks = tasks.iter().map(|task| Some(task.name.clone())).chain([None]);
        for task in tasks {
            for late in if several { &[false, true][..] } else { &[false] } {
                let (model, late) = (model.clone(), *late);
                let (passage_task, query_task) = (task.clone(), None);
                let way = Embedder { model, passage_task, query_task, dimensions, late };
                // A chunk that is too long for a model was not made by it.
                let Ok(new) = way.documents(&probe) else { continue };
                let cosines: Vec<f64> =
                    old.iter().zip(&new.vectors).map(|(a, b)| cosine(a, b)).collect();
                let cosine = median(&cosines);
                let fits_from = if signs { SAME_SIGNS } else { SAME };
                let fit = Fit {
                    model: name.clone(),
                    task: task.clone(),
                    late,
                    cosine,
                    fits: cosine >= fits_from,
                };
                fits.push(fit);
            }
        }
    }
    fits.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    Ok(fits)
}

pub(crate) fn chunks(documents: &[Document]) -> impl Iterator<Item = &[f32]> {
    documents.iter().flat_map(|document| &document.chunks).map(|chunk| chunk.vector.as_slice())
}

fn has_signs_alone(vector: &[f32]) -> bool {
    vector.len() > 1 && vector.iter().all(|x| x.abs() == vector[0].abs())
}

/// The cosine of two vectors; 0 if one is zero.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
