//! `/v1/collections/{name}/documents`.

use crate::additions::{BATCH_BYTES, BATCH_DOCUMENTS, stored_before};
use crate::admission::Caller;
use crate::app::App;
use crate::body::{Json, MAX_INLINE_BYTES, check_encoding};
use crate::half_open::ClientWaits;
use crate::ndjson::{Line, Lines, is_ndjson};
use crate::problem::{ApiResult, Problem};
use crate::wire;
use crate::wire::collections::{
    DocumentBody, DocumentsBody, DocumentsResponse, RemovalBody, RemovalResponse,
};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request, State};
use kokeshi_collections::{AddSummary, AddedText};
use std::sync::Arc;

/// Maximum number of bytes of an id, and of a document's fields as JSON.
const MAX_ID_BYTES: usize = 1024;
const MAX_METADATA_BYTES: usize = 64 << 10;

/// Add documents to a collection
///
/// A document with an id that exists is replaced. The documents are stored when the answer arrives.
/// A body of the type `application/x-ndjson` has one document per line and may have any size: it is
/// read as fast as its documents are stored. After a refusal, the message says how much of the body
/// is stored; sending all of it again is cheap, because unchanged documents are not embedded again.
#[utoipa::path(
    post,
    path = "/v1/collections/{name}/documents",
    tag = "Collections",
    params(("name" = String, Path, description = "A name that is bound to a collection")),
    request_body = DocumentsBody,
    responses(
        (status = 200, body = DocumentsResponse),
        (status = 404, description = "The server does not serve the collection")
    )
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> ApiResult<axum::Json<DocumentsResponse>> {
    let Path(name) = name?;
    let summary = match is_ndjson(request.headers()) {
        true => add_lines(&app, &caller, &name, request).await?,
        false => {
            let Json(body) = Json::from_request(request, &app).await?;
            add_all(&app, &caller, &name, body).await?
        }
    };
    Ok(axum::Json(summary.into()))
}

/// Adds the documents of a whole body, batch by batch.
async fn add_all(
    app: &Arc<App>,
    caller: &Caller,
    name: &str,
    DocumentsBody { documents }: DocumentsBody,
) -> ApiResult<AddSummary> {
    app.bound(Some(name))?;
    let size = documents.iter().map(|document| document.text.len()).sum();
    let documents = app.work(&caller.name, size, move |_| checked(documents)).await??;
    let (mut summary, mut stored) = (AddSummary::default(), 0);
    let mut rest = documents.into_iter().peekable();
    while rest.peek().is_some() {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(document) =
            rest.next_if(|_| batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES)
        {
            bytes += document.text.len();
            batch.push(document);
        }
        let count = batch.len();
        let added = add_batch(app, caller, name, batch).await;
        summary.add(added.map_err(|problem| stored_before(problem, stored, "documents"))?);
        stored += count;
    }
    Ok(summary)
}

/// The documents of a whole body, if all are valid.
fn checked(documents: Vec<DocumentBody>) -> ApiResult<Vec<AddedText>> {
    for (index, document) in documents.iter().enumerate() {
        check(document).map_err(|problem| {
            let field = problem.field.as_deref().unwrap_or_default();
            Problem { field: Some(format!("documents[{index}].{field}")), ..problem }
        })?;
    }
    Ok(documents.into_iter().map(AddedText::from).collect())
}

/// Adds the documents of a body with one per line, while the rest of it is not read yet.
async fn add_lines(
    app: &Arc<App>,
    caller: &Caller,
    name: &str,
    request: Request,
) -> ApiResult<AddSummary> {
    check_encoding(request.headers())?;
    app.bound(Some(name))?;
    let waits = request.extensions().get::<ClientWaits>().cloned();
    let mut lines = Lines::new(request.into_body(), app, &caller.name)?;
    let mut summary = AddSummary::default();
    loop {
        let stored = lines.number();
        match add_next(app, caller, name, (&mut lines, waits.as_ref())).await {
            Ok(Some(added)) => summary.add(added),
            Ok(None) => return Ok(summary),
            Err(problem) => {
                lines.discard_rest();
                return Err(stored_before(problem, stored, "lines"));
            }
        }
    }
}

