//! Keys, their limits, and browsers.

use crate::{Reply, Server};
use kokeshi_server::Config;
use serde_json::json;
use std::fs;

/// `printf secret-a | sha256sum`
const SHA256: &str = "8766b9cb08e6040b704f1e3ee1e186efccf2635b1d2634d6525333007e6aeae1";

/// A server with the limited key `secret-a` and the unlimited key `secret-b`.
fn with_keys(limits: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.toml");
    let text = format!("[[key]]\nname = \"team-a\"\nsha256 = \"{SHA256}\"\n{limits}");
    fs::write(&file, text).expect("a file");
    let api_keys = vec!["secret-b".to_owned()];
    Server::with(Config { api_key_file: Some(file), api_keys, ..Config::default() })
}

fn embed(server: &Server, authorization: Option<&str>) -> Reply {
    let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
    server.send("POST", "/v1/embeddings", &headers, b"{\"input\":\"x\"}")
}

#[test]
fn without_keys_any_header_is_accepted() {
    let server = Server::start();
    for header in [None, Some("Bearer None"), Some("Bearer sk-x"), Some("nonsense")] {
        assert_eq!(embed(&server, header).status, 200);
    }
}

#[test]
fn limits_of_a_key_are_enforced_and_reported() {
    let server = with_keys("requests_per_minute = 2");
    let first = embed(&server, Some("Bearer secret-a"));
    assert_eq!((first.status, first.header("x-ratelimit-remaining-requests")), (200, Some("1")));
    assert_eq!(embed(&server, Some("Bearer secret-a")).status, 200);
    let third = embed(&server, Some("Bearer secret-a"));
    third.refusal(429, "RATE_REQUEST_LIMIT_EXCEEDED");
    assert_eq!(third.header("x-ratelimit-remaining-requests"), Some("0"));
    let seconds: u64 = third.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(embed(&server, Some("Bearer secret-b")).status, 200, "the other key has its own");

    let server = with_keys("tokens_per_minute = 8");
    let first = embed(&server, Some("Bearer secret-a"));
    assert_eq!(first.status, 200);
    let tokens = first.json()["usage"]["total_tokens"].as_u64().expect("tokens");
    let left = (8 - tokens).to_string();
    assert_eq!(first.header("x-ratelimit-remaining-tokens"), Some(left.as_str()));
    let headers = [("Authorization", "Bearer secret-a")];
    let more = json!({"input": "a b c d e f g h"}).to_string();
    let refused = server.send("POST", "/v1/embeddings", &headers, more.as_bytes());
    refused.refusal(429, "RATE_TOKEN_LIMIT_EXCEEDED");

    let server = with_keys("concurrency = 0");
    let refused = embed(&server, Some("Bearer secret-a"));
    refused.refusal(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
}

#[test]
fn browsers_may_send_requests_only_from_configured_origins() {
    let preflight = |server: &Server| {
        let headers =
            [("Origin", "https://example.org"), ("Access-Control-Request-Method", "POST")];
        let reply = server.send("OPTIONS", "/v1/embeddings", &headers, b"");
        reply.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(preflight(&Server::start()), None);
    let cors = |origin: &str, api_keys: Vec<String>| {
        let cors_origins = vec![origin.to_owned()];
        Server::with(Config { cors_origins, api_keys, ..Config::default() })
    };
    let open = cors("https://example.org", Vec::new());
    assert_eq!(preflight(&open).as_deref(), Some("https://example.org"));
    assert_eq!(preflight(&cors("https://example.com", Vec::new())), None);
    // A page may read what the server reports in headers.
    let headers = [("Origin", "https://example.org")];
    let reply = open.send("POST", "/v1/embeddings", &headers, b"{\"input\":\"x\"}");
    let exposed = reply.header("access-control-expose-headers").unwrap_or_default();
    let exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
    for name in [
        "x-request-id",
        "retry-after",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-kokeshi-windows",
        "x-kokeshi-truncated",
    ] {
        assert!(exposed.contains(&name), "{name} in {exposed:?}");
    }
    // A preflight request cannot carry a key, and a refusal must be readable for the page.
    let locked = cors("https://example.org", vec!["secret".to_owned()]);
    assert_eq!(preflight(&locked).as_deref(), Some("https://example.org"));
    let headers = [("Origin", "https://example.org")];
    let refusal = locked.send("POST", "/v1/embeddings", &headers, b"{}");
    refusal.refusal(401, "AUTH_MISSING_API_KEY");
    assert_eq!(refusal.header("access-control-allow-origin"), Some("https://example.org"));
}
