//! The server without sockets: each test creates the service and calls it.

mod access;
mod classify;
mod collections;
mod dialects;
mod embeddings;
mod guide;
mod late;
mod refusals;
mod routes;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use kokeshi::{LoadOptions, Model, Models};
use kokeshi_server::{ApiService, Config, ModelEntry, ServedCollections};
use kokeshi_testkit::fixture;
use kokeshi_testkit::reply::{self, Reply, vector};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// A service and a runtime to call it in.
struct Server {
    runtime: Runtime,
    service: ApiService,
}

impl Server {
    /// With the bundled model.
    fn start() -> Self {
        Self::with(Config::default())
    }

    /// With the bundled model and a configuration.
    fn with(config: Config) -> Self {
        Self::serving(vec![starter()], config)
    }

    /// With a tiny checkpoint under the name of the released v3.
    fn v3() -> Self {
        Self::v3_with(Config::default())
    }

    fn v3_with(config: Config) -> Self {
        Self::serving(vec![folder("jina-embeddings-v3", "v3-tiny/original")], config)
    }

    fn serving(entries: Vec<ModelEntry>, config: Config) -> Self {
        Self::following(entries, None, config)
    }

    fn following(
        entries: Vec<ModelEntry>,
        collections: Option<ServedCollections>,
        config: Config,
    ) -> Self {
        let models = Models::new(LoadOptions::default(), None);
        let service = ApiService::new(config, entries, collections, models).expect("a service");
        service.load(true).expect("models");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        Self { runtime: runtime.expect("a runtime"), service }
    }

    /// `POST` of JSON.
    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    #[track_caller]
    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    #[track_caller]
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.call(request.body(Body::from(body.to_vec())).expect("a request"));
        self.runtime.block_on(read(response))
    }

    /// `POST` of a body of the type `kind`.
    #[track_caller]
    fn send_as(&self, kind: &str, path: &str, body: &[u8]) -> Reply {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(header::CONTENT_TYPE, kind);
        let response = self.call(request.body(Body::from(body.to_vec())).expect("a request"));
        self.runtime.block_on(read(response))
    }

    /// The response to a `POST` of JSON, whose body is not read yet.
    #[track_caller]
    fn respond(&self, path: &str, body: &[u8]) -> axum::response::Response {
        let request = Request::builder().method(Method::POST).uri(path);
        self.call(request.body(Body::from(body.to_vec())).expect("a request"))
    }

    fn call(&self, request: Request<Body>) -> axum::response::Response {
        let service = self.service.clone();
        self.runtime.block_on(async { service.oneshot(request).await.expect("a response") })
    }

    /// The vectors of a successful response of `/v1/embeddings`.
    #[track_caller]
    fn vectors(&self, body: &Value) -> Vec<Vec<f32>> {
        self.post("/v1/embeddings", body).vectors()
    }

    /// Waits until the metrics contain `text`.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        reply::wait_for(text, || self.get("/metrics").text());
    }
}

/// The reply in a response of the service.
async fn read(response: axum::response::Response) -> Reply {
    let (head, body) = response.into_parts();
    let text = |value: &HeaderValue| value.to_str().expect("a header").to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Reply {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.collect().await.expect("a body").to_bytes().to_vec(),
    }
}

fn starter() -> ModelEntry {
    let load = Box::new(Model::starter);
    ModelEntry { name: "starter".to_owned(), repo: None, licence: None, load }
}

/// A checkpoint of the fixtures under a name.
fn folder(name: &str, checkpoint: &str) -> ModelEntry {
    let path = fixture(checkpoint);
    let load = Box::new(move |options: &LoadOptions| Model::open(&path, options));
    ModelEntry { name: name.to_owned(), repo: None, licence: None, load }
}

/// A v2 checkpoint under the name of a released one.
fn v2() -> ModelEntry {
    folder("jina-embeddings-v2-base-en", "v2-tiny/std_wordpiece")
}
