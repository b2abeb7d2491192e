//! Reads the body of a request, within limits of size and time.

use crate::admission::Caller;
use crate::app::App;
use crate::half_open::ClientWaits;
use crate::problem::{ApiResult, Problem};
use crate::wire;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A body of more bytes is not parsed on an async thread, where it would delay other requests.
const MAX_INLINE_BYTES: usize = 256 << 10;

/// A JSON body of type `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        check_encoding(request.headers())?;
        let caller = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.name));
        let waits = request.extensions().get::<ClientWaits>().cloned();
        let bytes = read(request.into_body(), app).await?;
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

fn check_encoding(headers: &HeaderMap) -> ApiResult<()> {
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

async fn read(body: Body, app: &App) -> ApiResult<Bytes> {
    let limit = app.config.limits.body_bytes;
    let collected = Limited::new(body, limit).collect();
    match tokio::time::timeout(app.config.timeouts.body, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!(
                "the body is over the limit of {limit} bytes; send fewer texts per request"
            );
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "INPUT_TOO_LARGE", message))
        }
        Ok(Err(error)) => {
            let message = format!("the body did not arrive completely: {error}");
            Err(Problem::bad_request("INPUT_INCOMPLETE", message))
        }
        Err(_) => {
            let seconds = app.config.timeouts.body.as_secs_f64();
            let message = format!("the body did not arrive within {seconds} seconds");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "INPUT_TIMEOUT", message))
        }
    }
}
