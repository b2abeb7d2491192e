//! The server without sockets: each test creates the service and calls it.

mod access;
mod classify;
mod dialects;
mod embeddings;
mod guide;
mod late;
mod refusals;
mod routes;

use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use kokeshi::{LoadOptions, Model, Models};
use kokeshi_server::{ApiService, Config, ModelEntry};
use kokeshi_testkit::fixture;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// A service and a runtime to call it in.
struct Server {
    runtime: Runtime,
    service: ApiService,
}

/// The response to a request.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
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
        let models = Models::new(LoadOptions::default(), None);
        let service = ApiService::new(config, entries, None, models).expect("a service");
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
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let service = self.service.clone();
        self.runtime.block_on(async move {
            let response = service.oneshot(request).await.expect("a response");
            Reply::read(response).await
        })
    }

    /// The vectors of a successful response of `/v1/embeddings`.
    #[track_caller]
    fn vectors(&self, body: &Value) -> Vec<Vec<f32>> {
        let reply = self.post("/v1/embeddings", body).success();
        let data = reply["data"].as_array().expect("data");
        data.iter().map(|item| vector(&item["embedding"])).collect()
    }

    /// Waits until the metrics contain `text`.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        let started = Instant::now();
        while !self.get("/metrics").text().contains(text) {
            assert!(started.elapsed() < Duration::from_secs(60), "{text} does not happen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Reply {
    async fn read(response: axum::response::Response) -> Self {
        let (head, body) = response.into_parts();
        let text = |value: &axum::http::HeaderValue| value.to_str().expect("a header").to_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Self {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.collect().await.expect("a body").to_bytes().to_vec(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of a response with status 200.
    #[track_caller]
    fn success(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The JSON of a refusal, on which both halves of the error agree.
    #[track_caller]
    fn refusal(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert!(body["detail"].is_string() && !body["detail"].as_str().expect("text").is_empty());
        assert_eq!(body["error"]["message"], body["detail"]);
        assert_eq!(body["error"]["code"], code);
        assert!(body["error"].get("param").is_some() && body["error"]["type"].is_string());
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        body
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

#[track_caller]
fn vector(value: &Value) -> Vec<f32> {
    let elements = value.as_array().unwrap_or_else(|| panic!("not a vector: {value}"));
    elements.iter().map(|element| element.as_f64().expect("a number") as f32).collect()
}
