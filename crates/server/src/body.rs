//! Reads the body of a request, within limits of size and time.

use crate::admission::{Bodies, Caller};
use crate::app::App;
use crate::buffers::Held;
use crate::half_open::ClientWaits;
use crate::problem::{ApiResult, Problem};
use crate::wire;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// A body of more bytes is not parsed on an async thread, where it would delay other requests.
pub(crate) const MAX_INLINE_BYTES: usize = 256 << 10;

/// A JSON body of type `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        check_encoding(request.headers())?;
        let extensions = request.extensions();
        let caller = extensions.get::<Caller>().map(|caller| Arc::clone(&caller.name));
        let (waits, bodies) =
            (extensions.get::<ClientWaits>().cloned(), extensions.get::<Bodies>().cloned());
        let client = caller.clone().unwrap_or_else(|| "public".into());
        let (bytes, held) = read(request.into_body(), app, &client).await?;
        if let Some(bodies) = bodies {
            bodies.keep(held);
        }
        if let Some(waits) = waits {
            waits.set(true);
        }
        match (caller, bytes.len()) {
            (Some(client), MAX_INLINE_BYTES..) => {
                app.work(&client, bytes.len(), move |_| wire::parse(&bytes)).await?.map(Self)
            }
            _ => wire::parse(&bytes).map(Self),
        }
    }
}

pub(crate) fn check_encoding(headers: &HeaderMap) -> ApiResult<()> {
    let is_identity = |encoding: &HeaderValue| {
        let mut names = encoding.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        return Ok(());
    }
    let message = "compressed bodies are not supported; send JSON without Content-Encoding";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "INPUT_INVALID_ENCODING", message))
}

/// The bytes of a body, which count as held by `client`.
async fn read(body: Body, app: &App, client: &Arc<str>) -> ApiResult<(Bytes, Held)> {
    let limit = app.config().timeouts.body;
    let Ok(read) = tokio::time::timeout(limit, collect(body, app, client)).await else {
        return Err(too_late("the body", limit));
    };
    read
}

/// 408: `what` did not arrive in time.
pub(crate) fn too_late(what: &str, limit: Duration) -> Problem {
    let message = format!("{what} did not arrive within {} seconds", limit.as_secs_f64());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "INPUT_TIMEOUT", message)
}

/// 413: `what` has too many bytes.
pub(crate) fn over_limit(what: &str, limit: usize, hint: &str) -> Problem {
    let message = format!("{what} is over the limit of {limit} bytes; {hint}");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "INPUT_TOO_LARGE", message)
}

/// 400: the client stopped sending.
pub(crate) fn incomplete(error: &impl Display) -> Problem {
    let message = format!("the body did not arrive completely: {error}");
    Problem::bad_request("INPUT_INCOMPLETE", message)
}

async fn collect(body: Body, app: &App, client: &Arc<str>) -> ApiResult<(Bytes, Held)> {
    let limit = app.config().limits.body_bytes;
    let announced = body.size_hint().exact().map(usize::try_from);
    let announced = announced.and_then(Result::ok).filter(|bytes| *bytes <= limit).unwrap_or(0);
    let mut held = app.buffers.hold(client, announced)?;
    let mut body = Limited::new(body, limit);
    let mut bytes = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unread(&*error, limit))?;
        let Ok(data) = frame.into_data() else { continue };
        let more = (bytes.len() + data.len()).saturating_sub(announced.max(bytes.len()));
        if more > 0 {
            held.grow(more)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), held))
}

/// Why a body was not read.
fn unread(error: &(dyn std::error::Error + Send + Sync + 'static), limit: usize) -> Problem {
    if error.is::<LengthLimitError>() {
        return over_limit("the body", limit, "send fewer texts per request");
    }
    incomplete(&error)
}
