//! The figures of an evaluation as JSON.

use super::figures::{self, Evaluation, Figures, SetFigures, families, means, plural};
use super::search::MethodFigures;
use crate::args::EvalKind;
use kokeshi_analysis::Quality;
use serde_json::{Map, Value, json};

/// Shares are from 0 to 1, as the measures are defined; people see a hundredfold. What search was
/// measured with (`dimensions`, `storage`, `shortlist`, `chunking`, `ways`, `means`) has the names
/// that it had when there was nothing else.
pub(super) fn json(evaluation: &Evaluation) -> anyhow::Result<String> {
    let search = evaluation.search.as_ref();
    let output = json!({
        "model": evaluation.model,
        "revision": evaluation.revision,
        "device": evaluation.device,
        "sweep": { "dimensions": evaluation.dimensions, "precisions": evaluation.precisions },
        "seed": evaluation.seed,
        "complete": !evaluation.is_stopped,
        "dimensions": evaluation.dimensions.first(),
        "storage": search.map(|search| &search.storage),
        "shortlist": search.and_then(|search| search.shortlist.as_ref()),
        "chunking": search.map(|search| &search.chunking),
        "sets": evaluation.sets.iter().map(set).collect::<Vec<Value>>(),
        "families": all_means(evaluation),
        "means": method_means(&evaluation.sets),
    });
    Ok(serde_json::to_string_pretty(&output)? + "\n")
}

fn set(set: &SetFigures) -> Value {
    let mut object = json!({
        "name": set.name,
        "kind": set.kind.name(),
        "family": set.family,
        "language": set.language,
    });
    for (count, noun) in &set.counts {
        object[plural(noun)] = (*count).into();
    }
    object["tasks"] = json!(set.tasks);
    object["notes"] = json!(set.notes);
    object["results"] = set.figures.iter().map(|figures| result(set.kind, figures)).collect();
    if !set.methods.is_empty() {
        object["ways"] = set.methods.iter().map(method).collect();
    }
    object
}

fn result(kind: EvalKind, figures: &Figures) -> Value {
    let mut object = json!({ "precision": figures.precision, "dimensions": figures.dimensions });
    add_values(kind, &figures.values, &mut object);
    object
}

fn add_values(kind: EvalKind, values: &[f64], object: &mut Value) {
    for (measure, value) in kind.measures().iter().zip(values) {
        object[measure.key] = json!(value);
    }
}

/// The means of families with several sets.
fn all_means(evaluation: &Evaluation) -> Vec<Value> {
    let mut all = Vec::new();
    for (kind, sets) in evaluation.by_kind() {
        for (family, members) in families(&sets).iter().filter(|(_, members)| members.len() > 1) {
            for precision in &evaluation.precisions {
                for &dimensions in &evaluation.dimensions {
                    let Some(values) = means(members, precision, dimensions) else { continue };
                    let mut object = json!({
                        "kind": kind.name(),
                        "family": family,
                        "sets": members.len(),
                        "precision": precision,
                        "dimensions": dimensions,
                    });
                    add_values(kind, &values, &mut object);
                    all.push(object);
                }
            }
        }
    }
    all
}

fn method(figures: &MethodFigures) -> Value {
    let mut object = quality(figures, figures.quality);
    object.insert("chunks".to_owned(), figures.chunks.into());
    Value::Object(object)
}

fn quality(figures: &MethodFigures, quality: Quality) -> Map<String, Value> {
    let object = json!({
        "late_chunking": figures.late,
        "hybrid": figures.hybrid,
        "ndcg_10": quality.ndcg,
        "recall_10": quality.recall,
    });
    if let Value::Object(object) = object { object } else { Map::new() }
}

fn method_means(sets: &[SetFigures]) -> Vec<Value> {
    let means = figures::method_means(sets);
    means.iter().map(|figures| Value::Object(quality(figures, figures.quality))).collect()
}
