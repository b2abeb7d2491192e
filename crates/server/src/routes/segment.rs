//! `/v1/segment`: a text's chunks. `/v1/similarity`: cosines of texts.

use crate::app::App;
use crate::body::Json;
use crate::cl100k;
use crate::embed::{EmbedRequest, Task};
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::wire::embeddings::Usage;
use crate::wire::input::Texts;
use crate::wire::segment::{
    SegmentBody, SegmentResponse, SegmentUsage, Similarity, SimilarityBody, SimilarityResponse,
};
use axum::Extension;
use axum::extract::State;
use kokeshi::{Chunk, Chunking, Model, cosine};
use std::sync::Arc;

/// Characters of a chunk where nothing is said, as in the hosted service.
const CHUNK_LENGTH: usize = 1000;
/// Most texts that are compared with each other: the answer grows with their square.
const MOST_COMPARED: usize = 512;

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
    Json(body): Json<SegmentBody>,
) -> Outcome<axum::Json<SegmentResponse>> {
    if body.return_tokens == Some(true) {
        let message = "tokens are not listed here; leave `return_tokens` out";
        return Err(Problem::invalid("return_tokens", message));
    }
    let state = Arc::clone(&app);
    app.compute(move || cut(&state, &body).map(axum::Json)).await?
}

fn cut(app: &App, body: &SegmentBody) -> Outcome<SegmentResponse> {
    let text = body.content.as_str();
    let named = app.registry.find(body.model.as_deref())?;
    let model = &app.registry.run(named.entry())?.model;
    let chunks = match &body.chunking {
        Some(how) => {
            let chunking: Chunking = how
                .parse()
                .map_err(|error: kokeshi::Error| Problem::invalid("chunking", error.to_string()))?;
            model.chunk(text, chunking)?
        }
        None => {
            let length = body.max_chunk_length.map_or(CHUNK_LENGTH, |count| count.0);
            within(model, text, length)?
        }
    };
    let tokens = model.count_tokens(text)?;
    let wanted = body.return_chunks == Some(true);
    let texts = || chunks.iter().map(|chunk| text[chunk.bytes.clone()].to_owned()).collect();
    Ok(SegmentResponse {
        num_tokens: tokens,
        tokenizer: model.tokenizer_info().kind,
        usage: SegmentUsage { tokens },
        num_chunks: chunks.len(),
        chunk_positions: chunks.iter().map(|chunk| [chunk.chars.start, chunk.chars.end]).collect(),
        chunks: wanted.then(texts),
    })
}

/// Chunks of at most `length` characters: the engine counts tokens, so their number is halved until
/// all chunks are short enough. A token that is longer by itself stays whole.
fn within(model: &Model, text: &str, length: usize) -> Outcome<Vec<Chunk>> {
    if length == 0 {
        return Err(Problem::invalid("max_chunk_length", "expected a length of 1 or more"));
    }
    // A token of prose has two characters at least, and a chunk of them about `length`.
    let mut tokens = length.div_ceil(2).min(text.len().max(1));
    loop {
        let chunks = model.chunk(text, Chunking::Semantic(tokens))?;
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
) -> Outcome<axum::Json<SimilarityResponse>> {
    let Texts::Flat(texts) = body.input.texts("input", cl100k::decode)? else {
        return Err(Problem::invalid("input", "expected a text or a list of texts"));
    };
    if body.query.is_none() && texts.len() > MOST_COMPARED {
        let message =
            format!("{} texts; the limit without a query is {MOST_COMPARED}", texts.len());
        return Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message));
    }
    let hint = if body.query.is_some() { "retrieval.passage" } else { "text-matching" };
    let request = |texts, hint| EmbedRequest {
        model: body.model.clone(),
        texts: Texts::Flat(texts),
        task: match &body.task {
            Some(task) => Task::Asked(Some(task.clone())),
            None => Task::Hinted(Some(hint)),
        },
        dimensions: body.dimensions.map(|count| count.0),
        normalized: true,
        truncate: body.truncate.unwrap_or(false),
        late_chunking: None,
    };
    let done = app.embed(request(texts, hint), &caller).await?;
    let (mut tokens, vectors) = (done.tokens, done.vectors);
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
        None => app.compute(move || rows(&vectors)).await?,
    };
    let usage = Usage { total_tokens: tokens, prompt_tokens: tokens };
    Ok(axum::Json(SimilarityResponse { object: "list", model: done.model, usage, data }))
}

fn rows(vectors: &[Vec<f32>]) -> Vec<Similarity> {
    let row = |(index, vector): (usize, &Vec<f32>)| Similarity::Row {
        index,
        similarities: vectors.iter().map(|other| cosine(vector, other)).collect(),
    };
    vectors.iter().enumerate().map(row).collect()
}
