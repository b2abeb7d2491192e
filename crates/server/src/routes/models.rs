//! `/v1/models`.

use crate::app::App;
use crate::bindings::Binding;
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelEntry;
use crate::wire::models::{ModelInfo, ModelList, Pricing};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use std::sync::Arc;

/// The served models
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "Jina and OpenAI",
    responses((status = 200, body = ModelList))
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    let models = app.registry.entries().iter().map(|entry| model_info(&app, entry));
    let bindings = app.registry.bindings().current();
    let data =
        models.chain(bindings.iter().map(|binding| collection_info(&app, binding))).collect();
    Json(ModelList { object: "list", data })
}

/// One model
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "Jina and OpenAI",
    params(("id" = String, Path, description = "A model, with or without its owner")),
    responses(
        (status = 200, body = ModelInfo),
        (status = 400, description = "The path is not UTF-8"),
        (status = 404, description = "No such model")
    )
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> ApiResult<Json<ModelInfo>> {
    let Path(id) = id?;
    let model = app.registry.resolve(Some(&id));
    let model = model.map_err(|problem| Problem::not_found(problem.message))?;
    Ok(Json(match model.binding() {
        Some(binding) => collection_info(&app, binding),
        None => model_info(&app, model.entry()),
    }))
}

/// A name that is bound to a collection, with the model that the collection has now.
fn collection_info(app: &App, binding: &Binding) -> ModelInfo {
    let model = model_info(app, &binding.model);
    ModelInfo {
        id: binding.name.clone(),
        name: binding.name.clone(),
        description: format!(
            "collection {}, with vectors of {}; {}",
            binding.collection, binding.model.name, model.description
        ),
        dimensions: Some(binding.dimensions),
        ..model
    }
}

fn model_info(app: &App, entry: &ModelEntry) -> ModelInfo {
    let running = app.registry.running_models();
    let running = running.iter().find(|model| model.name == entry.name);
    let config = running.map(|model| model.model.config());
    let tasks = config.map(|config| config.tasks.iter().map(|task| task.name.clone()).collect());
    let licence = entry.licence.as_ref();
    ModelInfo {
        id: entry.name.clone(),
        object: "model",
        created: app.started,
        owned_by: entry
            .repo
            .as_deref()
            .and_then(|repo| repo.split('/').next())
            .unwrap_or("local")
            .to_owned(),
        name: entry.name.clone(),
        hugging_face_id: entry.repo.clone(),
        description: licence.map_or_else(
            || "licence unknown; see the model's source".to_owned(),
            |licence| format!("licence {}: {}", licence.id, licence.note),
        ),
        input_modalities: ["text"],
        output_modalities: ["embedding"],
        licence: licence.map(|licence| licence.id.clone()),
        licence_note: licence.map(|licence| licence.note.clone()),
        loaded: running.is_some(),
        context_length: config.map(|config| config.max_tokens),
        dimensions: config.map(|config| config.hidden),
        tasks,
        supported_features: vec!["task", "dimensions", "late_chunking", "truncate", "normalized"],
        pricing: Pricing { prompt: "0", completion: "0" },
    }
}
