//! `POST /v1/search`.

use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::body::{Json, MAX_INLINE_BYTES};
use crate::problem::{ApiResult, Problem};
use crate::search::{Search, SearchQuery};
use crate::wire::search::{SearchBody, SearchResponse, Texts};
use crate::wire::write_json;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi_store::{Condition, Filter};
use std::sync::Arc;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1000;
/// Maximum number of conditions, and of globs.
const MAX_CONDITIONS: usize = 64;

/// Search a collection
///
/// By a text, whose vector is computed with the collection's model and task, or by a vector.
#[utoipa::path(
    post,
    path = "/v1/search",
    tag = "Collections",
    request_body = SearchBody,
    responses(
        (status = 200, body = SearchResponse),
        (status = 404, description = "The server does not serve the collection")
    )
)]
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<SearchBody>,
) -> ApiResult<Response> {
    let search = checked(body)?;
    let limit = app.config().timeouts.request;
    let searched = tokio::time::timeout(limit, app.search(search, &caller));
    let response = searched.await.map_err(|_| Problem::timeout(limit))??;
    let size = response.hits.iter().map(|hit| hit.text.len()).sum();
    let body = match size {
        0..MAX_INLINE_BYTES => write_json(&response)?,
        _ => app.work(&caller.name, size, move |_| write_json(&response)).await??,
    };
    Ok(json(body).into_response())
}

fn checked(body: SearchBody) -> ApiResult<Search> {
    let hybrid = body.hybrid.unwrap_or(false);
    Ok(Search {
        query: query(body.query, body.vector, hybrid)?,
        collection: body.collection,
        limit: limit(body.limit.map_or(DEFAULT_LIMIT, |limit| limit.0))?,
        filter: filter(body.filter.unwrap_or_default(), body.path.unwrap_or_default())?,
        hybrid,
        exact: body.exact.unwrap_or(false),
        min_score: body.min_score,
        best_sentences: body.best_sentences.unwrap_or(true),
    })
}

fn query(text: Option<String>, vector: Option<Vec<f32>>, hybrid: bool) -> ApiResult<SearchQuery> {
    match (text, vector) {
        (Some(text), None) if text.trim().is_empty() => {
            Err(Problem::invalid("query", "`query` is blank; send the text to search for"))
        }
        (Some(text), None) => Ok(SearchQuery::Text(text)),
        (None, Some(_)) if hybrid => {
            let message = "a vector has no words to search for; send `query`, or omit `hybrid`";
            Err(Problem::invalid("hybrid", message))
        }
        (None, Some(vector)) => Ok(SearchQuery::Vector(vector)),
        _ => Err(Problem::invalid("query", "expected either `query` or `vector`")),
    }
}

fn limit(limit: usize) -> ApiResult<usize> {
    match limit {
        1..=MAX_LIMIT => Ok(limit),
        _ => {
            let message = format!("`limit` is {limit}; expected 1 to {MAX_LIMIT}");
            Err(Problem::invalid("limit", message))
        }
    }
}

fn filter(Texts(conditions): Texts, Texts(globs): Texts) -> ApiResult<Filter> {
    for (field, count) in [("filter", conditions.len()), ("path", globs.len())] {
        if count > MAX_CONDITIONS {
            let message = format!("`{field}` has {count} items; the limit is {MAX_CONDITIONS}");
            return Err(Problem::invalid(field, message));
        }
    }
    let parse = |condition: &String| {
        let parsed: Result<Condition, _> = condition.parse();
        parsed.map_err(|error| Problem::invalid("filter", error.to_string()))
    };
    let conditions = conditions.iter().map(parse).collect::<ApiResult<_>>()?;
    let globs: Vec<String> = globs.into_iter().filter(|glob| !glob.is_empty()).collect();
    Filter::new(&globs, conditions).map_err(|error| Problem::invalid("path", error.to_string()))
}
