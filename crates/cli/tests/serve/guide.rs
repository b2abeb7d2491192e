//! The requests of the published v2 → v3 migration guide, as they are written there, on tiny
//! checkpoints under the real names.

use crate::Server;
use kokeshi_testkit::{fixture, json};
use serde_json::Value;

/// Bodies whose model is `model`, with the guide's placeholders filled in.
fn bodies(value: &Value, faq: &Value, found: &mut Vec<Value>) {
    if value.get("model").is_some() {
        let mut body = value.clone();
        match body["input"].as_str() {
            Some("<knowledge_base>") => body["input"] = faq["knowledge_base"].clone(),
            _ if body["input"][0] == "<query>" => body["input"][0] = faq["query"].clone(),
            _ => {}
        }
        found.push(body);
    } else if let Some(fields) = value.as_object() {
        fields.values().for_each(|value| bodies(value, faq, found));
    }
}

/// The widths that the tiny checkpoints have in place of the released ones.
fn narrowed(body: &Value, hidden: u64) -> Value {
    let mut body = body.clone();
    if body["dimensions"].is_u64() {
        // The guide keeps 768 of 1024.
        body["dimensions"] = (hidden * 3 / 4).into();
    }
    body
}

#[test]
fn the_guides_requests_work_as_written() {
    let guide = json("guide-examples.json");
    let mut found = Vec::new();
    bodies(&guide, &guide["faq"], &mut found);
    assert_eq!(found.len(), 10);
    let named = |name: &str, folder: &str| format!("{name}={}", fixture(folder).display());
    let server = Server::start(&[
        "--model",
        &named("jina-embeddings-v3", "v3-tiny/original"),
        "--model",
        &named("jina-embeddings-v2-base-en", "v2-tiny/std_wordpiece"),
        "--model",
        &named("jina-embeddings-v2-base-de", "v2-tiny/code_bpe"),
    ]);
    let models = server.get("/v1/models").good();
    for body in found {
        let name = body["model"].as_str().expect("a model");
        let models = models["data"].as_array().expect("models");
        let model = models.iter().find(|model| model["id"] == name).expect(name);
        let hidden = model["dimensions"].as_u64().expect("a width");
        let body = narrowed(&body, hidden);
        let vectors = server.vectors(&body);
        assert_eq!(vectors.len(), body["input"].as_array().expect("a list").len(), "{body}");
        let width = body["dimensions"].as_u64().unwrap_or(hidden) as usize;
        for vector in vectors {
            assert_eq!(vector.len(), width, "{body}");
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }
}
