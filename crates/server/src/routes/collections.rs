//! `GET /v1/collections`.

use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::problem::ApiResult;
use crate::search::existing;
use crate::wire::collections::{CollectionInfo, CollectionList};
use crate::wire::write_json;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi_collections::Error;
use std::sync::Arc;

/// The served collections
///
/// Each with the number of its documents and chunks, and with what produced its vectors.
#[utoipa::path(
    get,
    path = "/v1/collections",
    tag = "Collections",
    responses((status = 200, body = CollectionList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<Response> {
    let Some(stores) = app.stores.clone() else {
        return Ok(json(write_json(&collection_list(Vec::new()))?).into_response());
    };
    let bindings = app.registry.bindings().current();
    let read = move || {
        stores.read(|store| {
            let mut data = Vec::new();
            for binding in &bindings {
                let Some(stored) = &binding.stored else { continue };
                if let Some(found) = existing(store, stored)? {
                    let counts = store.count(&found.name).map_err(Error::from)?;
                    data.push(CollectionInfo::new(binding, stored, (&found, counts)));
                }
            }
            write_json(&collection_list(data))
        })
    };
    Ok(json(app.read_store(&caller.name, read).await?).into_response())
}

fn collection_list(data: Vec<CollectionInfo>) -> CollectionList {
    CollectionList { object: "list", data }
}
