//! `--model`: names, licences and sizes of the served models.

use crate::Server;
use kokeshi_testkit::fixture;
use serde_json::json;

#[test]
fn several_models_are_served_and_listed_with_their_licences() {
    let v2 = format!("jina-embeddings-v2-base-en={}", fixture("v2-tiny/std_wordpiece").display());
    let server = Server::v3(&["--model", &v2, "--model", "starter"]);
    let list = server.get("/v1/models").success();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().expect("models");
    let ids: Vec<_> = models.iter().map(|model| model["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["jina-embeddings-v3", "jina-embeddings-v2-base-en", "starter"]);
    assert_eq!(models[0]["licence"], "CC-BY-NC-4.0");
    assert_eq!(models[1]["licence"], "Apache-2.0");
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_u64() && model["owned_by"].is_string());
        assert!(model["context_length"].is_u64(), "{model}");
    }
    let one = server.get("/v1/models/jinaai/jina-embeddings-v3").success();
    assert_eq!(one, models[0]);
    server.get("/v1/models/nobody").refusal(404, "RESOURCE_NOT_FOUND");
    for id in ids {
        let width = server.vectors(&json!({"model": id, "input": "a text"}))[0].len();
        assert_eq!(
            Some(width as u64),
            list["data"].as_array().and_then(|models| {
                models.iter().find(|model| model["id"] == id)?["dimensions"].as_u64()
            })
        );
    }
    assert!(server.log.lock().expect("a log").contains("CC-BY-NC-4.0"));
}
