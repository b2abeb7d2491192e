//! Keys, their limits, and browsers.

use crate::{Reply, Server};
use kokeshi_server::{Access, Config, ROUTES};
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
fn a_key_with_scopes_may_use_the_routes_of_these_alone() {
    for (scope, allowed) in [
        ("scope = [\"embed\"]", &[Access::Embed][..]),
        ("scope = [\"search\", \"write\"]", &[Access::Search, Access::Write]),
        ("", &[Access::Embed, Access::Search, Access::Write]),
    ] {
        let server = with_keys(scope);
        for route in ROUTES {
            let path = route.path.replace("{*id}", "x").replace("{id}", "x").replace("{name}", "x");
            let headers = [("Authorization", "Bearer secret-a")];
            let reply = server.send(route.method.as_str(), &path, &headers, b"{");
            let is_scoped = matches!(route.access, Access::Embed | Access::Search | Access::Write);
            let is_refused = is_scoped && !allowed.contains(&route.access);
            assert_eq!(reply.status == 403, is_refused, "{scope} {path}: {}", reply.text());
        }
    }
    let server = with_keys("scope = [\"search\"]");
    let refused = embed(&server, Some("Bearer secret-a")).refusal(403, "AUTH_SCOPE_MISSING");
    let message = "this request needs the scope `embed`; the key `team-a` has `search`. Use another \
                   key, or add the scope in the key file";
    assert_eq!(refused["detail"], message);
    assert_eq!(embed(&server, Some("Bearer secret-b")).status, 200);
}

#[test]
fn a_scope_that_does_not_exist_is_an_error_at_the_start() {
    use kokeshi::{LoadOptions, Models};
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.toml");
    for (scope, expected) in [
        (
            "[\"serach\"]",
            "key `a`: unknown scope `serach`; the scopes are `embed`, `search`, `write`",
        ),
        ("[]", "key `a`: `scope` is an empty list"),
    ] {
        let text = format!("[[key]]\nname = \"a\"\nsha256 = \"{SHA256}\"\nscope = {scope}\n");
        fs::write(&file, text).expect("a file");
        let config = Config { api_key_file: Some(file.clone()), ..Config::default() };
        let models = Models::new(LoadOptions::default(), None);
        let service = kokeshi_server::ApiService::new(config, vec![crate::starter()], None, models);
        let error = service.expect_err("no server").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_key_without_tokens_is_refused_before_its_body_is_read() {
    let server = with_keys("tokens_per_minute = 8");
    let send = |path: &str, body: &[u8]| {
        server.send("POST", path, &[("Authorization", "Bearer secret-a")], body)
    };
    // What a text has at least is charged before it is tokenized.
    let long = json!({"content": "word ".repeat(1000)}).to_string();
    assert_eq!(send("/v1/segment", long.as_bytes()).status, 200, "the debt is allowed once");
    let refused = send("/v1/embeddings", b"not JSON");
    refused.refusal(429, "RATE_TOKEN_LIMIT_EXCEEDED");
    assert_eq!(refused.header("x-ratelimit-remaining-tokens"), Some("0"));
    let server = with_keys("tokens_per_minute = 100");
    let send = |body: &serde_json::Value| {
        let headers = [("Authorization", "Bearer secret-a")];
        server.send("POST", "/v1/embeddings", &headers, body.to_string().as_bytes())
    };
    let one = send(&json!({"input": "x"})).success();
    assert!(one["usage"]["total_tokens"].as_u64() < Some(10));
    let long = json!({"input": "word ".repeat(2000)});
    send(&long).refusal(429, "RATE_TOKEN_LIMIT_EXCEEDED");
    let metrics = server.send("GET", "/metrics", &[("Authorization", "Bearer secret-b")], b"");
    assert!(metrics.text().contains("kokeshi_errors_total{code=\"RATE_TOKEN_LIMIT_EXCEEDED\"} 1"));
}

#[test]
fn without_keys_requests_of_foreign_pages_are_refused() {
    let server = Server::start();
    let send = |headers: &[(&str, &str)]| {
        server.send("POST", "/v1/embeddings", headers, b"{\"input\":\"x\"}")
    };
    let own = ("Host", "127.0.0.1:8080");
    assert_eq!(send(&[own, ("Origin", "http://127.0.0.1:8080")]).status, 200);
    send(&[("Host", "evil.example")]).refusal(403, "AUTH_FOREIGN_HOST");
    send(&[own, ("Origin", "https://evil.example")]).refusal(403, "AUTH_FOREIGN_ORIGIN");
    let form = server.send_as("text/plain", "/v1/embeddings", b"{\"input\":\"x\"}");
    form.refusal(415, "INPUT_INVALID_CONTENT_TYPE");
    let foreign = server.send("GET", "/v1/models", &[("Host", "evil.example")], b"");
    foreign.refusal(403, "AUTH_FOREIGN_HOST");
    let config = |api_keys: &[&str], allow_hosts: &[&str]| Config {
        api_keys: api_keys.iter().map(|&key| key.to_owned()).collect(),
        allow_hosts: allow_hosts.iter().map(|&host| host.to_owned()).collect(),
        ..Config::default()
    };
    let named = Server::with(config(&[], &["my.name"]));
    let get = |server: &Server, headers: &[(&str, &str)]| {
        server.send("GET", "/v1/models", headers, b"").status
    };
    assert_eq!(get(&named, &[("Host", "my.name:8080")]), 200);
    let keyed = Server::with(config(&["secret"], &[]));
    let key = ("Authorization", "Bearer secret");
    assert_eq!(get(&keyed, &[("Host", "my.name"), key]), 200);
}

#[test]
fn with_keys_only_preflight_requests_are_answered_without_one() {
    let cors_origins = vec!["*".to_owned()];
    let api_keys = vec!["secret".to_owned()];
    let server = Server::with(Config { cors_origins, api_keys, ..Config::default() });
    let headers = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")];
    for path in ["/v1/models", "/v1/embeddings", "/metrics", "/unknown"] {
        let preflight = server.send("OPTIONS", path, &headers, b"");
        assert_eq!((preflight.status, preflight.body.len()), (200, 0), "{path}");
        for method in ["GET", "POST", "DELETE", "PUT", "HEAD"] {
            assert_eq!(server.send(method, path, &headers, b"{}").status, 401, "{method} {path}");
        }
    }
}

#[test]
fn an_empty_key_is_refused() {
    use kokeshi::{LoadOptions, Models};
    for keys in [&[""][..], &[" "], &["secret", ""]] {
        let api_keys = keys.iter().map(|&key| key.to_owned()).collect();
        let models = Models::new(LoadOptions::default(), None);
        let config = Config { api_keys, ..Config::default() };
        let service = kokeshi_server::ApiService::new(config, vec![crate::starter()], None, models);
        let error = service.expect_err("no server").to_string();
        assert!(error.contains("is empty"), "{keys:?}: {error}");
    }
}

#[test]
fn bodies_and_answers_take_a_bounded_amount_of_memory() {
    let limits = kokeshi_server::Limits { buffered_bytes: 1, ..Default::default() };
    let server = Server::with(Config { limits, ..Config::default() });
    assert_eq!(embed(&server, None).status, 200, "nothing is held");
    // A large answer that is not read yet.
    let body = json!({"input": vec!["x"; 64]}).to_string();
    let unread = server.respond("/v1/embeddings", body.as_bytes());
    let refused = embed(&server, None);
    refused.refusal(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED");
    assert_eq!(server.get("/live").status, 200);
    drop(unread);
    assert_eq!(embed(&server, None).status, 200);
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
