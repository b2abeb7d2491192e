//! Cohere.

use super::vectors_response;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{EmbedRequest, RequestTask};
use crate::problem::{ApiResult, Problem};
use crate::wire::cohere::{
    AnySchema, CohereBody, CohereInput, InputType, ResponseBody, Truncate, TypedSchema,
};
use crate::wire::input::RequestTexts;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kokeshi::{EmbeddingType, TextEnd};
use std::sync::Arc;

/// Embed texts
#[utoipa::path(
    post,
    path = "/v2/embed",
    tag = "Cohere",
    request_body = CohereBody,
    responses((status = 200, body = TypedSchema))
)]
pub(crate) async fn embed_v2(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<CohereBody>,
) -> ApiResult<Response> {
    let types = types(&body)?.unwrap_or_else(|| vec![EmbeddingType::Float]);
    embed(&app, &caller, body, Some(types), "2").await
}

/// Embed texts, for older clients
#[utoipa::path(
    post,
    path = "/v1/embed",
    tag = "Cohere",
    request_body = CohereBody,
    responses((status = 200, body = AnySchema))
)]
pub(crate) async fn embed_v1(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<CohereBody>,
) -> ApiResult<Response> {
    let types = types(&body)?;
    embed(&app, &caller, body, types, "1").await
}

async fn embed(
    app: &Arc<App>,
    caller: &Caller,
    body: CohereBody,
    types: Option<Vec<EmbeddingType>>,
    api_version: &'static str,
) -> ApiResult<Response> {
    let texts = texts(body.texts, body.inputs)?;
    let truncate = match body.truncate {
        None | Some(Truncate::End) => Some(TextEnd::Tail),
        Some(Truncate::Start) => Some(TextEnd::Head),
        Some(Truncate::None) => None,
    };
    let request = EmbedRequest {
        model: body.model,
        texts: RequestTexts::Flat(texts.clone()),
        task: RequestTask::Implied(task(body.input_type)?),
        dimensions: body.output_dimension.map(|count| count.0),
        normalized: true,
        truncate,
        late_chunking: None,
    };
    let embedded = app.embed(request, caller).await?;
    let id = Arc::clone(&caller.request_id);
    vectors_response(app, caller, embedded, move |embedded| {
        let types = types.as_deref();
        let (vectors, tokens) = (&embedded.vectors[..], embedded.tokens);
        ResponseBody { id: &id, texts: &texts, vectors, tokens, types, api_version }.write()
    })
    .await
}

fn texts(texts: Option<Vec<String>>, inputs: Option<Vec<CohereInput>>) -> ApiResult<Vec<String>> {
    let texts = match (texts, inputs) {
        (Some(texts), None) => texts,
        (None, Some(inputs)) => {
            inputs.into_iter().enumerate().map(text).collect::<ApiResult<_>>()?
        }
        _ => return Err(Problem::invalid("texts", "expected either `texts` or `inputs`")),
    };
    match texts.is_empty() {
        true => Err(Problem::invalid("texts", "expected at least one text; the list is empty")),
        false => Ok(texts),
    }
}

fn text((index, input): (usize, CohereInput)) -> ApiResult<String> {
    let parts: Option<Vec<String>> = input.content.into_iter().map(|part| part.text).collect();
    let message = "images require a multimodal model; send parts with `text`";
    let field = || format!("inputs[{index}]");
    parts.map(|parts| parts.join(" ")).ok_or_else(|| Problem::invalid(field(), message))
}

fn task(input_type: Option<InputType>) -> ApiResult<Option<String>> {
    let task = match input_type {
        None => None,
        Some(InputType::SearchQuery) => Some("retrieval.query"),
        Some(InputType::SearchDocument) => Some("retrieval.passage"),
        Some(InputType::Classification) => Some("classification"),
        Some(InputType::Clustering) => Some("separation"),
        Some(InputType::Image) => {
            return Err(Problem::invalid("input_type", "images require a multimodal model"));
        }
    };
    Ok(task.map(str::to_owned))
}

fn types(body: &CohereBody) -> ApiResult<Option<Vec<EmbeddingType>>> {
    let Some(names) = body.embedding_types.as_ref().filter(|names| !names.is_empty()) else {
        return Ok(None);
    };
    let kind = |(index, name): (usize, &String)| {
        let invalid = |error: kokeshi::Error| {
            Problem::invalid(format!("embedding_types[{index}]"), error.to_string())
        };
        name.parse().map_err(invalid)
    };
    let mut kinds: Vec<EmbeddingType> =
        names.iter().enumerate().map(kind).collect::<ApiResult<_>>()?;
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    Ok(Some(kinds))
}
