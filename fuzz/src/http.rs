//! Bodies of requests in every dialect.

use axum::body::Body;
use axum::http::{Method, Request, header};
use kokeshi::{LoadOptions, Model, Models};
use kokeshi_model::Device;
use kokeshi_server::{ApiService, Config, ModelEntry, ROUTES, Route};
use std::path::Path;
use std::sync::OnceLock;
use tokio::runtime::Runtime;
use tower::ServiceExt;

struct Server {
    runtime: Runtime,
    service: ApiService,
    posts: Vec<&'static Route>,
}

/// The first byte chooses a route; no body makes the server fail.
pub(crate) fn any_route(bytes: &[u8]) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(start);
    let Some((route, body)) = bytes.split_first() else { return };
    let route = server.posts[usize::from(*route) % server.posts.len()];
    let request = Request::post(route.path).header(header::CONTENT_TYPE, "application/json");
    let request = request.header(header::HOST, "localhost").body(Body::from(body.to_vec()));
    let service = server.service.clone();
    let answer = async { service.oneshot(request.expect("a request")).await.expect("an answer") };
    let status = server.runtime.block_on(answer).status().as_u16();
    assert!(status < 500 || status == 503, "{} answers {status}", route.path);
}

fn start() -> Server {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/v3-tiny/original");
    let load = Box::new(move |options: &LoadOptions| Model::open(&folder, options));
    let entry = ModelEntry { name: "tiny".to_owned(), repo: None, licence: None, load };
    let device = Device::Cpu { threads: Some(1), level: None, precision: None };
    let models = Models::new(LoadOptions { device }, None);
    let service = ApiService::new(Config::default(), vec![entry], None, models).expect("a service");
    service.load(true).expect("a model");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let posts = ROUTES.iter().filter(|route| route.method == Method::POST).collect();
    Server { runtime: runtime.expect("a runtime"), service, posts }
}
