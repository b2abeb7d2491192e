//! Checks every route against the OpenAPI document, and its refusals against its dialect.

use crate::{Reply, Server};
use axum::http::Method;
use kokeshi_server::{Access, Config, Dialect, ROUTES, Route};
use serde_json::{Value, json};

const TEXT: &str = "The Force will be with you. Always.";

/// The path of a route with values for its parameters.
fn example(route: &Route) -> String {
    route.path.replace("{id}", "absent").replace("{*id}", "absent").replace("{name}", "absent")
}

/// Asserts that a refusal has the body of its dialect.
#[track_caller]
fn assert_dialect(dialect: Dialect, reply: &Reply, path: &str) {
    let body = reply.json();
    let fields: Vec<&str> = body.as_object().expect(path).keys().map(String::as_str).collect();
    match dialect {
        Dialect::Jina => {
            let (fields, last) = fields.split_at(4.min(fields.len()));
            assert_eq!(fields, ["detail", "code", "request_id", "error"], "{path}");
            assert!(last.is_empty() || last == ["errors"], "{path}");
        }
        Dialect::Tei => assert_eq!(fields, ["error", "error_type"], "{path}"),
        Dialect::Ollama => assert_eq!(fields, ["error"], "{path}"),
        Dialect::Cohere => assert_eq!(fields, ["message", "id"], "{path}"),
    }
}

/// Asserts that the document has the status of a reply, and that the body matches the schema.
#[track_caller]
pub(crate) fn assert_described(api: &Value, method: &str, path: &str, reply: &Reply) {
    let operation = &api["paths"][path][method];
    let responses = operation["responses"].as_object().expect(path);
    let response = responses.get(&reply.status.to_string());
    let response = response.unwrap_or_else(|| panic!("{path}: {} is not documented", reply.status));
    if let Some(schema) = response.pointer("/content/application~1json/schema") {
        let body = reply.json();
        assert!(fits(api, schema, &body), "{path}, {}: {body} against {schema}", reply.status);
        return;
    }
    assert!(reply.status < 400, "{path}: {} has a body without a schema", reply.status);
    assert!(reply.body.is_empty(), "{path}: {}", reply.text());
}

/// Whether a value matches a schema. Only the keywords that the document uses are supported.
fn fits(api: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return fits(api, api.pointer(pointer).expect(reference), value);
    }
    if let Some(schemas) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return schemas.iter().any(|schema| fits(api, schema, value));
    }
    if let Some(schemas) = schema["allOf"].as_array() {
        return schemas.iter().all(|schema| fits(api, schema, value));
    }
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        _ => panic!("unknown type: {schema}"),
    };
    let fits_type = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    };
    let required = schema["required"].as_array().into_iter().flatten();
    let fits_property = |name: &String, field: &Value| {
        let property = schema["properties"].get(name).or(schema.get("additionalProperties"));
        property.is_none_or(|property| fits(api, property, field))
    };
    fits_type
        && value.as_object().is_none_or(|fields| {
            required.into_iter().all(|name| name.as_str().is_some_and(|n| fields.contains_key(n)))
                && fields.iter().all(|(name, field)| fits_property(name, field))
        })
        && value
            .as_array()
            .is_none_or(|items| items.iter().all(|item| fits(api, &schema["items"], item)))
}

#[test]
fn successful_replies_match_their_schemas() {
    let server = Server::start();
    let api = server.get("/openapi.json").success();
    let paths = ["/v1/models", "/v1/collections", "/info", "/api/tags", "/api/ps", "/api/version"];
    for path in paths {
        assert_described(&api, "get", path, &server.get(path));
    }
    let one = server.get("/v1/models/starter");
    assert_described(&api, "get", "/v1/models/{id}", &one);
    let kinds = json!(["float", "base64", "binary", "ubinary"]);
    for (path, body) in [
        ("/v1/embeddings", json!({"input": TEXT})),
        ("/v1/embeddings", json!({"input": TEXT, "encoding_format": "base64"})),
        ("/v1/embeddings", json!({"input": TEXT, "embedding_type": "binary"})),
        ("/v1/embeddings", json!({"input": [TEXT, "b"], "embedding_type": kinds})),
        ("/v1/classify", json!({"input": [TEXT], "labels": ["films", "tax"]})),
        ("/v1/segment", json!({"content": TEXT, "return_chunks": true})),
        ("/v1/similarity", json!({"input": [TEXT, "b"]})),
        ("/embed", json!({"inputs": TEXT})),
        ("/embed_all", json!({"inputs": TEXT})),
        ("/api/embed", json!({"model": "starter", "input": TEXT})),
        ("/api/embeddings", json!({"model": "starter", "prompt": TEXT})),
        ("/api/show", json!({"model": "starter"})),
        ("/v1/embed", json!({"texts": [TEXT]})),
        ("/v1/embed", json!({"texts": [TEXT], "embedding_types": kinds})),
        ("/v2/embed", json!({"texts": [TEXT], "embedding_types": kinds})),
    ] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_described(&api, "post", path, &reply);
    }
}

