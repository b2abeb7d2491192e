//! `/v1/segment`: the chunks of a text. `/v1/similarity`: cosines of texts.

use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{EmbedRequest, EmbedResponse, RequestTask, check_step, least_tokens, tail};
use crate::problem::{ApiResult, Problem};
use crate::wire::embeddings::Usage;
use crate::wire::input::RequestTexts;
use crate::wire::segment::{
    OffsetUnit, SegmentBody, SegmentResponse, SegmentUsage, Similarity, SimilarityBody,
    SimilarityResponse,
};
use crate::wire::write_json;
use crate::work::Pace;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi::{Chunk, Chunking, Model, TokenizedText, cosine};
use std::sync::Arc;

/// Default maximum number of characters of a chunk, as in the hosted service.
const DEFAULT_CHUNK_LENGTH: usize = 1000;
/// Maximum number of texts to compare with each other; the answer grows with their square.
const MAX_COMPARED: usize = 512;

/// Cut a text into chunks
#[utoipa::path(
    post,
    path = "/v1/segment",
    tag = "Jina and OpenAI",
    request_body = SegmentBody,
    responses((status = 200, body = SegmentResponse))
)]
pub(crate) async fn segment(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<SegmentBody>,
) -> ApiResult<Response> {
    if body.return_tokens == Some(true) {
        let message = "this server does not return tokens; omit `return_tokens`";
        return Err(Problem::invalid("return_tokens", message));
    }
    let reference = app.registry.resolve(body.model.as_deref())?;
    let running = app.loaded(&caller.name, &reference).await?;
    let deposit = caller.deposit(least_tokens(body.content.len()))?;
    let size = body.content.len();
    let work = move |pace: &mut Pace| {
        let response = segments(&running.model, &body, pace)?;
        pace.check()?;
        ApiResult::Ok((response.num_tokens, write_json(&response)?))
    };
    let (tokens, response) = app.work(&caller.name, size, work).await??;
    caller.settle_done(deposit, tokens);
    Ok(json(response).into_response())
}

fn segments(model: &Model, body: &SegmentBody, pace: &mut Pace) -> ApiResult<SegmentResponse> {
    let text = body.content.as_str();
    check_step(model, 0, text, false)?;
    let tokenized = model.tokenize_while(text, &mut || pace.keep_running())?;
    let chunks = match &body.chunking {
        Some(chunking) => {
            let chunking: Chunking = chunking
                .parse()
                .map_err(|error: kokeshi::Error| Problem::invalid("chunking", error.to_string()))?;
            tokenized.chunk_while(chunking, &mut || pace.keep_running())?
        }
        None => {
            let length = body.max_chunk_length.map_or(DEFAULT_CHUNK_LENGTH, |count| count.0);
            chunks_within(&tokenized, text, length, pace)?
        }
    };
    let tokens = tokenized.count();
    let position = |chunk: &Chunk| {
        let range = match body.offsets.unwrap_or_default() {
            OffsetUnit::Chars => &chunk.chars,
            OffsetUnit::Utf16 => &chunk.utf16,
        };
        [range.start, range.end]
    };
    let texts = || chunks.iter().map(|chunk| text[chunk.bytes.clone()].to_owned()).collect();
    Ok(SegmentResponse {
        num_tokens: tokens,
        tokenizer: model.tokenizer_info().kind,
        usage: SegmentUsage { tokens },
        num_chunks: chunks.len(),
        chunk_positions: chunks.iter().map(position).collect(),
        chunks: (body.return_chunks == Some(true)).then(texts),
    })
}

/// Chunks of at most `length` characters. The engine limits tokens, so this halves that limit until
/// all chunks are short enough. A longer single token stays whole.
fn chunks_within(
    tokenized: &TokenizedText<'_>,
    text: &str,
    length: usize,
    pace: &mut Pace,
) -> ApiResult<Vec<Chunk>> {
    if length == 0 {
        return Err(Problem::invalid("max_chunk_length", "expected a length of 1 or more"));
    }
    // A token of prose has at least two characters, so this is close to `length` characters.
    let mut tokens = length.div_ceil(2).min(text.len().max(1));
    loop {
        let semantic = Chunking::Semantic(tokens);
        let chunks = tokenized.chunk_while(semantic, &mut || pace.keep_running())?;
        if tokens == 1 || chunks.iter().all(|chunk| chunk.chars.len() <= length) {
            return Ok(chunks);
        }
        tokens /= 2;
    }
}

