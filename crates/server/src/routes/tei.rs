//! Text Embeddings Inference.

use super::{json, vectors_response};
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{self, EmbedRequest, RequestTask};
use crate::problem::{ApiResult, Problem};
use crate::running_model::RunningModel;
use crate::wire::input::RequestTexts;
use crate::wire::tei::{self, Info, ModelType, Pooling, TeiBody};
use crate::work::Pace;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi::{Input, Options, TextEnd};
use std::sync::Arc;

/// Maximum number of tokens of a request for states. In JSON, a state of v3 takes about 12 KB.
const MAX_STATE_TOKENS: usize = 16384;

/// Embed texts
#[utoipa::path(
    post,
    path = "/embed",
    tag = "Text Embeddings Inference",
    request_body = TeiBody,
    responses((status = 200, body = Vec<Vec<f32>>))
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<TeiBody>,
) -> ApiResult<Response> {
    let embedded = app.embed(request(&app, &caller, body).await?, &caller).await?;
    vectors_response(&app, &caller, embedded, |embedded| tei::write(&embedded.vectors)).await
}

async fn request(app: &App, caller: &Caller, body: TeiBody) -> ApiResult<EmbedRequest> {
    let end = match body.truncation_direction.as_deref() {
        None => TextEnd::Tail,
        Some(side) if side.eq_ignore_ascii_case("right") => TextEnd::Tail,
        Some(side) if side.eq_ignore_ascii_case("left") => TextEnd::Head,
        Some(_) => {
            let message = "expected `left` or `right`";
            return Err(Problem::invalid("truncation_direction", message));
        }
    };
    Ok(EmbedRequest {
        model: None,
        texts: app.texts(&caller.name, "inputs", body.inputs).await?,
        task: RequestTask::Named(body.prompt_name),
        dimensions: body.dimensions.map(|count| count.0),
        normalized: body.normalize.unwrap_or(true),
        truncate: body.truncate.unwrap_or(false).then_some(end),
        late_chunking: None,
    })
}

/// Embed every token
///
/// The hidden state of each token, including special tokens and the task's instruction, without
/// normalization.
#[utoipa::path(
    post,
    path = "/embed_all",
    tag = "Text Embeddings Inference",
    request_body = TeiBody,
    responses((status = 200, body = Vec<Vec<Vec<f32>>>))
)]
pub(crate) async fn embed_all(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<TeiBody>,
) -> ApiResult<Response> {
    let request = request(&app, &caller, body).await?;
    app.check_count(request.texts.count())?;
    let RequestTexts::Flat(texts) = request.texts else {
        return Err(Problem::invalid("inputs", "expected a text or a list of texts"));
    };
    let limit = app.config().timeouts.request;
    let body = tokio::time::timeout(limit, states_body(&app, caller, texts, request.task)).await;
    Ok(json(body.map_err(|_| Problem::timeout(limit))??).into_response())
}

/// The states of all texts, which are computed one text at a time and outside the queue, because
/// they take megabytes. If the client disconnects, this stops after the current text.
async fn states_body(
    app: &Arc<App>,
    caller: Caller,
    texts: Vec<String>,
    task: RequestTask,
) -> ApiResult<Vec<u8>> {
    let running = app.loaded(&caller.name, &app.registry.resolve(None)?).await?;
    running.check_room(&caller.name)?;
    let least = texts.iter().map(|text| embed::least_tokens(text.len())).sum();
    let deposit = caller.deposit(least)?;
    let (state, model) = (Arc::clone(app), Arc::clone(&running));
    let (client, size) = (Arc::clone(&caller.name), texts.iter().map(String::len).sum());
    let (owned, key) = (caller.clone(), caller);
    let checked = app.work(&client, size, move |pace| {
        check_texts(&state, (&model, &owned), &texts, &task, pace).map(|checked| (checked, texts))
    });
    let ((options, tokens), texts) = checked.await??;
    key.settle(deposit, tokens)?;
    let mut out = vec![b'['];
    for text in texts {
        let (running, options) = (Arc::clone(&running), options.clone());
        out = app
            .forward(&client, move || {
                let states = running.model.hidden_states(&text, &options)?;
                if out.len() > 1 {
                    out.push(b',');
                }
                tei::write_rows(&mut out, states.chunks_exact(running.model.config().hidden));
                ApiResult::Ok(out)
            })
            .await??;
    }
    out.push(b']');
    Ok(out)
}

/// Checks all texts, so that errors appear before the first forward pass. Returns their options and
/// tokens.
fn check_texts(
    app: &App,
    (running, caller): (&RunningModel, &Caller),
    texts: &[String],
    task: &RequestTask,
    pace: &mut Pace,
) -> ApiResult<(Options, usize)> {
    let model = &running.model;
    let config = app.config();
    let task = embed::task(model, task, (None, config.default_task.as_ref()), caller);
    let options = Options { task, ..Options::default() };
    for (index, text) in texts.iter().enumerate() {
        embed::check_step(model, index, text, true)?;
    }
    let inputs = texts.iter().map(|text| Input::new(text).options(options.clone()));
    let inputs: Vec<_> = inputs.collect();
    let tokens = model.prepare_while(&inputs, &mut || pace.keep_running())?.tokens();
    app.check_tokens(tokens)?;
    if tokens > MAX_STATE_TOKENS {
        let message = format!(
            "the request has {tokens} tokens; this path returns the states of at most \
             {MAX_STATE_TOKENS}. Send fewer texts per request"
        );
        return Err(Problem::bad_request("INPUT_TOO_LONG", message));
    }
    Ok((options, tokens))
}

/// The first served model
#[utoipa::path(
    get,
    path = "/info",
    tag = "Text Embeddings Inference",
    responses((status = 200, body = Info))
)]
pub(crate) async fn info(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<Response> {
    let running = app.loaded(&caller.name, &app.registry.resolve(None)?).await?;
    let config = running.model.config();
    Ok(axum::Json(Info {
        model_id: app.registry.entries()[0].repo.clone().unwrap_or_else(|| running.name.clone()),
        model_dtype: "float32",
        model_type: ModelType { embedding: Pooling { pooling: "mean" } },
        max_input_length: config.max_tokens,
        max_client_batch_size: app.config().limits.items,
        max_batch_tokens: app.config().limits.request_tokens,
        prompts: config.tasks.iter().map(|task| task.name.clone()).collect(),
        version: env!("CARGO_PKG_VERSION"),
    })
    .into_response())
}