#[test]
fn refusals_of_every_route_match_the_schema_of_their_dialect() {
    let (server, locked) = (Server::start(), locked());
    let api = server.get("/openapi.json").success();
    for route in ROUTES {
        let path = example(route);
        let check = |reply: &Reply, status: u16| {
            assert_eq!(reply.status, status, "{path}: {}", reply.text());
            assert_dialect(route.dialect, reply, &path);
            if route.is_documented {
                let method = route.method.as_str().to_lowercase();
                assert_described(&api, &method, &route.documented_path(), reply);
            }
        };
        if route.method == Method::POST {
            for (body, status) in [("{", 400), ("[]", 422)] {
                check(&server.send("POST", &path, &[], body.as_bytes()), status);
            }
            let compressed = [("Content-Encoding", "gzip")];
            check(&server.send("POST", &path, &compressed, b"{}"), 415);
        }
        let reply = locked.send(route.method.as_str(), &path, &[], b"{}");
        match route.access {
            Access::Public => assert_eq!(reply.status, 200, "{path}: {}", reply.text()),
            _ => check(&reply, 401),
        }
        let reply = server.send("PATCH", &path, &[], b"");
        assert_eq!(reply.status, 405, "{path}: {}", reply.text());
        let first = ROUTES.iter().find(|first| first.path == route.path).unwrap_or(route);
        assert_dialect(first.dialect, &reply, &path);
    }
    for (method, path, template, status) in [
        ("GET", "/v1/models/absent", "/v1/models/{id}", 404),
        ("GET", "/v1/models/%ff", "/v1/models/{id}", 400),
        ("GET", "/v1/classifiers", "/v1/classifiers", 404),
        ("DELETE", "/v1/classifiers/absent", "/v1/classifiers/{id}", 404),
        ("DELETE", "/v1/classifiers/%ff", "/v1/classifiers/{id}", 400),
        ("POST", "/v1/collections/%ff/documents", "/v1/collections/{name}/documents", 400),
    ] {
        let reply = server.send(method, path, &[], b"");
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_described(&api, &method.to_lowercase(), template, &reply);
    }
}

fn locked() -> Server {
    let api_keys = vec!["secret".to_owned()];
    Server::with(Config { api_keys, ..Config::default() })
}

#[test]
fn unknown_paths_need_a_key_and_are_refused_in_the_dialect_of_their_prefix() {
    let (server, locked) = (Server::start(), locked());
    for (path, dialect) in [
        ("/nothing", Dialect::Jina),
        ("/v1/nothing", Dialect::Jina),
        ("/api/nothing", Dialect::Ollama),
    ] {
        for (server, status) in [(&server, 404), (&locked, 401)] {
            let reply = server.get(path);
            assert_eq!(reply.status, status, "{path}");
            assert_dialect(dialect, &reply, path);
        }
    }
}

#[test]
fn metrics_need_no_key_if_they_are_public() {
    let api_keys = vec!["secret".to_owned()];
    let config = Config { api_keys, public_metrics: true, ..Config::default() };
    assert_eq!(Server::with(config).get("/metrics").status, 200);
}

#[test]
fn the_documentation_lists_every_route() {
    let guide = include_str!("../../../../docs/serve.md");
    for route in ROUTES {
        let path = format!("`{}", route.documented_path());
        let path = if route.path == "/" { format!("`{} /`", route.method) } else { path };
        let with_method = format!("`{} {}", route.method, route.documented_path());
        assert!(guide.contains(&path) || guide.contains(&with_method), "{}", route.path);
    }
}

#[test]
fn metrics_count_requests_texts_tokens_and_passes() {
    let server = Server::start();
    let body = json!({"input": ["a", "b"], "task": "separation"});
    let tokens = server.post("/v1/embeddings", &body).success()["usage"]["total_tokens"].clone();
    server.post("/v1/embeddings", &json!({"input": 7})).refusal(422, "INPUT_VALIDATION");
    server.get("/some/path");
    let text = server.get("/metrics").text();
    for line in [
        "kokeshi_requests_total{path=\"/v1/embeddings\",status=\"200\"} 1".to_owned(),
        "kokeshi_requests_total{path=\"/v1/embeddings\",status=\"422\"} 1".to_owned(),
        "kokeshi_requests_total{path=\"other\",status=\"404\"} 1".to_owned(),
        "kokeshi_errors_total{code=\"INPUT_VALIDATION\"} 1".to_owned(),
        "kokeshi_texts_total{model=\"starter\",task=\"separation\"} 2".to_owned(),
        format!("kokeshi_tokens_total{{model=\"starter\",task=\"separation\"}} {tokens}"),
        "kokeshi_queue_wait_seconds_count{model=\"starter\"} 1".to_owned(),
        "kokeshi_queue_tokens{model=\"starter\"} 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("kokeshi_forward_seconds_bucket{model=\"starter\""), "{text}");
}

#[test]
fn bodies_are_documented_and_the_page_loads_nothing_from_other_servers() {
    let server = Server::start();
    let api = server.get("/openapi.json").success();
    for path in [
        "/v1/embeddings",
        "/v1/classify",
        "/v1/train",
        "/v1/segment",
        "/v1/search",
        "/v1/collections/{name}/documents",
        "/embed",
        "/api/embed",
        "/v2/embed",
    ] {
        let operation = &api["paths"][path]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let name = schema.as_str().and_then(|name| name.rsplit('/').next()).expect(path);
        assert!(api["components"]["schemas"][name]["properties"].is_object(), "{path}");
    }
    let body = &api["components"]["schemas"]["EmbeddingsBody"]["properties"];
    for field in [
        "model",
        "input",
        "task",
        "dimensions",
        "late_chunking",
        "normalized",
        "truncate",
        "embedding_type",
        "encoding_format",
        "encoding_type",
    ] {
        assert!(body[field].is_object(), "{field}");
    }
    let page = server.get("/docs");
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    assert!(page.text().contains("prefers-color-scheme: dark") && page.text().contains("FIRST"));
}
