//! Answers are what `/openapi.json` says of them.

use crate::{Answer, Server};
use serde_json::{Value, json};

const TEXT: &str = "The Force will be with you. Always.";

/// Asserts that the document has the status of an answer, and that its body fits the schema there.
#[track_caller]
fn assert_described(api: &Value, method: &str, path: &str, answer: &Answer) {
    let operation = &api["paths"][path][method];
    let responses = operation["responses"].as_object().expect(path);
    let response = responses.get(&answer.status.to_string());
    let response = response.unwrap_or_else(|| panic!("{path} hides {}", answer.status));
    if let Some(schema) = response.pointer("/content/application~1json/schema") {
        let body = answer.json();
        assert!(fits(api, schema, &body), "{path}, {}: {body} against {schema}", answer.status);
        return;
    }
    assert!(answer.status < 400, "{path}: {} has a body without a schema", answer.status);
    assert!(answer.body.is_empty(), "{path}: {}", answer.text());
}

/// Whether a value fits the part of JSON Schema that the document uses.
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
        _ => panic!("a type that is not known here: {schema}"),
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
fn good_answers_fit_their_schemas() {
    let server = Server::start(&[]);
    let api = server.get("/openapi.json").good();
    for path in ["/v1/models", "/info", "/api/tags", "/api/ps", "/api/version"] {
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
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_described(&api, "post", path, &answer);
    }
}

#[test]
fn refusals_fit_the_schema_of_their_dialect() {
    let (server, locked) = (Server::start(&[]), Server::start(&["--api-key", "secret"]));
    let api = server.get("/openapi.json").good();
    let paths = api["paths"].as_object().expect("paths");
    let posts = paths.iter().filter(|(_, item)| item.get("post").is_some());
    for (path, _) in posts.clone() {
        for (body, status) in [("{", 400), ("[]", 422)] {
            let answer = server.send("POST", path, &[], body.as_bytes());
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert_described(&api, "post", path, &answer);
        }
        let answer = locked.send("POST", path, &[], b"{}");
        assert_eq!(answer.status, 401, "{path}");
        assert_described(&api, "post", path, &answer);
        let zipped = server.send("POST", path, &[("Content-Encoding", "gzip")], b"{}");
        assert_eq!(zipped.status, 415, "{path}");
        assert_described(&api, "post", path, &zipped);
    }
    assert!(posts.count() > 10);
    for (method, path, template, status) in [
        ("GET", "/v1/models/nobody", "/v1/models/{id}", 404),
        ("GET", "/v1/models/%ff", "/v1/models/{id}", 400),
        ("GET", "/v1/classifiers", "/v1/classifiers", 404),
        ("DELETE", "/v1/classifiers/nobody", "/v1/classifiers/{id}", 404),
        ("DELETE", "/v1/classifiers/%ff", "/v1/classifiers/{id}", 400),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_described(&api, &method.to_lowercase(), template, &answer);
    }
}