/// Adds the next batch of lines; `None` at the end of the body.
async fn add_next(
    app: &Arc<App>,
    caller: &Caller,
    name: &str,
    (lines, waits): (&mut Lines, Option<&ClientWaits>),
) -> ApiResult<Option<AddSummary>> {
    let batch = lines.next_batch(BATCH_DOCUMENTS, BATCH_BYTES).await?;
    if batch.is_empty() {
        return Ok(None);
    }
    if let Some(waits) = waits.filter(|_| lines.has_ended()) {
        waits.set(true);
    }
    let batch = parsed(app, caller, batch).await?;
    add_batch(app, caller, name, batch).await.map(Some)
}

/// Adds a batch, unless the server is stopping.
async fn add_batch(
    app: &Arc<App>,
    caller: &Caller,
    name: &str,
    batch: Vec<AddedText>,
) -> ApiResult<AddSummary> {
    if app.drain.is_closing() {
        return Err(Problem::unavailable("the server is stopping; use another one"));
    }
    app.add_documents(caller, name, batch).await
}

/// The documents of lines.
async fn parsed(app: &App, caller: &Caller, lines: Vec<Line>) -> ApiResult<Vec<AddedText>> {
    let size = lines.iter().map(|line| line.bytes.len()).sum();
    let parse = move || lines.iter().map(document).collect();
    match size {
        0..MAX_INLINE_BYTES => parse(),
        _ => app.work(&caller.name, size, move |_| parse()).await?,
    }
}

fn document(line: &Line) -> ApiResult<AddedText> {
    let document = wire::parse::<DocumentBody>(&line.bytes);
    let checked = document.and_then(|document| check(&document).map(|()| document));
    checked.map(AddedText::from).map_err(|problem| {
        let message = format!("line {}: {}", line.number, problem.message);
        Problem { message, ..problem }
    })
}

/// Refuses an id that is blank or too long, and fields that are too large.
fn check(document: &DocumentBody) -> ApiResult<()> {
    let id = &document.id;
    if id.trim().is_empty() {
        return Err(Problem::invalid("id", "`id` is blank; each document needs its own"));
    }
    if id.len() > MAX_ID_BYTES {
        let message = format!("`id` has {} bytes; the limit is {MAX_ID_BYTES}", id.len());
        return Err(Problem::invalid("id", message));
    }
    let metadata = document.metadata.as_ref();
    let bytes = metadata.map_or(Ok(0), |fields| wire::write_json(fields).map(|json| json.len()))?;
    if bytes > MAX_METADATA_BYTES {
        let message = format!("`metadata` has {bytes} bytes; the limit is {MAX_METADATA_BYTES}");
        return Err(Problem::invalid("metadata", message));
    }
    Ok(())
}

/// Remove documents from a collection
#[utoipa::path(
    delete,
    path = "/v1/collections/{name}/documents",
    tag = "Collections",
    params(("name" = String, Path, description = "A name that is bound to a collection")),
    request_body = RemovalBody,
    responses(
        (status = 200, body = RemovalResponse),
        (status = 404, description = "The server does not serve the collection")
    )
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
    Json(RemovalBody { ids }): Json<RemovalBody>,
) -> ApiResult<axum::Json<RemovalResponse>> {
    let Path(name) = name?;
    let (count, limit) = (ids.len(), app.config().limits.items);
    if count > limit {
        let message = format!("`ids` has {count} items; the limit is {limit}. Send fewer");
        return Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message));
    }
    let removed = app.remove_documents(&caller, &name, ids).await?;
    Ok(axum::Json(RemovalResponse { removed }))
}
