//! `/v1/segment`: the chunks of a text. `/v1/similarity`: cosines of texts.

use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{EmbedRequest, RequestTask, tail};
use crate::problem::{ApiResult, Problem};
use crate::wire::embeddings::Usage;
use crate::wire::input::RequestTexts;
use crate::wire::segment::{
    SegmentBody, SegmentResponse, SegmentUsage, Similarity, SimilarityBody, SimilarityResponse,
};
use crate::work::Pace;
use axum::Extension;
use axum::extract::State;
use kokeshi::{Chunk, Chunking, TokenizedText, cosine};
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
) -> ApiResult<axum::Json<SegmentResponse>> {
    if body.return_tokens == Some(true) {
        let message = "this server does not return tokens; omit `return_tokens`";
        return Err(Problem::invalid("return_tokens", message));
    }
    // A key without tokens left must not keep the server busy; how many are due is known
    // afterwards.
    caller.charge(1)?;
    let (state, size) = (Arc::clone(&app), body.content.len());
    let response =
        app.work(&caller.name, size, move |pace| segments(&state, &body, pace)).await??;
    caller.charge_more(response.num_tokens.saturating_sub(1));
    Ok(axum::Json(response))
}

fn segments(app: &App, body: &SegmentBody, pace: &mut Pace) -> ApiResult<SegmentResponse> {
    let text = body.content.as_str();
    let reference = app.registry.resolve(body.model.as_deref())?;
    let model = &app.registry.load(reference.entry())?.model;
    let tokenized = model.tokenize_while(text, &mut || pace.keep_running())?;
    let chunks = match &body.chunking {
        Some(chunking) => {
            let chunking: Chunking = chunking
                .parse()
                .map_err(|error: kokeshi::Error| Problem::invalid("chunking", error.to_string()))?;
            tokenized.chunk(chunking)?
        }
        None => {
            let length = body.max_chunk_length.map_or(DEFAULT_CHUNK_LENGTH, |count| count.0);
            chunks_within(&tokenized, text, length, pace)?
        }
    };
    let tokens = tokenized.count();
    let texts = || chunks.iter().map(|chunk| text[chunk.bytes.clone()].to_owned()).collect();
    Ok(SegmentResponse {
        num_tokens: tokens,
        tokenizer: model.tokenizer_info().kind,
        usage: SegmentUsage { tokens },
        num_chunks: chunks.len(),
        chunk_positions: chunks.iter().map(|chunk| [chunk.chars.start, chunk.chars.end]).collect(),
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
        let chunks = tokenized.chunk(Chunking::Semantic(tokens))?;
        if !pace.keep_running() {
            return Err(kokeshi::Error::Stopped.into());
        }
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
) -> ApiResult<axum::Json<SimilarityResponse>> {
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
    let embedded = app.embed(request(texts, task), &caller).await?;
    let (mut tokens, vectors) = (embedded.tokens, embedded.vectors);
    let data = match &body.query {
        Some(query) => {
            let query = request(vec![query.clone()], "retrieval.query");
            let query = app.embed(query, &caller).await?;
            tokens += query.tokens;
            let to_query = |vector: &Vec<f32>| cosine(&query.vectors[0], vector);
            let similarity =
                |(index, vector)| Similarity::Query { index, similarity: to_query(vector) };
            vectors.iter().enumerate().map(similarity).collect()
        }
        None => {
            // A few hundred texts are compared in less than a tenth of a second.
            let size = vectors.len() * vectors.len() * vectors.first().map_or(0, Vec::len);
            app.work(&caller.name, size, move |_| similarity_rows(&vectors)).await?
        }
    };
    let usage = Usage { total_tokens: tokens, prompt_tokens: tokens };
    Ok(axum::Json(SimilarityResponse { object: "list", model: embedded.model, usage, data }))
}

fn similarity_rows(vectors: &[Vec<f32>]) -> Vec<Similarity> {
    let row = |(index, vector): (usize, &Vec<f32>)| Similarity::Row {
        index,
        similarities: vectors.iter().map(|other| cosine(vector, other)).collect(),
    };
    vectors.iter().enumerate().map(row).collect()
}
