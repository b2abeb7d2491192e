//! A server's reply, and what every reply must look like.

use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// The reply to an HTTP request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Lower-case names, and values.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// Parses all that a server has sent on a connection.
    ///
    /// # Panics
    ///
    /// If that is not an HTTP response.
    #[track_caller]
    pub fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&raw[..end]).expect("a head in UTF-8");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self {
            status: status.parse().expect("a status"),
            headers: lines.map(header).collect(),
            body: raw[end + 4..].to_vec(),
        }
    }

    /// The first value of the header `name`, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as a text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The JSON of a reply with status 200.
    ///
    /// # Panics
    ///
    /// If the status or the type differs.
    #[track_caller]
    pub fn success(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The vectors of a successful reply of `/v1/embeddings`.
    ///
    /// # Panics
    ///
    /// If it is not one.
    #[track_caller]
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        let body = self.success();
        let data = body["data"].as_array().expect("data");
        data.iter().map(|item| vector(&item["embedding"])).collect()
    }

    /// The JSON of a refusal, on which both halves of the error agree.
    ///
    /// # Panics
    ///
    /// If the status or the code differs, or the error is incomplete.
    #[track_caller]
    pub fn refusal(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert_eq!(body["error"]["message"], body["detail"]);
        assert_eq!(body["error"]["code"], code);
        assert!(body["error"].get("param").is_some() && body["error"]["type"].is_string());
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        body
    }
}

/// The vector in a JSON array.
///
/// # Panics
///
/// If the value is anything else.
#[track_caller]
pub fn vector(value: &Value) -> Vec<f32> {
    let elements = value.as_array().unwrap_or_else(|| panic!("not a vector: {value}"));
    elements.iter().map(|element| element.as_f64().expect("a number") as f32).collect()
}

/// Waits until the text that `get` returns contains `wanted`.
///
/// # Panics
///
/// After a minute.
#[track_caller]
pub fn wait_for(wanted: &str, get: impl Fn() -> String) {
    let start = Instant::now();
    while !get().contains(wanted) {
        assert!(start.elapsed() < Duration::from_secs(60), "{wanted} did not appear");
        thread::sleep(Duration::from_millis(5));
    }
}