/// Compare texts
#[utoipa::path(
    post,
    path = "/v1/similarity",
    tag = "Jina and OpenAI",
    request_body = SimilarityBody,
    responses((status = 200, body = SimilarityResponse))
)]
pub(crate) async fn similarity(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<SimilarityBody>,
) -> ApiResult<Response> {
    let limit = app.config().timeouts.request;
    let compared = tokio::time::timeout(limit, compared(&app, &caller, body));
    let response = compared.await.map_err(|_| Problem::timeout(limit))??;
    Ok(json(response).into_response())
}

/// The body of an answer.
async fn compared(app: &Arc<App>, caller: &Caller, body: SimilarityBody) -> ApiResult<Vec<u8>> {
    let RequestTexts::Flat(texts) = app.texts(&caller.name, "input", body.input).await? else {
        return Err(Problem::invalid("input", "expected a text or a list of texts"));
    };
    if body.query.is_none() && texts.len() > MAX_COMPARED {
        let message = format!(
            "`input` has {} texts; the limit without a query is {MAX_COMPARED}",
            texts.len()
        );
        return Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message));
    }
    let task = if body.query.is_some() { "retrieval.passage" } else { "text-matching" };
    let request = |texts, implied| EmbedRequest {
        model: body.model.clone(),
        texts: RequestTexts::Flat(texts),
        task: match &body.task {
            Some(task) => RequestTask::Named(Some(task.clone())),
            None => RequestTask::implied(implied),
        },
        dimensions: body.dimensions.map(|count| count.0),
        normalized: true,
        truncate: tail(body.truncate.unwrap_or(false)),
        late_chunking: None,
    };
    let embedded = app.embed(request(texts, task), caller).await?;
    let EmbedResponse { model, mut tokens, vectors, .. } = embedded;
    let query = match &body.query {
        Some(query) => {
            let query = request(vec![query.clone()], "retrieval.query");
            let query = app.embed(query, caller).await?;
            tokens += query.tokens;
            query.vectors.into_iter().next()
        }
        None => None,
    };
    let others = if query.is_some() { 1 } else { vectors.len() };
    let size = others * vectors.iter().map(Vec::len).sum::<usize>();
    let write = move |pace: &mut Pace| {
        let data = match &query {
            Some(query) => similarities(query, &vectors),
            None => similarity_rows(&vectors, pace)?,
        };
        let usage = Usage { total_tokens: tokens, prompt_tokens: tokens };
        write_json(&SimilarityResponse { object: "list", model, usage, data })
    };
    app.work(&caller.name, size, write).await?
}

/// The cosine of every vector with `query`.
fn similarities(query: &[f32], vectors: &[Vec<f32>]) -> Vec<Similarity> {
    let one = |(index, vector): (usize, &Vec<f32>)| {
        let similarity = cosine(query, vector);
        Similarity::Query { index, similarity }
    };
    vectors.iter().enumerate().map(one).collect()
}

/// Rows of cosines that are computed between two pauses.
const ROWS_PER_STEP: usize = 16;

/// The cosines of all pairs.
fn similarity_rows(vectors: &[Vec<f32>], pace: &mut Pace) -> ApiResult<Vec<Similarity>> {
    let mut rows = Vec::with_capacity(vectors.len());
    for (index, vector) in vectors.iter().enumerate() {
        if index % ROWS_PER_STEP == 0 {
            pace.check()?;
        }
        let similarities = vectors.iter().map(|other| cosine(vector, other)).collect();
        rows.push(Similarity::Row { index, similarities });
    }
    Ok(rows)
}
