//! Text Embeddings Inference.

use super::{json, written};
use crate::app::App;
use crate::body::Json;
use crate::cl100k;
use crate::embed::{self, EmbedRequest, Task};
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::running::Running;
use crate::wire::input::Texts;
use crate::wire::tei::{self, Info, ModelType, Pooling, TeiBody};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi::{Input, Options};
use std::sync::Arc;

/// Most tokens of a request for states: in JSON, those of v3 take some 12 KB each.
const STATE_TOKENS: usize = 16384;

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
) -> Outcome<Response> {
    let done = app.embed(request(body)?, &caller).await?;
    written(&app, done, |done| tei::write(&done.vectors)).await
}

fn request(body: TeiBody) -> Outcome<EmbedRequest> {
    let right = |side: &str| side.eq_ignore_ascii_case("right");
    if body.truncation_direction.as_deref().is_some_and(|side| !right(side)) {
        let message = "only the right side can be cut; leave `truncation_direction` out";
        return Err(Problem::invalid("truncation_direction", message));
    }
    Ok(EmbedRequest {
        model: None,
        texts: body.inputs.texts("inputs", cl100k::decode)?,
        task: Task::Asked(body.prompt_name),
        dimensions: body.dimensions.map(|count| count.0),
        normalized: body.normalize.unwrap_or(true),
        truncate: body.truncate.unwrap_or(false),
        late_chunking: None,
    })
}

/// Every token's state
///
/// Special tokens and the task's instruction included, not normalised.
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
) -> Outcome<Response> {
    let request = request(body)?;
    app.check_count(request.texts.count())?;
    let Texts::Flat(texts) = request.texts else {
        return Err(Problem::invalid("inputs", "expected a text or a list of texts"));
    };
    let limit = app.config.timeouts.request;
    let out = tokio::time::timeout(limit, all_states(&app, caller, texts, request.task)).await;
    Ok(json(out.map_err(|_| Problem::timeout(limit))??).into_response())
}

/// The states of one text after the other: they are megabytes each, and no queue holds them. A
/// client that goes away ends it after the text at hand.
async fn all_states(
    app: &Arc<App>,
    caller: Caller,
    texts: Vec<String>,
    task: Task,
) -> Outcome<Vec<u8>> {
    let state = Arc::clone(app);
    let checked =
        app.compute(move || check_all(&state, &caller, &texts, &task).map(|all| (all, texts)));
    let ((running, options), texts) = checked.await??;
    let mut out = vec![b'['];
    for text in texts {
        let (running, options) = (Arc::clone(&running), options.clone());
        out = app
            .forward(move || {
                let states = running.model.hidden_states(&text, &options)?;
                if out.len() > 1 {
                    out.push(b',');
                }
                tei::write_rows(&mut out, states.chunks_exact(running.model.config().hidden));
                Outcome::Ok(out)
            })
            .await??;
    }
    out.push(b']');
    Ok(out)
}

/// Whatever is wrong with any text is found before the first forward pass.
fn check_all(
    app: &App,
    caller: &Caller,
    texts: &[String],
    task: &Task,
) -> Outcome<(Arc<Running>, Options)> {
    let running = app.registry.run(app.registry.find(None)?.entry())?;
    running.check_room(&caller.name)?;
    let task = embed::task(&running.model, task, (None, app.config.default_task.as_ref()), caller);
    let options = Options { task, ..Options::default() };
    let inputs = texts.iter().map(|text| Input::new(text).options(options.clone()));
    let tokens = running.model.prepare(&inputs.collect::<Vec<_>>())?.tokens();
    app.check_tokens(tokens)?;
    if tokens > STATE_TOKENS {
        let message = format!(
            "the request has {tokens} tokens, and the states of at most {STATE_TOKENS} are given \
             at once; send fewer texts"
        );
        return Err(Problem::bad_request("INPUT_TOO_LONG", message));
    }
    caller.charge(tokens)?;
    Ok((running, options))
}

/// The first model that is served
#[utoipa::path(
    get,
    path = "/info",
    tag = "Text Embeddings Inference",
    responses((status = 200, body = Info))
)]
pub(crate) async fn info(State(app): State<Arc<App>>) -> Outcome<Response> {
    let state = Arc::clone(&app);
    let running = app.compute(move || state.registry.run(&state.registry.entries()[0])).await??;
    let config = running.model.config();
    Ok(axum::Json(Info {
        model_id: app.registry.entries()[0].repo.clone().unwrap_or_else(|| running.name.clone()),
        model_dtype: "float32",
        model_type: ModelType { embedding: Pooling { pooling: "mean" } },
        max_input_length: config.max_tokens,
        max_client_batch_size: app.config.limits.items,
        max_batch_tokens: app.config.limits.request_tokens,
        prompts: config.tasks.iter().map(|task| task.name.clone()).collect(),
        version: env!("CARGO_PKG_VERSION"),
    })
    .into_response())
}
